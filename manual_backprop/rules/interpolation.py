"""Resampling to another size: Interpolate, with the weights of each kind of interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule

Axes = tuple[int, ...]
Taps = tuple[Tensor, Tensor]
"""For each output along an axis, the indices of the inputs it combines, and their weights: both (outputs, taps)."""

aten = torch.ops.aten

OPERATORS: dict[tuple[str, int], Callable[..., Tensor]] = {
    ("nearest", 1): aten.upsample_nearest1d,
    ("nearest", 2): aten.upsample_nearest2d,
    ("nearest", 3): aten.upsample_nearest3d,
    ("nearest-exact", 1): aten._upsample_nearest_exact1d,
    ("nearest-exact", 2): aten._upsample_nearest_exact2d,
    ("nearest-exact", 3): aten._upsample_nearest_exact3d,
    ("linear", 1): aten.upsample_linear1d,
    ("linear", 2): aten.upsample_bilinear2d,
    ("linear", 3): aten.upsample_trilinear3d,
    ("cubic", 2): aten.upsample_bicubic2d,
    ("linear-antialias", 2): aten._upsample_bilinear2d_aa,
    ("cubic-antialias", 2): aten._upsample_bicubic2d_aa,
    # new in torch 2.14
    **({("lanczos-antialias", 2): aten._upsample_lanczos2d_aa} if hasattr(aten, "_upsample_lanczos2d_aa") else {}),
}


class Interpolate(Rule):
    """y[n, c, p] = sum over i of A[p, i] x[n, c, i], along each axis of * in turn

    input (N, C, *)   output, delta (N, C, *), of other sizes   output_size, scales: one per axis; a scale may be None

    delta_input[n, c, i] = sum over p of A[p, i] delta[n, c, p], along each axis in turn

    p lies at s = scale (p + 1/2) - 1/2 of the input, or at scale p with align_corners, where scale is I / P of the
    sizes (or 1 / the given scale), or (I - 1) / (P - 1). A[p, i], with d = |s - i|:
    nearest, nearest-exact: 1 for i = floor(scale p), or floor(scale (p + 1/2))
    linear: 1 - d    cubic: Keys' kernel with a = -3/4    both with i outside of x as the nearest inside
    antialias: linear, Keys' with a = -1/2 or Lanczos' kernel of d / max(scale, 1), divided by its sum over the i in x

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing"; Lanczos' kernel: Duchon 1979,
    "Lanczos filtering in one and two dimensions".
    """

    linear = ("input",)
    upcast = True
    autocast = {"cuda": "float32"}  # noqa: RUF012

    def forward(
        input: Tensor, output_size: Axes, mode: str, align_corners: bool, scales: tuple[float | None, ...]
    ) -> Tensor:
        corners = () if mode.startswith("nearest") else (align_corners,)
        return OPERATORS[mode, len(output_size)](input, output_size, *corners, *scales)

    def delta_input(
        delta: Tensor, input_shape: Axes, output_size: Axes, mode: str, align_corners: bool,
        scales: tuple[float | None, ...],
    ) -> Tensor:  # fmt: skip
        sizes = input_shape[2:]
        for axis, (size, outputs, scale) in enumerate(zip(sizes, output_size, scales, strict=True), start=2):
            indices, weights = taps(size, outputs, mode, align_corners, scale, delta)
            delta = gathered(delta, axis, size, indices, weights)
        return delta


def gathered(delta: Tensor, axis: int, size: int, indices: Tensor, weights: Tensor) -> Tensor:
    """Along one axis, each output's delta times the weights, added to the inputs that the output combines."""
    gathered = delta.new_zeros(*delta.shape[:axis], size, *delta.shape[axis + 1 :])
    for tap in range(indices.shape[1]):
        weight = weights[:, tap].reshape(-1, *[1] * (delta.dim() - axis - 1))
        gathered = gathered.index_add(axis, indices[:, tap], weight * delta)
    return gathered


