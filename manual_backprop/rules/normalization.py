"""Normalization within each sample: LayerNorm, GroupNorm, RMSNorm.

x̂ = (x - mean) invstd has mean 0 and mean square 1, so the backward removes the components of a delta along 1 and x̂.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import LOW, sum_to, total, widen
from ..engine.torch_private import has_kernel, suggested_memory_format, transforms_active

FLOAT32 = {"cuda": "float32"}
# autocast of older torch does not list rms_norm: there the output keeps the dtype of the input
KNOWS_RMS_NORM = has_kernel("aten::rms_norm", "AutocastCUDA")


def statistics(input: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Mean and invstd = 1 / sqrt(var + eps) over the axes, which keep size 1. Two passes avoid cancellation."""
    mean = input.mean(axes, keepdim=True)
    return mean, ((input - mean).square().mean(axes, keepdim=True) + eps).rsqrt()


def standardized(input: Tensor, tangent: Tensor | None, axes: tuple[int, ...], eps: float) -> tuple:
    """x̂ and its tangent: invstd (t - mean(t) - x̂ mean(x̂ t))."""
    mean, invstd = statistics(input, axes, eps)
    normalized = (input - mean) * invstd
    if tangent is None:
        return normalized, None
    along = (normalized * tangent).mean(axes, keepdim=True)
    return normalized, invstd * (tangent - tangent.mean(axes, keepdim=True) - normalized * along)


def affine_tangent(
    normalized: Tensor, t_normalized: Tensor | None, weight: Tensor | None, t_weight: Tensor | None,
    t_bias: Tensor | None, output: Tensor,
) -> Tensor:  # fmt: skip
    """The tangent of w x̂ + b, by the product rule; weight and tangents broadcast against x̂."""
    scaled = t_normalized if t_normalized is None or weight is None else weight * t_normalized
    moved = total(scaled, None if t_weight is None else t_weight * normalized, t_bias)
    assert moved is not None
    return moved.expand_as(output).to(output.dtype)


def dtype_of(*tensors: Tensor | None) -> torch.dtype | None:
    """The dtype of the first argument that is not None."""
    return next((tensor.dtype for tensor in tensors if tensor is not None), None)


def spread(values: Tensor, like: Tensor) -> Tensor:
    """(C,) or (N, C) with an axis of size 1 for every position axis of `like` (N, C, *)."""
    return values.reshape(values.shape + (1,) * (like.dim() - 2))


def over_positions(values: Tensor) -> Tensor:
    """(N, C, *) summed to (N, C)."""
    return values.sum(tuple(range(2, values.dim()))) if values.dim() > 2 else values


