"""Normalization of each channel of each sample, and by neighbouring channels."""

from __future__ import annotations

import math

from torch import Tensor

from .. import rules
from ._autocast import float32_on_cpu
from ._call import call
from ._overloads import stands_for
from .batchnorm import batch_norm


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """w (x - mean) / sqrt(var + eps) + b for each channel of each sample, as torch.nn.functional.instance_norm.

    With `use_input_stats`, by the statistics of the input (rule: `mb.rules.InstanceNorm`), which also update the
    running statistics; otherwise by the running statistics (rule: `mb.rules.BatchNormEval`). Raises ValueError for an
    input with a single position, which has no variance.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    return call(rules.InstanceNorm, input, weight, bias, running_mean, running_var, momentum, eps)[0]


@stands_for("instance_norm")
def _instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    if use_input_stats:
        return call(rules.InstanceNorm, input, weight, bias, running_mean, running_var, momentum, eps)[0]
    return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean(x²))^beta with the mean over neighbouring channels, as
    torch.nn.functional.local_response_norm; rule: `mb.rules.LocalResponseNorm`.

    Raises ValueError for fewer than three axes.
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if not input.numel():
        return input
    if input.dim() > 3:  # torch averages by avg_pool3d here, which autocast runs in float32
        input = float32_on_cpu(input)
    return call(rules.LocalResponseNorm, input, size, alpha, beta, k)
