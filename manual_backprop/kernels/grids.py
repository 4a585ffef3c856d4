"""The derivatives of grid_sample in C (grids.c): one pass over the deltas instead of one for each neighbour."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from ..rules import GridSample
from . import native
from .memory import on_huge_pages
from .native import REAL
from .registry import serves


@serves(GridSample.derivatives, on="cpu", when="float32, float64")
def grid_sample_derivatives(
    delta: Tensor, input_shape: torch.Size, grid: Tensor, interpolation_mode: int, padding_mode: int,
    align_corners: bool, input: Tensor | None, needs: tuple[bool, bool],
) -> tuple:  # fmt: skip
    needs_input, needs_grid = needs
    tensors = [delta, grid] if input is None else [delta, grid, input]
    wanted = delta.dtype in (torch.float32, torch.float64) and delta.numel()
    if not wanted or any([t.dtype != delta.dtype for t in tensors]) or not native.serves(*tensors):
        return NotImplemented
    batch, channels, *sizes = input_shape
    delta_input = on_huge_pages(delta.new_empty(input_shape)).zero_() if needs_input else None
    delta_grid = torch.empty(grid.shape, dtype=grid.dtype) if needs_grid else None
    native.call(
        f"grid_sample_derivatives_{REAL[delta.dtype]}", delta_input, delta_grid, delta.contiguous(),
        None if input is None else input.contiguous(), grid.contiguous(), (ctypes.c_int64 * len(sizes))(*sizes),
        len(sizes), batch, channels, math.prod(delta.shape[2:]), interpolation_mode, padding_mode, align_corners,
    )  # fmt: skip
    return delta_input, delta_grid
