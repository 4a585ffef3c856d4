"""Residual connections and the normalization after them in C (norms.c), in one pass each way.

An output that `normalized` recomputes has the same bits as before: whether the C code runs depends only on the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..engine.rule import KERNELS
from ..engine.terms import widen
from ..rules import AddLayerNorm, AddRMSNorm
from . import native, rows
from .memory import empty_like
from .native import REALS
from .registry import serves

FORWARD = f"{REALS} of one dtype; contiguous, 2^14 elements or more"
BACKWARD = f"{REALS}; both deltas of one dtype"


def _alike(input: Tensor, other: Tensor | None) -> bool:
    """Whether the C code can add them."""
    if other is None or input.dtype is not other.dtype or input.shape != other.shape:
        return False
    return input.is_contiguous() and other.is_contiguous() and native.serves(other)


@serves(AddLayerNorm.outputs, on="cpu", when=f"{FORWARD}, both of one shape; else adds first")
def layer_norm_outputs(
    input: Tensor, other: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    shape = tuple(normalized_shape)
    if _alike(input, other) and rows.takes_layer_norm(input, shape, weight, bias):
        summed = empty_like(input)
        output, mean, invstd = rows.layer_norm(input, shape, weight, bias, eps, other, summed)
    else:
        summed = input + other
        output, mean, invstd = KERNELS[AddLayerNorm.normalized](summed, shape, weight, bias, eps)
    return output, summed, mean, invstd


@serves(AddLayerNorm.normalized, on="cpu", when=FORWARD)
def layer_norm_normalized(
    summed: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = tuple(normalized_shape)
    if not rows.takes_layer_norm(summed, shape, weight, bias):
        return NotImplemented
    return rows.layer_norm(summed, shape, weight, bias, eps)


@serves(AddLayerNorm.derivatives, on="cpu", upcasts=True, when=BACKWARD)
def layer_norm_derivatives(
    delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
    shape: torch.Size, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    mean, invstd = widen(mean, invstd)
    if not (needs[0] or needs[1]) or not rows.derived(delta, summed, weight, mean, invstd) or _unlike(delta, delta_sum):
        return NotImplemented
    return rows.norm(delta, summed, weight, mean, invstd, shape, *needs, besides=delta_sum)


@serves(AddRMSNorm.outputs, on="cpu", when=f"{FORWARD}, both of one shape; else adds first")
def rms_norm_outputs(
    input: Tensor, other: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    shape = tuple(normalized_shape)
    if _alike(input, other) and rows.worth(input, shape, weight):
        summed = empty_like(input)
        output, invrms = _rms_norm(input, shape, weight, eps, other, summed)
    else:
        summed = input + other
        output, invrms = KERNELS[AddRMSNorm.normalized](summed, shape, weight, eps)
    return output, summed, invrms


@serves(AddRMSNorm.normalized, on="cpu", when=FORWARD)
def rms_norm_normalized(
    summed: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor]:
    shape = tuple(normalized_shape)
    if not summed.is_contiguous() or not rows.worth(summed, shape, weight):
        return NotImplemented
    return _rms_norm(summed, shape, weight, eps)


def _rms_norm(
    input: Tensor, shape: tuple[int, ...], weight: Tensor | None, eps: float | None, other: Tensor | None = None,
    summed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    output, invrms = empty_like(input), rows.statistic(input, shape)
    rows.rms_norm(output, invrms, input, weight, math.prod(shape), eps, other, summed)
    return output, invrms


@serves(AddRMSNorm.derivatives, on="cpu", upcasts=True, when=BACKWARD)
def rms_norm_derivatives(
    delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, invrms: Tensor, shape: torch.Size,
    needs: tuple[bool, bool],
) -> tuple:  # fmt: skip
    if not rows.derived(delta, summed, weight, invrms) or _unlike(delta, delta_sum):
        return NotImplemented
    return rows.norm(delta, summed, weight, None, invrms, shape, *needs, False, delta_sum)[:2]


def _unlike(delta: Tensor, delta_sum: Tensor | None) -> bool:
    return delta_sum is not None and (delta_sum.dtype is not delta.dtype or not native.serves(delta_sum))
