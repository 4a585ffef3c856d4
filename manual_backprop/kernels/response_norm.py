"""The derivative of local response normalization in C (response_norm.c): sums over channels in one pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rules import LocalResponseNorm
from . import native
from .native import REAL
from .registry import serves
from .rows import takes


@serves(LocalResponseNorm.delta_input, on="cpu", when="float32, float64; contiguous, not empty")
def local_response_norm_delta_input(
    delta: Tensor, input: Tensor, s: Tensor, size: int, alpha: float, beta: float
) -> Tensor:
    if input.dtype == torch.bfloat16 or input.dim() < 2 or not input.is_contiguous() or not takes(input, delta, s):
        return NotImplemented
    share = delta.contiguous() * s.contiguous().pow(-beta)
    out = torch.empty_like(input)
    batch, channels, *places = input.shape
    native.call(
        f"response_norm_delta_input_{REAL[input.dtype]}", out, share, input, s.contiguous(),
        native.number(2 * alpha * beta / size), (size - 1) // 2, size, batch, channels, math.prod(places),
    )  # fmt: skip
    return out
