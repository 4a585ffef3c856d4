"""The p-norm of each window, in one, two and three dimensions."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .. import rules
from ._autocast import float32_on_cpu
from ._axes import axes
from ._call import call
from .pooling import max_pool1d, max_pool2d, max_pool3d

Size = int | tuple[int, ...]

LARGEST = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, L), as torch.nn.functional.lp_pool1d; rule: `mb.rules.LPPool`."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, H, W), as torch.nn.functional.lp_pool2d; rule: `mb.rules.LPPool`."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, D, H, W), as torch.nn.functional.lp_pool3d; rule: `mb.rules.LPPool`."""
    return _lp_pool(3, float32_on_cpu(input), norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    if norm_type == 0:
        raise ValueError(f"norm_type must be a non-zero value, but got {norm_type}")
    if math.isinf(norm_type):  # inf: the largest |x|; -inf: the smallest
        magnitude = call(rules.Add, call(rules.ReLU, input), call(rules.ReLU, call(rules.Mul, input, -1)), 1)
        if norm_type > 0:
            return LARGEST[n](magnitude, kernel_size, stride, 0, 1, ceil_mode)
        return call(rules.Mul, LARGEST[n](call(rules.Mul, magnitude, -1), kernel_size, stride, 0, 1, ceil_mode), -1)
    size = axes(kernel_size, n, f"lp_pool{n}d: kernel_size must be a single int, or a tuple of {n}. got: {kernel_size}")
    step = size if stride is None else axes(stride, n, f"lp_pool{n}d: stride must be an int or {n} ints. got: {stride}")
    return call(rules.LPPool, input, norm_type, size, step, ceil_mode)
