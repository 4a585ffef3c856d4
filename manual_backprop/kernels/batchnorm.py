"""BatchNorm in C (batchnorm.c). The formulas' torch operations make several times as many passes over memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..engine.terms import widen
from ..rules import BatchNorm, InstanceNorm, ReLU
from . import memory, native
from .native import REAL, REALS
from .registry import serves, serves_both

WORTHWHILE = 2**17
"""Elements from which the forward gains from one pass less. Below, ATen's function runs, with torch's bits."""
SINGLE = torch.float32, torch.bfloat16
"""Dtypes that are computed in float32. For float64 ATen's function runs, with torch's bits."""


CHANNELS = "(N, C, *), dense, channels first or last"
LARGE = f"float32, bfloat16; {CHANNELS}; 2^17 elements or more"


@serves(BatchNorm.normalized, on="cpu", when=LARGE)
def batch_norm_normalized(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Output, mean and invstd; mean and invstd are always float32."""
    vectors = weight, bias, running_mean, running_var
    if (
        input.numel() < WORTHWHILE
        or input.dtype not in SINGLE
        or (shape := _channels((input,), *vectors)) is None
        or len({v.dtype for v in vectors if v is not None}) > 1  # torch refuses this
    ):
        return NotImplemented
    mean, invstd = input.new_empty(2, shape[1], dtype=torch.float32)
    output, wide = memory.empty_like(input), widen(*vectors)
    native.call(
        f"batch_norm_normalized_{REAL[input.dtype]}",
        output, mean, invstd, input, *wide, native.number(momentum), native.number(eps), *shape,
    )  # fmt: skip
    for running, moved in zip(vectors[2:], wide[2:], strict=True):
        if running is not moved and running is not None:
            running.copy_(moved)
    return output, mean, invstd


@serves(BatchNorm.scaled, on="cpu", when=LARGE)
def batch_norm_scaled(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float,
    rectified: bool = False,
) -> Tensor:  # fmt: skip
    """Recomputes the output of `batch_norm_normalized`, so it serves the same tensors. rectified: then ReLU."""
    shape = _channels((input,), weight, bias)
    if input.numel() < WORTHWHILE or input.dtype not in SINGLE or mean.dtype != torch.float32 or shape is None:
        return NotImplemented
    output, (weight, bias) = memory.empty_like(input), widen(weight, bias)
    name = f"batch_norm_scaled_{REAL[input.dtype]}"
    native.call(name, output, input, weight, bias, mean, invstd, rectified, *shape)
    return output


@serves_both(ReLU.forward, BatchNorm.scaled, on="cpu", when=LARGE)
def batch_norm_rectified(*args: Any) -> Tensor:
    return batch_norm_scaled(*args, rectified=True)


@serves(BatchNorm.derivatives, on="cpu", upcasts=True, when=f"{REALS}; {CHANNELS}; delta_input is needed")
def batch_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, needs: tuple[bool, bool, bool]
) -> tuple:
    real = REAL.get(input.dtype) if needs[0] else None
    if real is None or (shape := _channels((input, delta), weight, mean, invstd)) is None:
        return NotImplemented
    delta, (weight, mean, invstd) = memory.laid_as(delta, input), widen(weight, mean, invstd)
    results = torch.empty_like(input), torch.empty_like(mean), torch.empty_like(mean)
    native.call(f"batch_norm_derivatives_{real}", *results, delta, input, weight, mean, invstd, *shape)
    return tuple([result if needed else None for result, needed in zip(results, needs, strict=True)])


@serves(InstanceNorm.derivatives, on="cpu", upcasts=True, when=f"{REALS}; delta_input is needed")
def instance_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, needs: tuple[bool, bool, bool]
) -> tuple:
    """Runs BatchNorm's kernel on one sample that has the channels of all samples."""
    if not needs[0] or not native.plain(delta, input, mean, invstd):
        return NotImplemented
    batch, channels = input.shape[:2]
    one = 1, batch * channels, *input.shape[2:]
    found = batch_norm_derivatives(
        delta.contiguous().view(one), input.contiguous().view(one), None if weight is None else weight.repeat(batch),
        mean.flatten(), invstd.flatten(), needs,
    )  # fmt: skip
    if found is NotImplemented:
        return NotImplemented
    delta_input, *sums = found
    grads = [None if v is None else v.view(batch, channels).sum(0) for v in sums]
    return delta_input.view(input.shape), *grads


def _channels(tensors: tuple[Tensor, ...], *vectors: Tensor | None) -> tuple[int, int, int, int] | None:
    """N, C, positions, and whether the first tensor is channels last; None if the C function does not serve these."""
    given, input = [v for v in vectors if v is not None], tensors[0]
    if input.dim() < 2 or not native.serves(*tensors, *given):
        return None
    batch, channels, *positions = input.shape
    last = 1 if not positions and input.is_contiguous() else memory.arranged(input, len(positions))
    dtypes = (input.dtype, torch.float32) if input.dtype == torch.bfloat16 else (input.dtype,)
    if last is None or input.numel() <= channels or any([t.dtype != input.dtype for t in tensors]):
        return None
    if any([v.shape != (channels,) or v.dtype not in dtypes or not v.is_contiguous() for v in given]):
        return None
    return batch, channels, math.prod(positions), last
