"""LayerNorm, RMSNorm, GroupNorm (norms.c) and PReLU (prelu.c) in C: one pass where torch's operations make several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.terms import widen
from ..rules import GroupNorm, LayerNorm, PReLU, RMSNorm
from . import native
from .memory import around, empty_like
from .native import REAL, REALS
from .registry import serves

WORTHWHILE = 2**14
"""Elements from which a forward uses its kernel. Below, ATen's function runs, with torch's bits."""

DERIVED = f"{REALS}; delta_input or grad_weight is needed"


def worth(input: Tensor, shape: tuple[int, ...], weight: Tensor | None) -> bool:
    """Whether a forward uses its kernel: enough elements, and a weight of the normalized shape."""
    if input.numel() < WORTHWHILE or not shape or input.shape[-len(shape) :] != shape or not takes(input):
        return False
    if weight is None:
        return True
    return weight.shape == shape and weight.dtype == input.dtype and native.serves(weight)


def statistic(input: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor with one element for each normalized row, of the dtype that the C code computes in."""
    rows = *input.shape[: -len(shape)], *[1] * len(shape)
    return input.new_empty(rows, dtype=torch.float32 if input.dtype == torch.bfloat16 else input.dtype)


def vector(tensor: Tensor | None) -> Tensor | None:
    """A weight as the C code reads it: contiguous, float32 in place of bfloat16."""
    if tensor is None:
        return None
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous()