def last(normalized_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The normalized axes."""
    return tuple(range(-len(normalized_shape), 0))


class LayerNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over the last axes,   invstd = 1 / sqrt(var + eps)

    input, output, delta (*, normalized_shape)   weight, bias (normalized_shape) or None   mean, invstd (*, 1, ...)

    delta_input  = invstd (w delta - mean(w delta) - x̂ mean(w delta x̂))     means over the normalized axes
    grad_weight  = sum over * of delta x̂
    grad_bias    = sum over * of delta

    Source: Ba, Kiros, Hinton 2016, "Layer Normalization".
    """

    results = "output", "mean", "invstd"
    upcast = True
    cheap = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(
        input: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return choose(LayerNorm.normalized)(input, normalized_shape, weight, bias, eps)

    def normalized(
        input: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_layer_norm(input, normalized_shape, weight, bias, eps)

    def mean(input: Tensor, normalized_shape: tuple[int, ...]) -> Tensor:
        return input.mean(last(normalized_shape), keepdim=True)

    def invstd(input: Tensor, mean: Tensor, normalized_shape: tuple[int, ...], eps: float) -> Tensor:
        return ((input - mean).square().mean(last(normalized_shape), keepdim=True) + eps).rsqrt()

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
        normalized_shape: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        axes = last(normalized_shape)
        normalized = (input - mean) * invstd
        scaled = delta if weight is None else weight * delta
        along_one = scaled.mean(axes, keepdim=True)
        along_normalized = normalized * (scaled * normalized).mean(axes, keepdim=True)
        return invstd * (scaled - along_one - along_normalized)

    def grad_weight(
        delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, normalized_shape: tuple[int, ...]
    ) -> Tensor:
        return sum_to(delta * ((input - mean) * invstd), torch.Size(normalized_shape))

    def grad_bias(delta: Tensor, normalized_shape: tuple[int, ...]) -> Tensor:
        return sum_to(delta, torch.Size(normalized_shape))

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, shape, weight, _, eps = inputs
        t_input, _, t_weight, t_bias, _ = widen(*tangents)
        input, weight = widen(input, weight)
        normalized, t_normalized = standardized(input, t_input, tuple(range(-len(shape), 0)), eps)
        return affine_tangent(normalized, t_normalized, weight, t_weight, t_bias, output[0]), None, None


class RMSNorm(Rule):
    """y = w x̂,   x̂ = x invrms,   invrms = 1 / sqrt(mean of x² over the last axes + eps)

    input, output, delta (*, normalized_shape)   weight (normalized_shape) or None

    delta_input  = invrms (w delta - x̂ mean(w delta x̂))     mean over the normalized axes
    grad_weight  = sum over * of delta x̂

    Source: Zhang, Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    upcast = True
    cheap = True
    autocast = FLOAT32 if KNOWS_RMS_NORM else {}
    tangent_reads = ()

    def forward(input: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None) -> Tensor:
        return choose(RMSNorm.normalized)(input, normalized_shape, weight, eps)

    def normalized(
        input: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None
    ) -> Tensor:
        return torch.rms_norm(input, normalized_shape, weight, eps)

    def invrms(input: Tensor, normalized_shape: tuple[int, ...], eps: float | None) -> Tensor:
        eps = RMSNorm.least(input.dtype) if eps is None else eps
        return (input.square().mean(last(normalized_shape), keepdim=True) + eps).rsqrt()

    def least(dtype: torch.dtype) -> float:
        """The eps that torch uses for None: the machine epsilon of the dtype in which it computes."""
        return torch.finfo(torch.float32 if dtype in LOW else dtype).eps

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, invrms: Tensor, normalized_shape: tuple[int, ...]
    ) -> Tensor:
        normalized = input * invrms
        scaled = delta if weight is None else weight * delta
        return invrms * (scaled - normalized * (scaled * normalized).mean(last(normalized_shape), keepdim=True))

    def grad_weight(delta: Tensor, input: Tensor, invrms: Tensor, normalized_shape: tuple[int, ...]) -> Tensor:
        return sum_to(delta * (input * invrms), torch.Size(normalized_shape))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        shape, eps = inputs[1], inputs[3]
        t_input, _, t_weight, _ = widen(*tangents)
        input, weight = widen(inputs[0], inputs[2])
        invrms = RMSNorm.invrms(input, shape, eps)
        normalized = input * invrms
        if t_input is not None:
            along_x = (normalized * t_input).mean(tuple(range(-len(shape), 0)), keepdim=True)
            t_input = invrms * (t_input - normalized * along_x)
        return affine_tangent(normalized, t_input, weight, t_weight, None, output)


class GroupNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over a group of channels and their positions

    input, output, delta (N, C, *)   weight, bias (C,) or None   mean, invstd (N, G)   sums, dots (N, C)

    sums = delta summed over positions       grad_bias   = sum over N of sums
    dots = delta x̂ summed over positions     grad_weight = sum over N of dots
    delta_input = invstd (w delta - mean(w delta) - x̂ mean(w delta x̂))     means over a group and its positions

    Source: Wu, He 2018, "Group Normalization".
    """

    results = "output", "mean", "invstd"
    upcast = True
    cheap = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(
        input: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        layout = torch.contiguous_format
        if input.device.type == "cpu" and not transforms_active():  # vmap supports contiguous_format only
            layout = suggested_memory_format(input)
        batch, channels = input.shape[:2]
        return torch.native_group_norm(
            input.contiguous(memory_format=layout),
            None if weight is None else weight.contiguous(),
            None if bias is None else bias.contiguous(),
            batch, channels, input.shape[2:].numel(), num_groups, eps,
        )  # fmt: skip

    def mean(input: Tensor, num_groups: int) -> Tensor:
        return by_group(input, num_groups).flatten(2).mean(2)

    def invstd(input: Tensor, mean: Tensor, num_groups: int, eps: float) -> Tensor:
        return ((by_group(input, num_groups).flatten(2) - mean.unsqueeze(2)).square().mean(2) + eps).rsqrt()

    def sums(delta: Tensor) -> Tensor:
        return over_positions(delta)

    def dots(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
        mean, invstd = per_channel(mean, input), per_channel(invstd, input)
        return invstd * over_positions(delta * (input - spread(mean, input)))

    def grad_weight(dots: Tensor) -> Tensor:
        return dots.sum(0)

    def grad_bias(sums: Tensor) -> Tensor:
        return sums.sum(0)

    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, sums: Tensor, dots: Tensor
    ) -> Tensor:
        groups = mean.shape[1]
        count = input.shape[1:].numel() // groups
        if weight is not None:
            sums, dots = weight * sums, weight * dots
        along_one = by_group(sums, groups).sum(2) / count
        along_x = by_group(dots, groups).sum(2) / count
        mean, invstd, along_one, along_x = (
            spread(per_channel(values, input), input) for values in (mean, invstd, along_one, along_x)
        )
        scaled = delta if weight is None else spread(weight, input) * delta
        return invstd * (scaled - along_one - (input - mean) * invstd * along_x)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, num_groups, weight, _, eps = inputs
        t_input, _, t_weight, t_bias, _ = widen(*tangents)
        input, weight = widen(input, weight)
        grouped = by_group(input, num_groups)
        t_grouped = None if t_input is None else by_group(t_input, num_groups)
        normalized, moved = standardized(grouped, t_grouped, tuple(range(2, grouped.dim())), eps)
        normalized, moved = normalized.reshape(input.shape), None if moved is None else moved.reshape(input.shape)
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        return affine_tangent(normalized, moved, weight, t_weight, t_bias, output[0]), None, None


def by_group(values: Tensor, groups: int) -> Tensor:
    """(N, C, *) as (N, G, C / G, *)."""
    batch, channels, *positions = values.shape
    return values.reshape(batch, groups, channels // groups, *positions)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(N, G) repeated for every channel of a group of `like` (N, C, *): (N, C)."""
    return values.repeat_interleave(like.shape[1] // values.shape[1], 1)
