"""Normalization of each channel over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._errors import refuse_single_values


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """w (x - mean) / sqrt(var + eps) + b for each channel, as torch.nn.functional.batch_norm.

    In training by the statistics of the batch (rule: `mb.rules.BatchNorm`), which also update the running statistics;
    otherwise by the running statistics (rule: `mb.rules.BatchNormEval`).
    Raises ValueError for a single value per channel in training, or for an eps that is too small.
    """
    if training:
        refuse_single_values(input.size())
    if training and eps <= 0.0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    if training:
        return call(rules.BatchNorm, input, weight, bias, running_mean, running_var, momentum, eps)[0]
    if torch.is_grad_enabled() and running_mean is not None and running_var is not None:
        # copies, because a training batch before the backward would change them, and ATen does not raise their version
        running_mean, running_var = running_mean.clone(), running_var.clone()
    return call(rules.BatchNormEval, input, weight, bias, running_mean, running_var, eps)
