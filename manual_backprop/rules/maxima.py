"""Maxima of windows: AdaptiveMaxPool, FractionalMaxPool; values put back at the places of maxima: MaxUnpool, PutBack.

N batch, C channels, * positions: L, (H, W) or (D, H, W). `indices` are flat: they count the positions of a channel
row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule

Axes = tuple[int, ...]

ADAPTIVE: dict[int, Callable[..., Any]] = {
    1: torch.adaptive_max_pool1d,
    2: torch.ops.aten.adaptive_max_pool2d,
    3: torch.ops.aten.adaptive_max_pool3d,
}
FRACTIONAL: dict[int, Callable[..., Any]] = {
    2: torch.ops.aten.fractional_max_pool2d,
    3: torch.ops.aten.fractional_max_pool3d,
}


def put(values: Tensor, indices: Tensor, size: Axes) -> Tensor:
    """Add each value to zeros, at its index within its channel: (N, C, *) to (N, C, size)."""
    n = len(size)
    channels = values.shape[:-n]
    zeros = values.new_zeros(()).expand(*channels, math.prod(size))
    values, indices = (tensor.reshape(*channels, tensor.shape[-n:].numel()) for tensor in (values, indices))
    return zeros.scatter_add(-1, indices, values).reshape(*channels, *size)


def take(values: Tensor, indices: Tensor, n: int) -> Tensor:
    """The value at each index; the last n axes are positions."""
    rows, indices_of_rows = (t.reshape(*t.shape[:-n], t.shape[-n:].numel()) for t in (values, indices))
    return rows.gather(-1, indices_of_rows).reshape(indices.shape)


class AdaptiveMaxPool(Rule):
    """y[n, c, p] = max of x[n, c, i] over floor(p I / P) <= i < ceil((p + 1) I / P), I and P the sizes of x and y

    input (N, C, *) or (C, *)   output, delta, indices (N, C, *) or (C, *)   output_size: the sizes along *

    delta_input[n, c, i] = sum of delta[n, c, p] over the windows p whose maximum is x[n, c, i]

    Of equal maxima the first wins; NaN counts as the largest, and the last NaN wins.

    Source: He et al. 2014, "Spatial pyramid pooling in deep convolutional networks for visual recognition".
    """

    results = "output", "indices"
    upcast = True
    tangent_reads = (1,)

    def forward(input: Tensor, output_size: Axes) -> tuple[Tensor, Tensor]:
        return ADAPTIVE[len(output_size)](input, output_size)

    def delta_input(delta: Tensor, indices: Tensor, input_shape: Axes, output_size: Axes) -> Tensor:
        return put(delta, indices, input_shape[-len(output_size) :])

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return take(tangents[0], output[1], len(inputs[1])), None


class FractionalMaxPool(Rule):
    """y[n, c, p] = max of x[n, c, i] over b(p) <= i < b(p) + kernel_size,   b(p) = floor((p + u) a) - floor(u a)

    input (N, C, *) or (C, *)   output, delta, indices (N, C, *) or (C, *)   random_samples (N, C, axes): u of each axis

    delta_input[n, c, i] = sum of delta[n, c, p] over the windows p whose maximum is x[n, c, i]

    a = (I - kernel_size) / (P - 1) spreads the windows over an axis; I and P are the sizes of x and y. The last window
    ends where the axis ends. Of equal maxima the first wins.

    Source: Graham 2014, "Fractional max-pooling".
    """

    results = "output", "indices"
    upcast = True
    tangent_reads = (1,)

    def forward(input: Tensor, kernel_size: Axes, output_size: Axes, random_samples: Tensor) -> tuple[Tensor, Tensor]:
        return FRACTIONAL[len(output_size)](input, kernel_size, output_size, random_samples)

    def delta_input(delta: Tensor, indices: Tensor, input_shape: Axes, output_size: Axes) -> Tensor:
        return put(delta, indices, input_shape[-len(output_size) :])

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return take(tangents[0], output[1], len(inputs[2])), None


class MaxUnpool(Rule):
    """y[n, c, indices[n, c, p]] = x[n, c, p], and 0 elsewhere

    input, indices (N, C, *) or (C, *)   output, delta (N, C, output_size) or (C, output_size)

    delta_input[n, c, p] = delta[n, c, indices[n, c, p]]

    If two indices are equal, the output holds one of the two values, and both values get the delta.

    Source: Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1.
    """

    upcast = True
    linear = ("input",)

    def forward(input: Tensor, indices: Tensor, output_size: Axes, stride: Axes, padding: Axes) -> Tensor:
        if len(output_size) == 3:
            return torch.ops.aten.max_unpool3d(input, indices, output_size, stride, padding)
        return torch.ops.aten.max_unpool2d(input, indices, output_size)

    def delta_input(delta: Tensor, indices: Tensor, output_size: Axes) -> Tensor:
        return take(delta, indices, len(output_size))


class PutBack(Rule):
    """y[n, c, i] = sum of x[n, c, p] over the p with indices[n, c, p] = i: how a pooling's delta reaches its input

    input, indices (N, C, *) or (C, *)   pooled, output, delta (N, C, size) or (C, size)   n: axes of positions

    delta_input[n, c, p] = delta[n, c, indices[n, c, p]]   delta_pooled = 0: only its shape is used

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of adding up is copying.
    """

    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, pooled: Tensor, indices: Tensor, n: int) -> Tensor:
        return put(input, indices, pooled.shape[-n:])

    def delta_input(delta: Tensor, indices: Tensor, n: int) -> Tensor:
        return take(delta, indices, n)

    def delta_pooled(delta: Tensor) -> Tensor:
        return torch.zeros_like(delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        _, pooled, indices, n = inputs
        return torch.zeros_like(output) if tangents[0] is None else put(tangents[0], indices, pooled.shape[-n:])