@serves(LayerNorm.normalized, on="cpu", when=f"{REALS}; contiguous, too large for the caches (else ATen is as fast)")
def layer_norm_normalized(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = tuple(normalized_shape)
    if not around(input, input) or not takes_layer_norm(input, shape, weight, bias):
        return NotImplemented
    return layer_norm(input, shape, weight, bias, eps)


def takes_layer_norm(input: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether the C code serves these rows and is worth it."""
    return input.is_contiguous() and worth(input, shape, weight) and worth(input, shape, bias)


def layer_norm(
    input: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float,
    other: Tensor | None = None, summed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Output, mean and invstd of input, or of input + other, which is written to `summed`."""
    output, mean, invstd = empty_like(input), statistic(input, shape), statistic(input, shape)
    weight, bias = vector(weight), vector(bias)
    native.call(
        f"layer_norm_{REAL[input.dtype]}", output, summed, mean, invstd, input, other, weight, bias,
        native.number(eps), mean.numel(), math.prod(shape),
    )  # fmt: skip
    return output, mean, invstd


@serves(LayerNorm.derivatives, on="cpu", upcasts=True, when=DERIVED)
def layer_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, shape: tuple[int, ...],
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    mean, invstd = widen(mean, invstd)
    if not (needs[0] or needs[1]) or not derived(delta, input, weight, mean, invstd):
        return NotImplemented
    return norm(delta, input, weight, mean, invstd, shape, *needs)


@serves(RMSNorm.derivatives, on="cpu", upcasts=True, when=REALS)
def rms_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, shape: tuple[int, ...], eps: float | None,
    needs: tuple[bool, bool],
) -> tuple:  # fmt: skip
    invrms = rms_norm_invrms(input, shape, eps)
    if invrms is NotImplemented or not derived(delta, input, weight, invrms):
        return NotImplemented
    return norm(delta, input, weight, None, invrms, shape, *needs, False)[:2]


@serves(RMSNorm.normalized, on="cpu", when=f"{REALS}; 2^14 elements or more")
def rms_norm_normalized(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> Tensor:
    shape = tuple(normalized_shape)
    if not worth(input, shape, weight):
        return NotImplemented
    output = empty_like(input, memory_format=torch.contiguous_format)
    rms_norm(output, None, input, weight, math.prod(shape), eps)
    return output


@serves(RMSNorm.invrms, on="cpu", upcasts=True, when=REALS)
def rms_norm_invrms(input: Tensor, shape: tuple[int, ...], eps: float | None) -> Tensor:
    if not takes(input):
        return NotImplemented
    invrms = statistic(input, shape)
    rms_norm(None, invrms, input, None, math.prod(shape), eps)
    return invrms


def rms_norm(
    output: Tensor | None, invrms: Tensor | None, input: Tensor, weight: Tensor | None, n: int, eps: float | None,
    other: Tensor | None = None, summed: Tensor | None = None,
) -> None:  # fmt: skip
    """Writes `output` and `invrms` of input, or of input + other, which is written to `summed`."""
    input, weight = input.contiguous(), vector(weight)
    eps = RMSNorm.least(input.dtype) if eps is None else eps
    native.call(
        f"rms_norm_{REAL[input.dtype]}", output, summed, invrms, input, other, weight, native.number(eps),
        input.numel() // n, n,
    )  # fmt: skip


def derived(delta: Tensor, input: Tensor, weight: Tensor | None, *statistics: Tensor) -> bool:
    """Whether the backward in C serves these. Statistics have the dtype that the C code computes in."""
    dtype = input.dtype
    real = torch.float32 if dtype is torch.bfloat16 else dtype
    if dtype not in REAL or delta.dtype is not dtype or statistics[0].dtype is not real or not input.numel():
        return False
    if weight is None:
        return native.serves(delta, input, *statistics)
    return weight.dtype in (real, dtype) and native.serves(delta, input, weight, *statistics)


def norm(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor | None, invstd: Tensor, shape: tuple[int, ...],
    needs_input: bool, needs_weight: bool, needs_bias: bool, besides: Tensor | None = None,
) -> tuple:  # fmt: skip
    """delta_input, to which `besides` is added, grad_weight and grad_bias."""
    delta, input, weight = delta.contiguous(), input.contiguous(), vector(weight)
    besides = None if besides is None else besides.contiguous()
    delta_input = empty_like(input) if needs_input else None
    like = invstd.new_empty(shape) if weight is None else weight
    grad_weight, grad_bias = (torch.empty_like(like) if needed else None for needed in (needs_weight, needs_bias))
    native.call(
        f"norm_derivatives_{REAL[input.dtype]}",
        delta_input, grad_bias, grad_weight, delta, besides, input, weight, mean, invstd,
        invstd.numel(), math.prod(shape),
    )  # fmt: skip
    return delta_input, grad_weight, grad_bias


@serves(GroupNorm.derivatives, on="cpu", upcasts=True, when=f"{DERIVED}; contiguous")
def group_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, needs: tuple[bool, bool, bool]
) -> tuple:
    mean, invstd = widen(mean, invstd)
    if not (needs[0] or needs[1]) or not derived(delta, input, weight, mean, invstd) or not input.is_contiguous():
        return NotImplemented
    delta, weight = delta.contiguous(), vector(weight)
    batch, channels = input.shape[:2]
    delta_input = empty_like(input) if needs[0] else None
    grad_weight, grad_bias = (invstd.new_empty(channels) if needed else None for needed in needs[1:])
    native.call(
        f"group_norm_derivatives_{REAL[input.dtype]}",
        delta_input, grad_bias, grad_weight, delta, input, weight, mean, invstd,
        batch, channels, input.numel() // (batch * channels), mean.shape[1],
    )  # fmt: skip
    return delta_input, grad_weight, grad_bias


@serves(PReLU.derivatives, on="cpu", upcasts=True, when=f"{REALS}; contiguous; one weight, or (N, C, *) and C weights")
def prelu_derivatives(delta: Tensor, input: Tensor, weight: Tensor, needs: tuple[bool, bool]) -> tuple:
    single, dims = weight.numel() == 1, input.dim()
    if (
        not all(needs)
        or not input.is_contiguous()
        or not (single or (dims > 2 and weight.numel() == input.shape[1]))
        or not takes(delta, input, weight)
    ):
        return NotImplemented
    weights: Any = vector(weight)
    delta, delta_input, grad_weight = delta.contiguous(), empty_like(input), torch.empty_like(weights)
    sizes = (1, 1, input.numel()) if single else (*input.shape[:2], math.prod(input.shape[2:]))
    native.call(f"prelu_derivatives_{REAL[input.dtype]}", delta_input, grad_weight, delta, input, weights, *sizes)
    return delta_input, grad_weight


def takes(*tensors: Tensor | None, labels: Tensor | None = None) -> bool:
    """Whether the C code can read these tensors: of one dtype in REAL, not empty, and served by `native`."""
    given = [t for t in tensors if t is not None]
    dtype = given[0].dtype
    if dtype not in REAL:
        return False
    for t in given:
        if t.dtype != dtype or not t.numel():
            return False
    return native.serves(*given) if labels is None else native.serves(*given, labels)
