"""Interpolated values at any positions of images and volumes: GridSample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import total
from .interpolation import keys

BILINEAR, NEAREST, BICUBIC = range(3)
"""torch's codes of the interpolation modes."""
ZEROS, BORDER, REFLECTION = range(3)
"""torch's codes of the padding modes."""


class Tap(NamedTuple):
    """One of the elements along an axis that each sample is interpolated from. All fields have shape (N, P)."""

    position: Tensor
    inside: Tensor
    """Whether the element lies inside of the axis; if not, its value is 0."""
    weight: Tensor
    slope: Tensor
    """The derivative of the weight by the grid coordinate."""


class GridSample(Rule):
    """y[n, c, p] = sum over i of w_i(g) x[n, c, i] near the place g = grid[n, p], the product over axes of w_i

    input (N, C, H, W) or (N, C, D, H, W)   grid (N, P, 2) or (N, P, 3), last axis of the input first, -1 to 1
    output, delta (N, C, P)   P: H, W or D, H, W of the output

    delta_input[n, c, i] = sum over p of w_i(g) delta[n, c, p]
    delta_grid[n, p]     = sum over i of dw_i/dg sum over c of delta[n, c, p] x[n, c, i]

    Along an axis of I elements g lies at s = ((g + 1) I - 1) / 2, or (g + 1) (I - 1) / 2 with align_corners.
    mode 0, bilinear: w_i = 1 - |s - i|     1, nearest: 1 for i = s rounded     2, bicubic: Keys' kernel with a = -3/4
    padding 0: x is 0 outside     1: s is moved to the border     2: s is reflected there (bicubic moves its i instead)
    Where s is moved its derivative is 0; where it is reflected, -1 or 1.

    Source: Jaderberg et al. 2015, "Spatial transformer networks", section 3.3; Keys 1981, "Cubic convolution
    interpolation for digital image processing".
    """

    operator = "grid_sampler_2d grid_sampler_3d"
    upcast = True
    autocast = {"cpu": "float32", "cuda": "promote"}  # noqa: RUF012
    tangent_reads = ()

    def forward(
        input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
    ) -> Tensor:  # fmt: skip
        return torch.grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)

    def taps(
        grid: Tensor, input_shape: tuple, interpolation_mode: int, padding_mode: int, align_corners: bool
    ) -> list[list[Tap]]:
        """The taps of each axis of the input."""
        places = grid.reshape(grid.shape[0], grid.shape[1:-1].numel(), grid.shape[-1]).unbind(-1)
        modes = interpolation_mode, padding_mode, align_corners
        return [along(g, size, *modes) for g, size in zip(reversed(places), input_shape[2:], strict=True)]

    def delta_input(delta: Tensor, input_shape: tuple, taps: list[list[Tap]]) -> Tensor:
        batch, channels, *sizes = input_shape
        delta = delta.reshape(batch, channels, delta.shape[2:].numel())
        spread = delta.new_zeros(batch, channels, math.prod(sizes))
        for index, inside, chosen in corners(taps, sizes):
            weight = reduce(torch.mul, [tap.weight for tap in chosen])
            share = torch.where(inside, weight, 0).unsqueeze(1) * torch.where(inside.unsqueeze(1), delta, 0)
            spread = spread.scatter_add(-1, index.unsqueeze(1).expand_as(delta), share)
        return spread.reshape(input_shape)

    def delta_grid(
        delta: Tensor, input: Tensor, grid: Tensor, taps: list[list[Tap]], interpolation_mode: int
    ) -> Tensor:  # fmt: skip
        if interpolation_mode == NEAREST:
            return torch.zeros_like(grid)
        batch, channels, *sizes = input.shape
        delta = delta.reshape(batch, channels, delta.shape[2:].numel())
        moved = [torch.zeros_like(taps[0][0].weight) for _ in sizes]
        for element, chosen in elements(input, taps):
            along_channels = (delta * element).sum(1)
            for axis in range(len(sizes)):
                moved[axis] = moved[axis] + along_channels * slope(chosen, axis)
        return torch.stack(moved[::-1], -1).reshape(grid.shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, grid, *modes = inputs
        t_input, t_grid, *_ = tangents
        moved = None if t_input is None else GridSample.forward(t_input, grid, *modes)
        if t_grid is None:
            assert moved is not None
            return moved
        t_places = t_grid.reshape(*t_grid.shape[:1], t_grid.shape[1:-1].numel(), t_grid.shape[-1]).unbind(-1)[::-1]
        for element, chosen in elements(input, GridSample.taps(grid, input.shape, *modes)):
            change = sum([t_place * slope(chosen, axis) for axis, t_place in enumerate(t_places)])
            moved = total(moved, (element * change.unsqueeze(1)).reshape_as(output))
        assert moved is not None
        return moved


def corners(taps: list[list[Tap]], sizes: list[int]) -> Iterator[tuple[Tensor, Tensor, tuple[Tap, ...]]]:
    """For each choice of one tap per axis: the flat index of the element, whether it lies inside, and the taps."""
    for chosen in product(*taps):
        index, inside = chosen[0].position, chosen[0].inside
        for tap, size in zip(chosen[1:], sizes[1:], strict=True):
            index, inside = index * size + tap.position, inside & tap.inside
        yield index, inside, chosen


def elements(input: Tensor, taps: list[list[Tap]]) -> Iterator[tuple[Tensor, tuple[Tap, ...]]]:
    """For each choice of one tap per axis: the element (N, C, P), 0 where it lies outside, and the taps."""
    batch, channels, *sizes = input.shape
    flat = input.reshape(batch, channels, math.prod(sizes))
    for index, inside, chosen in corners(taps, sizes):
        element = flat.gather(-1, index.unsqueeze(1).expand(batch, channels, index.shape[1]))
        yield torch.where(inside.unsqueeze(1), element, 0), chosen


def slope(chosen: tuple[Tap, ...], axis: int) -> Tensor:
    """The derivative of the product of the weights by one coordinate."""
    return reduce(torch.mul, [tap.slope if i == axis else tap.weight for i, tap in enumerate(chosen)])


def along(g: Tensor, size: int, interpolation_mode: int, padding_mode: int, align_corners: bool) -> list[Tap]:
    """The taps of one axis."""
    scale = (size - 1) / 2 if align_corners else size / 2
    s = (g + 1) * scale if align_corners else (g + 1) * scale - 0.5
    if interpolation_mode == BICUBIC:
        first = s.floor()
        offsets = range(-1, 3)
        elements = [kept(first + k, size, padding_mode, align_corners)[0] for k in offsets]
        return [
            tap(element, size, keys(s - first - k, -0.75), scale * keys_slope(s - first - k, -0.75))
            for k, element in zip(offsets, elements, strict=True)
        ]
    s, turned = kept(s, size, padding_mode, align_corners)
    if interpolation_mode == NEAREST:
        return [tap(s.round(), size, torch.ones_like(s), torch.zeros_like(s))]
    first = s.floor()
    return [
        tap(first, size, first + 1 - s, -scale * turned),
        tap(first + 1, size, s - first, scale * turned),
    ]


def tap(element: Tensor, size: int, weight: Tensor, slope: Tensor) -> Tap:
    """One tap; its element may lie outside of the axis."""
    index = element.long()
    return Tap(index.clamp(0, size - 1), (index >= 0) & (index < size), weight, slope)


def kept(s: Tensor, size: int, padding_mode: int, align_corners: bool) -> tuple[Tensor, Tensor]:
    """The position after padding has moved or reflected it, and the derivative of this move: 0, -1 or 1."""
    turned = torch.ones_like(s)
    if padding_mode == ZEROS:
        return s, turned
    if padding_mode == REFLECTION:
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if span == 0:
            return torch.zeros_like(s), torch.zeros_like(s)
        beyond = (s - low).abs()
        back = (beyond / span).floor() % 2 == 1
        turned = torch.where((s < low) ^ back, -turned, turned)
        s = low + torch.where(back, span - beyond % span, beyond % span)
    inner = (s > 0) & (s < size - 1)
    return s.clamp(0, size - 1), torch.where(inner, turned, 0)


def keys_slope(distance: Tensor, a: float) -> Tensor:
    """The derivative of Keys' cubic kernel."""
    d = distance.abs()
    inner = 3 * (a + 2) * d * d - 2 * (a + 3) * d
    outer = a * (3 * d - 4) * (d - 2)
    return distance.sign() * torch.where(d <= 1, inner, torch.where(d < 2, outer, 0))
