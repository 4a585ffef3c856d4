"""Pooling in one, two and three dimensions: MaxPool, AvgPool, AdaptiveAvgPool.

N batch, C channels, * positions: L, (H, W) or (D, H, W). Sizes, strides, paddings and dilations are tuples with one
entry per axis of *; formulas hold along each axis. Window p of an axis begins at position stride p - padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule, choose

Axes = tuple[int, ...]

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MAX_WITH_INDICES = {1: F.max_pool1d_with_indices, 2: F.max_pool2d_with_indices, 3: F.max_pool3d_with_indices}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVERAGE: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def along_axes(indices: Tensor, sizes: Axes) -> list[Tensor]:
    """Flat (row-major) indices as one index per axis. torch.unravel_index would synchronize with the GPU."""
    return [indices // math.prod(sizes[axis + 1 :]) % n for axis, n in enumerate(sizes)]


class MaxPool(Rule):
    """y[n, c, p] = max over k of x[n, c, stride p + dilation k - padding]

    input (N, C, *) or (C, *)   output, delta (N, C, *) or (C, *)   padding: at most half of the window

    delta_input[n, c, i] = sum of delta[n, c, p] over the windows p whose maximum is x[n, c, i]

    Of equal maxima the first wins; NaN counts as the largest, and the last NaN wins. Only the winner's place in its
    window is saved, counted row by row, in the smallest integer dtype that holds it (one byte up to 256 places).

    Source: Weng, Ahuja, Huang 1993, "Learning recognition and segmentation of 3-D objects from 2-D images"; Scherer,
    Müller, Behnke 2010, "Evaluation of pooling operations in convolutional architectures for object recognition".
    """

    results = "output", "winner"
    upcast = True
    tangent_reads = (1,)

    def forward(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool, keep: str
    ) -> tuple[Tensor, Tensor | None]:
        """keep: "winner" (its place in the window), "indices" (its flat index among the positions) or "nothing" """
        options = kernel_size, stride, padding, dilation, ceil_mode
        if keep == "nothing":
            return choose(MaxPool.largest)(input, *options), None
        return choose(MaxPool.windows if keep == "indices" else MaxPool.winners)(input, *options)

    def largest(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
    ) -> Tensor:
        """The largest value of each window."""
        return MAX[len(stride)](input, kernel_size, stride, padding, dilation, ceil_mode)

    def windows(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        """The largest value of each window, and its flat index among the positions of its channel."""
        return MAX_WITH_INDICES[len(stride)](input, kernel_size, stride, padding, dilation, ceil_mode)

    def winners(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        """The largest value of each window, and its place in the window."""
        output, indices = choose(MaxPool.windows)(input, kernel_size, stride, padding, dilation, ceil_mode)
        size = input.shape[-len(stride) :]
        return output, MaxPool.places(indices, size, kernel_size, stride, padding, dilation)

    def places(indices: Tensor, size: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes) -> Tensor:
        """Convert flat indices of positions to places in the window."""
        begins, positions = MaxPool.begins(indices, stride, padding), along_axes(indices, size)
        places = torch.zeros_like(indices)
        for position, begin, k, d in zip(positions, begins, kernel_size, dilation, strict=True):
            places = places * k + (position - begin) // d
        most = math.prod(kernel_size)
        return places.to(torch.uint8 if most <= 2**8 else torch.int16 if most <= 2**15 else torch.int32)

    def delta_input(
        delta: Tensor, winner: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes
    ) -> Tensor:
        """winner: places in the windows, or (if int64) flat indices of positions"""
        channels, size = input_shape[: -len(stride)], input_shape[-len(stride) :]
        outputs = math.prod(delta.shape[-len(stride) :])
        indices = MaxPool.indices(winner, size, kernel_size, stride, padding, dilation).reshape(*channels, outputs)
        zeros = delta.new_zeros(()).expand(*channels, math.prod(size))
        return zeros.scatter_add(-1, indices, delta.reshape(*channels, outputs)).reshape(*channels, *size)

    def indices(winner: Tensor, size: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes) -> Tensor:
        """Convert places in the window to flat indices of positions."""
        if winner.dtype == torch.int64:
            return winner
        begins, places = MaxPool.begins(winner, stride, padding), along_axes(winner.long(), kernel_size)
        indices = torch.zeros_like(winner, dtype=torch.int64)
        for place, begin, n, d in zip(places, begins, size, dilation, strict=True):
            indices = indices * n + begin + d * place
        return indices

    def begins(outputs: Tensor, stride: Axes, padding: Axes) -> list[Tensor]:
        """The first position of each window, for each axis; broadcasts with the outputs."""
        sizes, device = outputs.shape[-len(stride) :], outputs.device
        return [
            (torch.arange(n, device=device) * s - p).reshape(-1, *[1] * (len(stride) - 1 - axis))
            for axis, (n, s, p) in enumerate(zip(sizes, stride, padding, strict=True))
        ]

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, *options, _, _ = inputs
        n = len(options[0])
        value, winner = output
        indices = MaxPool.indices(winner, input.shape[-n:], *options).flatten(-n)
        return tangents[0].flatten(-n).gather(-1, indices).unflatten(-1, value.shape[-n:]), None


class AvgPool(Rule):
    """y[n, c, p] = sum over k of x[n, c, stride p + k - padding] / divisor[p]

    input (N, C, *) or (C, *)   output, delta (N, C, *) or (C, *)   padding: at most half of the window

    delta_input[n, c, i] = sum of delta[n, c, p] / divisor[p] over k and p with stride p + k - padding = i

    divisor[p] is divisor_override, or the number of elements in the window. Padding counts with count_include_pad only;
    what ceil_mode adds beyond the padding never counts.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition" (subsampling layers).
    """

    upcast = True
    tangent_reads = ()

    def forward(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, ceil_mode: bool, count_include_pad: bool,
        divisor_override: int | None,
    ) -> Tensor:  # fmt: skip
        options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        return choose(AvgPool.output)(input, *options)

    def output(
        input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, ceil_mode: bool, count_include_pad: bool,
        divisor_override: int | None,
    ) -> Tensor:  # fmt: skip
        override = () if len(stride) == 1 else (divisor_override,)  # torch's avg_pool1d has no divisor_override
        return AVERAGE[len(stride)](input, kernel_size, stride, padding, ceil_mode, count_include_pad, *override)

    def delta_input(
        delta: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool,
        divisor_override: int | None,
    ) -> Tensor:  # fmt: skip
        size = input_shape[-len(stride) :]
        divisor = divisor_override or AvgPool.divisor(delta, size, kernel_size, stride, padding, count_include_pad)
        delta = delta / divisor
        for axis in range(len(size)):
            delta = AvgPool.spread(delta, axis - len(size), size[axis], kernel_size[axis], stride[axis], padding[axis])
        return delta

    def spread(delta: Tensor, axis: int, size: int, kernel_size: int, stride: int, padding: int) -> Tensor:
        """Add each element to all positions of its window, along one (negative) axis."""
        last = stride * (delta.shape[axis] - 1)  # where the last window begins
        full = last + kernel_size
        if full == delta.shape[axis]:  # windows of one element, without gaps and padding
            return delta
        spread = delta.new_zeros(*delta.shape[:axis], full, *delta.shape[delta.dim() + axis + 1 :])
        for k in range(kernel_size):
            place: Any = (..., slice(k, k + last + 1, stride), *[slice(None)] * (-1 - axis))
            spread[place].add_(delta)
        return F.pad(spread, [0, 0] * (-1 - axis) + [-padding, padding + size - full])

    def divisor(
        delta: Tensor, size: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool
    ) -> Tensor:
        """The number of elements in each window."""
        counts = []
        for outputs, n, k, s, p in zip(delta.shape[-len(size) :], size, kernel_size, stride, padding, strict=True):
            begin = torch.arange(outputs, device=delta.device) * s - p
            end = (begin + k).clamp(max=n + p)
            if not count_include_pad:
                begin, end = begin.clamp(min=0), end.clamp(max=n)
            counts.append(end - begin)
        return outer(counts).to(delta.dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return AvgPool.forward(tangents[0], *inputs[1:])


class AdaptiveAvgPool(Rule):
    """y[n, c, p] = mean of x[n, c, i] over floor(p I / P) <= i < ceil((p + 1) I / P), I and P the sizes of x and y

    input (N, C, *) or (C, *)   output, delta (N, C, *) or (C, *)   output_size: the sizes of the output along *

    delta_input[n, c, i] = sum of delta[n, c, p] / count[p] over floor(i P / I) <= p < ceil((i + 1) P / I)

    count[p] is the number of elements in window p. Position i lies in window p exactly when p lies in window i of the
    adaptive pooling from size P to size I. So the sum is that pooling of delta / count, times its window sizes.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks for visual recognition".
    """

    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, output_size: Axes) -> Tensor:
        return choose(AdaptiveAvgPool.output)(input, output_size)

    def output(input: Tensor, output_size: Axes) -> Tensor:
        return ADAPTIVE_AVERAGE[len(output_size)](input, output_size)

    def delta_input(delta: Tensor, input_shape: Axes, output_size: Axes) -> Tensor:
        size = input_shape[-len(output_size) :]
        share = delta / AdaptiveAvgPool.counts(delta, size, output_size)
        return ADAPTIVE_AVERAGE[len(size)](share, size) * AdaptiveAvgPool.counts(delta, output_size, size)

    def counts(delta: Tensor, size: Axes, output_size: Axes) -> Tensor:
        """The number of elements in each window of the pooling from size to output_size."""
        counts = []
        for n, outputs in zip(size, output_size, strict=True):
            p = torch.arange(outputs, device=delta.device)
            counts.append(((p + 1) * n + outputs - 1) // outputs - p * n // outputs)
        return outer(counts).to(delta.dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return AdaptiveAvgPool.forward(tangents[0], inputs[1])


def outer(vectors: list[Tensor]) -> Tensor:
    """product[i, j, ...] = vectors[0][i] vectors[1][j] ..."""
    return reduce(lambda product, vector: product.unsqueeze(-1) * vector, vectors)