def taps(size: int, outputs: int, mode: str, align_corners: bool, scale: float | None, like: Tensor) -> Taps:
    """The inputs and weights along one axis, in the precision and on the device of `like`."""
    if mode.startswith("nearest"):
        return nearest(size, outputs, mode, scale, like)
    ratio = scale_of(size, outputs, align_corners, scale)
    p = torch.arange(outputs, dtype=like.dtype, device=like.device)
    if size == outputs and mode != "cubic":  # torch copies then, whatever the scale
        return p.long().unsqueeze(1), torch.ones_like(p).unsqueeze(1)
    if mode.endswith("antialias"):
        return antialiased(size, ratio, ratio * (p + 0.5) - 0.5, mode)
    place = ratio * p if align_corners else ratio * (p + 0.5) - 0.5
    if mode == "linear":
        place = place.clamp(0, size - 1)
    first = place.floor()
    offsets = torch.arange(2, device=like.device) if mode == "linear" else torch.arange(-1, 3, device=like.device)
    indices = first.long().unsqueeze(1) + offsets
    distance = (place - first).unsqueeze(1) - offsets
    weights = 1 - distance.abs() if mode == "linear" else keys(distance, -0.75)
    return indices.clamp(0, size - 1), weights


def scale_of(size: int, outputs: int, align_corners: bool, scale: float | None) -> float:
    """The distance in the input between neighbouring elements of the output."""
    if align_corners:
        return (size - 1) / (outputs - 1) if outputs > 1 else 0.0
    return 1 / scale if scale else size / outputs


def nearest(size: int, outputs: int, mode: str, scale: float | None, like: Tensor) -> Taps:
    """The index of the input that each output copies, found by running torch's operator on a tensor of positions.
    So it is rounded as torch rounds, which depends on the number of axes."""
    axes = like.dim() - 2
    positions = torch.arange(size, dtype=like.dtype, device=like.device).reshape(*[1] * (axes + 1), -1)
    chosen = OPERATORS[mode, axes](positions, [*[1] * (axes - 1), outputs], *[None] * (axes - 1), scale)
    return chosen.reshape(-1, 1).long(), like.new_ones(outputs, 1)


def antialiased(size: int, ratio: float, place: Tensor, mode: str) -> Taps:
    """The kernel, stretched by the distance between outputs, at the inputs inside of x, divided by its sum."""
    wide = max(ratio, 1.0)
    reach, kernel = FILTERS[mode]
    offsets = torch.arange(2 * math.ceil(reach * wide) + 2, device=place.device)
    indices = (place - reach * wide).floor().long().unsqueeze(1) + offsets
    weights = kernel((indices - place.unsqueeze(1)) / wide)
    weights = torch.where((indices >= 0) & (indices < size), weights, 0)
    sums = weights.sum(1, keepdim=True)
    return indices.clamp(0, size - 1), weights / torch.where(sums == 0, 1, sums)


def keys(distance: Tensor, a: float) -> Tensor:
    """Keys' cubic kernel: 1 at 0, 0 at all other integers, smooth, and 0 from 2 on."""
    d = distance.abs()
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = a * (d - 1) * (d - 2).square()
    return torch.where(d <= 1, inner, torch.where(d < 2, outer, 0))


def lanczos(distance: Tensor) -> Tensor:
    """sinc(d) sinc(d / 3) within 3."""
    return torch.where(distance.abs() < 3, torch.sinc(distance) * torch.sinc(distance / 3), 0)


FILTERS: dict[str, tuple[int, Any]] = {
    "linear-antialias": (1, lambda distance: (1 - distance.abs()).clamp(min=0)),
    "cubic-antialias": (2, lambda distance: keys(distance, -0.5)),
    "lanczos-antialias": (3, lanczos),
}
"""Mode -> reach and kernel of its antialiasing filter."""
