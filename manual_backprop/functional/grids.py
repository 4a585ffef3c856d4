"""Sampling at the positions of a grid, and the grids of affine maps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """The input (N, C, *) at the positions of a grid, as torch.nn.functional.grid_sample; rule: `mb.rules.GridSample`.

    Raises ValueError for a mode or padding that torch does not have.
    """
    if mode not in MODES:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', "
            f"but got: '{padding_mode}'"
        )
    if align_corners is None and not torch.compiler.is_compiling():  # which does not trace warnings
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
    numbers = MODES.index(mode), PADDINGS.index(padding_mode)
    return call(rules.GridSample, input, grid, *numbers, bool(align_corners))


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The positions to which affine maps (N, 2, 3) or (N, 3, 4) send each position of an output, as
    torch.nn.functional.affine_grid; rule: `mb.rules.AffineGrid`.

    Raises ValueError for maps that are not floating point or do not fit the size, NotImplementedError for a size that
    is not (N, C, H, W) or (N, C, D, H, W).
    """
    if align_corners is None and not torch.compiler.is_compiling():  # which does not trace warnings
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {tuple(size)}."
        )
    if theta.dim() != 3 or theta.shape[1:] != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {tuple(size)}. "
            f"Got {tuple(theta.shape)}."
        )
    if align_corners and min(size[2:]) == 1:
        if not torch.compiler.is_compiling():
            warnings.warn(
                "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. "
                "This is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
                stacklevel=2,
            )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    return _affine_grid(theta, size, bool(align_corners))


@stands_for("affine_grid_generator")
def _affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    return call(rules.AffineGrid, theta, tuple(size), align_corners)
