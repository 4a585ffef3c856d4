"""Resampling to another size: torch.nn.functional.interpolate, and its former names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ..rules.interpolation import OPERATORS
from ._call import call
from ._overloads import stands_for
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

Size = int | Sequence[int] | None
Scale = float | Sequence[float] | None

AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
AXES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
    "bicubic": (2,), "trilinear": (3,), "lanczos": (2,),
}  # fmt: skip
"""torch's modes, and for how many spatial axes each is defined."""
KERNELS = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
"""torch's name of a mode -> the kernel along each axis."""


def interpolate(
    input: Tensor,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input (N, C, *) in another size, as torch.nn.functional.interpolate; rule: `mb.rules.Interpolate`, and
    `mb.rules.AdaptiveAvgPool` for mode "area".

    Raises ValueError unless exactly one of `size` and `scale_factor` is given, and for options that a mode does not
    have; NotImplementedError for a mode that is not defined for the input's number of axes.
    """
    n = input.dim() - 2
    if mode in ("nearest", "nearest-exact", "area") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
            f"trilinear. got: mode={mode!r}, align_corners={align_corners}"
        )
    sizes, scales = _sizes(input, n, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if recompute_scale_factor or mode == "area":
        scales = (None,) * n
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and n == 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as "
            f"input. got: mode={mode!r}, input {tuple(input.shape)}"
        )
    if n not in AXES.get(mode, ()):
        raise NotImplementedError(
            f"interpolate: the mode does not fit the input. got: mode {mode!r}, input of {input.dim()} axes. expected: "
            "3 axes for nearest, nearest-exact, area, linear; 4 for nearest, nearest-exact, area, bilinear, bicubic, "
            "lanczos; 5 for nearest, nearest-exact, area, trilinear"
        )
    if mode == "area":
        return AREA[n](input, sizes)
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError(
            "Lanczos mode requires antialias=True and does not support align_corners=True. "
            f"got: antialias={antialias}, align_corners={align_corners}"
        )
    if mode == "lanczos" and ("lanczos-antialias", 2) not in OPERATORS:
        raise ValueError(f"mode lanczos is new in torch 2.14. got: torch {torch.__version__}. expected: a newer torch")
    kernel = KERNELS.get(mode, mode) + "-antialias" * antialias
    return _interpolate(input, sizes, kernel, bool(align_corners), scales)


def upsample(
    input: Tensor, size: Size = None, scale_factor: Scale = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """torch's former name of `interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Size = None, scale_factor: Scale = None) -> Tensor:
    """torch's former name of `interpolate(mode="nearest")`."""
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Size = None, scale_factor: Scale = None) -> Tensor:
    """torch's former name of `interpolate(mode="bilinear", align_corners=True)`."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _sizes(input: Tensor, n: int, size: Size, scale_factor: Scale) -> tuple[tuple, tuple]:
    """The output's size along each axis, and the given scale along each axis."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (list, tuple)) and len(size) != n:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and output size of {size}. Please provide input tensor in "
                "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
            )
        return (tuple(size) if isinstance(size, (list, tuple)) else (size,) * n), (None,) * n
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)) and len(scale_factor) != n:
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(input.shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
            "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
        )
    factors: Any = scale_factor if isinstance(scale_factor, (list, tuple)) else (scale_factor,) * n
    scales = tuple(float(factor) for factor in factors)
    return tuple(math.floor(a * scale) for a, scale in zip(input.shape[2:], scales, strict=True)), scales


def _interpolate(input: Tensor, sizes: tuple, mode: str, align_corners: bool, scales: tuple) -> Tensor:
    deep = mode == "nearest" and input.dim() == 5 and input.shape[1] > 3
    if deep and any(scales) and input.is_contiguous(memory_format=torch.channels_last_3d):
        # torch's kernel ignores the scale of an axis that keeps its size or doubles it
        pairs = zip(input.shape[2:], sizes, scales, strict=True)
        scales = tuple(None if size in (n, 2 * n) else scale for n, size, scale in pairs)
    return call(rules.Interpolate, input, sizes, mode, align_corners, scales)


def _stand_in(mode: str, axes: int) -> Any:
    """The operator of one kind of interpolation, with the arguments of its schema."""

    def nearest(input: Tensor, output_size: Sequence[int], *scales: float | None) -> Tensor:
        return weighted(input, output_size, False, *scales)

    def weighted(input: Tensor, output_size: Sequence[int], align_corners: bool, *scales: float | None) -> Tensor:
        scales += (None,) * (axes - len(scales))
        return _interpolate(input, tuple(output_size), mode, align_corners, scales)

    return nearest if mode.startswith("nearest") else weighted


for (_mode, _axes), _operator in OPERATORS.items():
    stands_for(f"{_operator.__name__}.default")(_stand_in(_mode, _axes))
