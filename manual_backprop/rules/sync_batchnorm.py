"""Normalization of each channel over the batches of several processes: SyncBatchNorm."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from ..engine.rule import Rule
from .normalization import over_positions, spread


class SyncBatchNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var of a channel over N and * of every process of the group

    input, output, delta (N, C, *)   weight, bias, running_mean, running_var (C,) or None   mean, invstd (C,)   count ()

    grad_bias   = sum of delta        over N and * of this process: torch.distributed adds up the processes' gradients
    grad_weight = sum of delta x̂
    delta_input = w invstd (delta - S(grad_bias) / n - x̂ S(grad_weight) / n)     S: the sum over processes

    n = count is the number of elements per channel in all processes. group=None means this process alone.

    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3; over processes Peng et al. 2018, "MegDet", section 3.
    """

    results = "output", "mean", "invstd", "count"
    upcast = True
    pure = False  # the result depends on other processes

    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float, group: object,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Also updates the running statistics: running += momentum (of all batches - running), variance unbiased."""
        x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        here = x.new_tensor([x.numel() // max(x.shape[1], 1)])
        sums = over_processes(torch.cat([over_positions(x).sum(0), here]), group)
        count = sums[-1]
        mean = sums[:-1] / count
        centered = x - spread(mean, x)
        var = over_processes(over_positions(centered.square()).sum(0), group) / count
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
        invstd = (var + eps).rsqrt()
        scale = invstd if weight is None else weight * invstd
        output = centered * spread(scale, x)
        output = output if bias is None else output + spread(bias, x)
        return output.to(input.dtype), mean, invstd, count.clone()

    def grad_bias(delta: Tensor) -> Tensor:
        return over_positions(delta).sum(0)

    def grad_weight(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
        return invstd * over_positions(delta * (input - spread(mean, input))).sum(0)

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, count: Tensor,
        grad_weight: Tensor, grad_bias: Tensor, group: object,
    ) -> Tensor:  # fmt: skip
        along_one, along_normalized = over_processes(torch.stack([grad_bias, grad_weight]), group) / count
        normalized = (input - spread(mean, input)) * spread(invstd, input)
        scale = invstd if weight is None else weight * invstd
        return spread(scale, input) * (delta - spread(along_one, input) - normalized * spread(along_normalized, input))


def over_processes(values: Tensor, group: object) -> Tensor:
    """The sum over the processes of a group. Raises NotImplementedError if it would be differentiated."""
    if torch.is_grad_enabled() and values.requires_grad:
        raise NotImplementedError(
            "SyncBatchNorm has no second derivative: the sum over processes is not differentiated. "
            "got: a backward with create_graph=True. expected: create_graph=False, or BatchNorm2d"
        )
    if group is not None:
        values = values.clone()
        torch.distributed.all_reduce(values, group=group)  # type: ignore[call-overload]
    return values
