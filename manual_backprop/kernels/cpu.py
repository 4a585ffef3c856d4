"""Formulas as C: BatchNorm and MaxPool, whose torch operations pass over memory several times as often.

Each hands on to its formula what it does not take: other dtypes and layouts, traced or transformed tensors.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from ..rules import BatchNorm, MaxPool, ReLU
from ..rules._again import FUSED
from ..rules._rule import KERNELS, choose
from . import layout, memory, native

Axes = tuple[int, ...]

WORTHWHILE = 2**17
"""Elements from which BatchNorm's forward gains from one pass less; below, ATen's is taken, equal to the last bit."""
REAL = {torch.float32: "float", torch.float64: "double"}


def batch_norm_normalized(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`BatchNorm.normalized`."""
    vectors = weight, bias, running_mean, running_var
    if input.numel() < WORTHWHILE or input.dtype != torch.float32 or (shape := _channels((input,), *vectors)) is None:
        return BatchNorm.normalized(input, *vectors, momentum, eps)
    mean, invstd = input.new_empty(2, shape[1])
    output, options = memory.empty_like(input), (ctypes.c_double * 2)(momentum, eps)
    at = ctypes.addressof(options)
    native.call(
        "batch_norm_normalized_float", *native.addresses(output, mean, invstd, input, *vectors),
        at, at + ctypes.sizeof(ctypes.c_double), *shape,
    )  # fmt: skip
    return output, mean, invstd


