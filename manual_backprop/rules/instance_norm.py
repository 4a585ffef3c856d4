"""Normalization of each channel of each sample over its positions: InstanceNorm."""

from __future__ import annotations

from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import widen
from .batchnorm import BatchNorm
from .normalization import affine_tangent, over_positions, spread, standardized


class InstanceNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   invstd = 1 / sqrt(var + eps),   mean and var of a sample's channel over *

    input, output, delta (N, C, *)   weight, bias, running_mean, running_var (C,) or None   mean, invstd (N, C)

    sums = delta summed over positions       grad_bias   = sum over N of sums      n positions
    dots = delta x̂ summed over positions     grad_weight = sum over N of dots
    delta_input = w invstd (delta - sums / n - x̂ dots / n)

    Source: Ulyanov, Vedaldi, Lempitsky 2016, "Instance Normalization: The Missing Ingredient for Fast Stylization".
    """

    results = "output", "mean", "invstd"
    upcast = True
    cheap = True
    tangent_reads = ()

    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Computed as batch normalization of one sample with N C channels. Also updates the running statistics: each
        sample gives an update, and their mean is stored."""
        batch, channels = input.shape[:2]
        one = input.contiguous().view(1, batch * channels, *input.shape[2:])
        w, b, *repeated = (None if v is None else v.repeat(batch) for v in (weight, bias, running_mean, running_var))
        kind = input.dtype if weight is None else weight.dtype  # of torch's update of the running statistics
        repeated = [None if vector is None else vector.to(kind) for vector in repeated]
        output, mean, invstd = choose(BatchNorm.normalized)(one, w, b, *repeated, momentum, eps)
        if not input.numel():  # for an empty batch torch returns no statistics
            return output.view(input.shape), *input.new_zeros(2, batch, channels).unbind()
        for running, moved in zip((running_mean, running_var), repeated, strict=True):
            if running is not None and moved is not None:
                running.copy_(moved.view(batch, channels).mean(0))
        return output.view(input.shape), mean.view(batch, channels), invstd.view(batch, channels)

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        input, weight, bias, *_, eps = inputs
        return InstanceNorm.scaled, (input, weight, bias, eps)

    def scaled(input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        """The output of `forward`, bit for bit, without the update of the running statistics."""
        return InstanceNorm.forward(input, weight, bias, None, None, 0.0, eps)[0]

    def mean(input: Tensor) -> Tensor:
        return over_positions(input) / count(input)

    def invstd(input: Tensor, mean: Tensor, eps: float) -> Tensor:
        return (over_positions((input - spread(mean, input)).square()) / count(input) + eps).rsqrt()

    def sums(delta: Tensor) -> Tensor:
        return over_positions(delta)

    def dots(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
        return invstd * over_positions(delta * (input - spread(mean, input)))

    def grad_weight(dots: Tensor) -> Tensor:
        return dots.sum(0)

    def grad_bias(sums: Tensor) -> Tensor:
        return sums.sum(0)

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, sums: Tensor, dots: Tensor
    ) -> Tensor:
        normalized = (input - spread(mean, input)) * spread(invstd, input)
        along_one, along_normalized = spread(sums / count(input), input), spread(dots / count(input), input)
        scale = invstd if weight is None else weight * invstd
        return spread(scale, input) * (delta - along_one - normalized * along_normalized)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        t_input, t_weight, t_bias = widen(*tangents[:3])
        input, weight = widen(*inputs[:2])
        normalized, moved = standardized(input, t_input, tuple(range(2, input.dim())), inputs[-1])
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        return affine_tangent(normalized, moved, weight, t_weight, t_bias, output[0]), None, None


def count(input: Tensor) -> int:
    """The number of positions, at least 1, since sums over an empty sample are divided by it."""
    return max(input.shape[2:].numel(), 1)
