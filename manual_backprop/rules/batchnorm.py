"""Normalization of each channel over a batch: BatchNorm (statistics of the batch), BatchNormEval (running ones)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import widen
from ..engine.torch_private import batch_norm_with_statistics
from .normalization import affine_tangent, over_positions, spread, standardized


class BatchNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var of a channel over N and *,   invstd = 1 / sqrt(var + eps)

    input, output, delta (N, C, *)   weight, bias, running_mean, running_var (C,) or None   mean, invstd (C,)

    grad_bias   = sum of delta       over N and *, n elements per channel
    grad_weight = sum of delta x̂
    delta_input = w invstd (delta - grad_bias / n - x̂ grad_weight / n)

    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3.
    """

    results = "output", "mean", "invstd"
    upcast = True
    cheap = True
    tangent_reads = ()

    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Also updates the running statistics in place: running += momentum (batch - running). For this, the variance
        of the batch is the unbiased one."""
        normalized = choose(BatchNorm.normalized)
        output, mean, invstd = normalized(input, weight, bias, running_mean, running_var, momentum, eps)
        if not input.numel():  # for an empty batch torch returns no statistics
            mean, invstd = input.new_zeros(input.shape[1:2]), input.new_zeros(input.shape[1:2])  # (0,) has no channels
        return output, mean, invstd

    def normalized(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        return batch_norm_with_statistics(
            input, weight, bias, running_mean, running_var, True, momentum, eps, torch.backends.cudnn.enabled
        )[:3]

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        input, weight, bias, *_, eps = inputs
        return BatchNorm.scaled, (input, weight, bias, *output[1:], eps)

    def scaled(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
    ) -> Tensor:
        """The output of `normalized`, bit for bit. A kernel reads the statistics instead of computing them."""
        return BatchNorm.forward(input, weight, bias, None, None, 0.0, eps)[0]

    def mean(input: Tensor) -> Tensor:
        return over_positions(input).sum(0) / count(input)

    def invstd(input: Tensor, mean: Tensor, eps: float) -> Tensor:
        var = over_positions((input - spread(mean, input)).square()).sum(0) / count(input)
        return (var + eps).rsqrt()

    def grad_bias(delta: Tensor) -> Tensor:
        return over_positions(delta).sum(0)

    def grad_weight(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
        return invstd * over_positions(delta * (input - spread(mean, input))).sum(0)

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
        grad_weight: Tensor, grad_bias: Tensor,
    ) -> Tensor:  # fmt: skip
        normalized = (input - spread(mean, input)) * spread(invstd, input)
        along_one, along_normalized = grad_bias / count(input), grad_weight / count(input)
        scale = invstd if weight is None else weight * invstd
        return spread(scale, input) * (delta - spread(along_one, input) - normalized * spread(along_normalized, input))

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        t_input, t_weight, t_bias = widen(*tangents[:3])
        input, weight = widen(*inputs[:2])
        normalized, moved = standardized(input, t_input, (0, *range(2, input.dim())), inputs[-1])
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        return affine_tangent(normalized, moved, weight, t_weight, t_bias, output[0]), None, None


def count(input: Tensor) -> int:
    """The number of elements (N, C, *) per channel, at least 1, since sums over an empty batch are divided by it."""
    return max(input.shape[0] * input.shape[2:].numel(), 1)


class BatchNormEval(Rule):
    """y = w (x - running_mean) invstd + b,   invstd = 1 / sqrt(running_var + eps)

    input, output, delta (N, C, *)   weight, bias (C,) or None   running_mean, running_var, invstd (C,)

    delta_input = w invstd delta        the statistics are constants here
    grad_weight = invstd sum of delta (x - running_mean)     over N and *
    grad_bias   = sum of delta

    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3.1.
    """

    upcast = True
    cheap = True
    tangent_reads = ()

    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, eps: float,
    ) -> Tensor:  # fmt: skip
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(input, weight, bias, running_mean, running_var, False, 0.0, eps, cudnn)

    def invstd(running_var: Tensor, eps: float) -> Tensor:
        return (running_var + eps).rsqrt()

    def delta_input(delta: Tensor, weight: Tensor | None, invstd: Tensor) -> Tensor:
        return delta * spread(invstd if weight is None else weight * invstd, delta)

    def grad_weight(delta: Tensor, input: Tensor, running_mean: Tensor, invstd: Tensor) -> Tensor:
        return BatchNorm.grad_weight(delta, input, running_mean, invstd)

    def grad_bias(delta: Tensor) -> Tensor:
        return BatchNorm.grad_bias(delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        t_input, t_weight, t_bias = widen(*tangents[:3])
        input, weight, _, mean, var = widen(*inputs[:5])
        mean, invstd = spread(mean, input), spread((var + inputs[-1]).rsqrt(), input)
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        moved = None if t_input is None else t_input * invstd
        return affine_tangent((input - mean) * invstd, moved, weight, t_weight, t_bias, output)