def batch_norm_scaled(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    """`BatchNorm.scaled`, where `batch_norm_normalized` made the output, too."""
    found = _scaled(input, weight, bias, mean, invstd, rectified=False)
    return BatchNorm.scaled(input, weight, bias, mean, invstd, eps) if found is None else found


def batch_norm_rectified(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    """`ReLU.forward` of `BatchNorm.scaled`."""
    scaled = choose(BatchNorm.scaled)
    found = None if scaled is BatchNorm.scaled else _scaled(input, weight, bias, mean, invstd, rectified=True)
    return torch.relu_(scaled(input, weight, bias, mean, invstd, eps)) if found is None else found


def _scaled(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, rectified: bool
) -> Tensor | None:
    shape = _channels((input,), weight, bias)
    if input.numel() < WORTHWHILE or input.dtype != torch.float32 or shape is None:
        return None
    output = memory.empty_like(input)
    pointers = native.addresses(output, input, weight, bias, mean, invstd)
    native.call("batch_norm_scaled_float", *pointers, rectified, *shape)
    return output


def batch_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`BatchNorm.derivatives`."""
    real = REAL.get(input.dtype)
    if real is None or (shape := _channels((input, delta), weight, mean, invstd)) is None:
        return BatchNorm.derivatives(delta, input, weight, mean, invstd)
    delta = memory.laid_as(delta, input)
    results = torch.empty_like(input), torch.empty_like(mean), torch.empty_like(mean)
    pointers = native.addresses(*results, delta, input, weight, mean, invstd)
    native.call(f"batch_norm_derivatives_{real}", *pointers, *shape)
    return results


def _channels(tensors: tuple[Tensor, ...], *vectors: Tensor | None) -> tuple[int, int, int, int] | None:
    """N, C, positions and whether channels lie last in the first tensor; None for what the C of BatchNorm does not
    take."""
    given, input = [v for v in vectors if v is not None], tensors[0]
    if not native.serves(*tensors, *given) or input.dim() < 2 or (last := _last(input)) is None:
        return None
    batch, channels, *positions = input.shape
    if any([v.shape != (channels,) or not v.is_contiguous() for v in given]):
        return None
    if any([t.dtype != input.dtype for t in (*tensors, *given)]) or input.numel() <= channels:
        return None
    return batch, channels, math.prod(positions), last


def max_pool_winners(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """`MaxPool.winners`."""
    options = kernel_size, stride, padding, dilation, ceil_mode
    if input.dim() == 3 and len(stride) == 1:
        along = (1, *kernel_size), (1, *stride), (0, *padding), (1, *dilation), ceil_mode
        output, winner = max_pool_winners(input.unsqueeze(2), *along)
        return output.squeeze(2), winner.squeeze(2)
    if (
        not native.serves(input)
        or input.dim() != 4
        or input.dtype not in REAL
        or (last := _last(input)) is None
        or (planned := _windows(input.shape, *options)) is None
    ):
        return MaxPool.winners(input, *options)
    shape, windows = planned
    memory_format = torch.channels_last if last else torch.contiguous_format
    output = torch.empty(shape, dtype=input.dtype, memory_format=memory_format)
    winner = torch.empty(shape, dtype=torch.uint8, memory_format=memory_format)
    pointers = output.data_ptr(), winner.data_ptr(), input.data_ptr()
    native.call(f"max_pool_winners_{REAL[input.dtype]}", *pointers, windows, last)
    return output, winner


def max_pool_delta_input(delta: Tensor, winner: Tensor, size: Axes, stride: Axes, padding: Axes) -> Tensor:
    """`MaxPool.delta_input`."""
    if winner.dim() == 3 and len(size) == 1:
        along = (1, *size), (1, *stride), (0, *padding)
        return max_pool_delta_input(delta.unsqueeze(2), winner.unsqueeze(2), *along).squeeze(2)
    if (
        not native.serves(delta, winner)
        or delta.dim() != 4
        or len(size) != 2
        or not delta.numel()
        or delta.dtype not in REAL
        or winner.dtype != torch.uint8
        or (last := _last(winner)) is None
    ):
        return layout.max_pool_delta_input(delta, winner, size, stride, padding)
    memory_format = torch.channels_last if last else torch.contiguous_format
    delta = delta.contiguous(memory_format=memory_format)
    delta_input = torch.empty((*delta.shape[:2], *size), dtype=delta.dtype, memory_format=memory_format)
    windows = _struct(*delta.shape, *size, 0, 0, *stride, *padding, 0, 0)
    pointers = delta_input.data_ptr(), delta.data_ptr(), winner.data_ptr()
    native.call(f"max_pool_delta_input_{REAL[delta.dtype]}", *pointers, windows, last)
    return delta_input


@functools.lru_cache(256)
def _windows(
    shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Axes, Any] | None:
    """The shape of the output and the struct Windows of cpu.c; None for what that does not take or torch refuses."""
    size, found = shape[2:], []
    if min(shape) < 1 or len(stride) != 2 or MaxPool.reach(size, kernel_size, dilation) >= 2**8:
        return None
    for n, k, s, p, d in zip(size, kernel_size, stride, padding, dilation, strict=True):
        # a step longer than x can jump from the padding before x to beyond it: such a window holds nothing
        if min(k, s, d) < 1 or not 0 <= p <= k // 2 or (p and d > n):
            return None
        windows = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        found.append(windows - (ceil_mode and (windows - 1) * s >= n + p))  # none begins in the padding behind x
    if min(found) < 1:
        return None
    outputs = *shape[:2], *found
    return outputs, _struct(*outputs, *size, *kernel_size, *stride, *padding, *dilation)


@functools.lru_cache(256)
def _struct(*numbers: int) -> Any:
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _last(tensor: Tensor) -> int | None:
    """How (N, C, *) lies in memory: 1 channels last, 0 channels first, None otherwise."""
    if tensor.is_contiguous():
        return int(tensor.dim() == 2)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    known = formats.get(tensor.dim())
    return 1 if known is not None and tensor.is_contiguous(memory_format=known) else None


FUSED[ReLU.forward, BatchNorm.scaled] = batch_norm_rectified
KERNELS.update(
    {
        BatchNorm.normalized: batch_norm_normalized,
        BatchNorm.scaled: batch_norm_scaled,
        BatchNorm.derivatives: batch_norm_derivatives,
        MaxPool.winners: max_pool_winners,
        MaxPool.delta_input: max_pool_delta_input,
    }
)
