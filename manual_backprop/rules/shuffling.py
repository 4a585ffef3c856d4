"""Rearranging channels and patches (PixelShuffle, ..., Unfold, Fold), and the sampling grid of affine maps."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.operators import linear
from ..engine.rule import LOWER, Rule

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a permutation is its inverse.'

PixelShuffle = linear(
    "pixel_shuffle", "r² channels as the r x r pixels of one: y[n, c, h r + i, w r + j] = x[n, c r² + i r + j, h, w]",
    "delta with the pixels as channels again",
    lambda delta, upscale_factor: F.pixel_unshuffle(delta, upscale_factor),
    takes="input, upscale_factor: int", shapes="input (*, C r², H, W)   output, delta (*, C, H r, W r)",
    source='Shi et al. 2016, "Real-time single image and video super-resolution", section 3.2.',
)  # fmt: skip

PixelUnshuffle = linear(
    "pixel_unshuffle",
    "the r x r pixels of a channel as r² channels: y[n, c r² + i r + j, h, w] = x[n, c, h r + i, w r + j]",
    "delta with the channels as pixels again",
    lambda delta, downscale_factor: F.pixel_shuffle(delta, downscale_factor),
    takes="input, downscale_factor: int", shapes="input (*, C, H r, W r)   output, delta (*, C r², H, W)",
    source='Shi et al. 2016, "Real-time single image and video super-resolution", section 3.2.',
)  # fmt: skip

ChannelShuffle = linear(
    "channel_shuffle", "channels interleaved: y[n, k g + i] = x[n, i C / g + k], for g groups",
    "delta interleaved, with C / g groups",
    lambda delta, groups: torch.channel_shuffle(delta, delta.shape[1] // groups),
    takes="input, groups: int", shapes="input, output, delta (N, C, *)",
    source='Zhang et al. 2018, "ShuffleNet", section 3.1.',
)  # fmt: skip


class Unfold(Rule):
    """y[n, (c, k), p] = x[n, c, stride p + dilation k - padding], 0 outside of x: every window as a column

    input (N, C, H, W) or (C, H, W)   output, delta (N, C K, P) or (C K, P), K places of a window, P windows

    delta_input[n, c, i] = sum of delta[n, (c, k), p] over k and p with stride p + dilation k - padding = i

    Source: Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """

    operator = "im2col"
    linear = ("input",)
    upcast = True

    def forward(input: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
        return F.unfold(input, kernel_size, dilation, padding, stride)

    def delta_input(
        delta: Tensor, input_shape: tuple, kernel_size: Any, dilation: Any, padding: Any, stride: Any
    ) -> Tensor:
        return F.fold(delta, input_shape[-2:], kernel_size, dilation, padding, stride)


class Fold(Rule):
    """y[n, c, i] = sum of x[n, (c, k), p] over k and p with stride p + dilation k - padding = i

    input (N, C K, P) or (C K, P), K places of a window, P windows   output, delta (N, C, H, W) or (C, H, W)

    delta_input[n, (c, k), p] = delta[n, c, stride p + dilation k - padding], 0 outside of delta

    Source: Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """

    operator = "col2im"
    linear = ("input",)
    upcast = True

    def forward(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
        return F.fold(input, output_size, kernel_size, dilation, padding, stride)

    def delta_input(delta: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
        return F.unfold(delta, kernel_size, dilation, padding, stride)


class AffineGrid(Rule):
    """y[n, p] = theta[n] (p, 1) for every position p, with coordinates from -1 to 1

    theta (N, 2, 3) or (N, 3, 4)   size (N, C, H, W) or (N, C, D, H, W)   output, delta (N, H, W, 2) or (N, D, H, W, 3)

    delta_theta[n] = sum over p of delta[n, p] (p, 1)^T

    p lists the last axis first. With align_corners -1 and 1 are the centers of the first and last element of an axis,
    else their outer edges.

    Source: Jaderberg et al. 2015, "Spatial transformer networks", section 3.2.
    """

    linear = ("theta",)
    upcast = True
    autocast = LOWER

    def forward(theta: Tensor, size: tuple, align_corners: bool) -> Tensor:
        return torch.affine_grid_generator(theta, size, align_corners)

    def delta_theta(delta: Tensor, size: tuple, align_corners: bool) -> Tensor:
        n, count = len(size) - 2, prod(size[2:])
        positions = AffineGrid.positions(delta, size[2:], align_corners).reshape(count, n + 1)
        return delta.reshape(-1, count, n).mT @ positions

    def positions(delta: Tensor, size: tuple, align_corners: bool) -> Tensor:
        """(p, 1) of every position."""
        kind: Any = {"dtype": delta.dtype, "device": delta.device}
        coordinates = [torch.ones(*size, **kind)]
        for axis, n in enumerate(size):
            along = torch.linspace(-1, 1, n, **kind) if n > 1 else torch.zeros(1, **kind)
            along = along if align_corners else along * ((n - 1) / n)
            coordinates.insert(0, along.reshape(-1, *[1] * (len(size) - axis - 1)).expand(*size))
        return torch.stack(coordinates, -1)
