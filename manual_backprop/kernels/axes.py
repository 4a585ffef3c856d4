"""The backward of interpolation and padding in C (axes.c): weighted sums along one axis after another.

A table says which elements each sum takes.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from ..engine.torch_private import suggested_memory_format
from ..rules import Interpolate, Pad
from ..rules.interpolation import taps
from . import native
from .memory import arranged, on_huge_pages
from .native import REAL
from .registry import serves

Table = tuple[Any, Any, Any]
"""begin, from and weight of `summed_along` in axes.c."""


@serves(Interpolate.delta_input, on="cpu", when="float32, float64; dense, channels first or last; not empty")
def interpolate_delta_input(
    delta: Tensor, input_shape: torch.Size, output_size: tuple[int, ...], mode: str, align_corners: bool,
    scales: tuple[float | None, ...],
) -> Tensor:  # fmt: skip
    if delta.dtype not in (torch.float32, torch.float64) or not delta.numel() or not native.serves(delta):
        return NotImplemented
    axes = len(output_size)
    last = arranged(delta, axes) == 1
    delta = delta.movedim(1, -1) if last else delta.contiguous()
    for i, scale in enumerate(scales):
        size, outputs = input_shape[2 + i], output_size[i]
        table = weighted(size, outputs, mode, align_corners, scale, axes, delta.dtype)
        delta = summed_along(delta, 1 + i if last else 2 + i, size, table)
    return delta.movedim(-1, 1) if last else delta


@serves(Pad.fold, on="cpu", when="float32, float64; not empty")
def pad_fold(delta: Tensor, axis: int, left: int, right: int, mode: str) -> Tensor:
    if delta.dtype not in (torch.float32, torch.float64) or not delta.numel() or not native.serves(delta):
        return NotImplemented
    axis %= delta.dim()
    shape = delta.shape
    size = shape[axis] - left - right
    out = on_huge_pages(delta.new_empty(*shape[:axis], size, *shape[axis + 1 :]))
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    border = copied(size, left, right, mode)
    name = f"folded_along_{REAL[delta.dtype]}"
    native.call(name, out, delta.contiguous(), *border, left, outer, shape[axis], size, inner)
    return out.contiguous(memory_format=suggested_memory_format(delta))  # the layout of torch's result


def summed_along(delta: Tensor, axis: int, size: int, table: Table) -> Tensor:
    """A contiguous tensor with `size` elements along the axis, each a weighted sum of the elements that the table
    names."""
    shape = delta.shape
    out = on_huge_pages(delta.new_empty(*shape[:axis], size, *shape[axis + 1 :]))
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    native.call(f"summed_along_{REAL[delta.dtype]}", out, delta, *table, outer, shape[axis], size, inner)
    return out


@functools.lru_cache(1024)
def weighted(
    size: int, outputs: int, mode: str, align_corners: bool, scale: float | None, axes: int, dtype: torch.dtype
) -> Table:
    """The table for one axis of an interpolation; its weights are float64."""
    like = torch.empty(1, dtype=dtype if mode.startswith("nearest") else torch.float64).reshape([1] * (axes + 2))
    indices, weights = taps(size, outputs, mode, align_corners, scale, like)
    count = indices.shape[1]
    return _table(size, indices.flatten().tolist(), count, None if mode == "nearest" else weights.flatten().tolist())


@functools.lru_cache(1024)
def copied(size: int, left: int, right: int, mode: str) -> tuple[Any, Any, int]:
    """target, from and count of `folded_along` in axes.c, for padding whose border is copied from the inside."""
    border = [*range(-left, 0), *range(size, size + right)]
    long = ctypes.c_int64 * len(border)
    targets = long(*[Pad.origin(i, size, left, right, mode) for i in border])
    return targets, long(*[i + left for i in border]), len(border)


def _table(size: int, targets: list[int], count: int, weights: list[float] | None) -> Table:
    """The table of entries sorted by target. `targets` has `count` entries for each output, output after output."""
    order = sorted(range(len(targets)), key=targets.__getitem__)
    begin = [0] * (size + 1)
    for target in targets:
        begin[target + 1] += 1
    for i in range(size):
        begin[i + 1] += begin[i]
    long = ctypes.c_int64 * len(order)
    weight = None if weights is None else (ctypes.c_double * len(order))(*[weights[e] for e in order])
    return (ctypes.c_int64 * len(begin))(*begin), long(*[e // count for e in order]), weight
