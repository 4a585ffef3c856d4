"""MaxPool in C (maxpool.c), in up to three axes: one pass over the input, and one byte saved for each window."""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from ..rules import MaxPool
from . import memory, native
from .native import REAL, REALS
from .registry import serves

Axes = tuple[int, ...]

PLACES = 2**8
"""Most positions in a window: the saved byte is the position of the largest element."""


@serves(MaxPool.winners, on="cpu", when=f"{REALS}; dense, channels first or last; windows of at most 2^8 places")
def max_pool_winners(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    options = kernel_size, stride, padding, dilation, ceil_mode
    if (
        input.dtype not in REAL
        or not native.serves(input)
        or (last := memory.arranged(input, len(stride))) is None
        or (planned := _planned(input.shape, *options)) is None
        or not input.numel()
    ):
        return NotImplemented
    shape, windows = planned
    output, winner = _empty(input, shape, input.dtype), _empty(input, shape, torch.uint8)
    native.call(f"max_pool_winners_{REAL[input.dtype]}", output, winner, input, windows, last)
    return output, winner


@serves(MaxPool.delta_input, on="cpu", upcasts=True, when=f"{REALS}; winners dense, channels first or last")
def max_pool_delta_input(
    delta: Tensor, winner: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes
) -> Tensor:
    options = kernel_size, stride, padding, dilation
    if (
        delta.dtype not in REAL
        or winner.dtype != torch.uint8
        or not native.serves(delta, winner)
        or (last := memory.arranged(winner, len(stride))) is None
        or not delta.numel()
    ):
        return NotImplemented
    delta = memory.laid_as(delta, winner)
    delta_input = _empty(winner, input_shape, delta.dtype)
    windows = _windows(delta.shape, input_shape[-len(stride) :], *options)
    native.call(f"max_pool_delta_input_{REAL[delta.dtype]}", delta_input, delta, winner, windows, last)
    return delta_input


def _empty(like: Tensor, shape: Axes, dtype: torch.dtype) -> Tensor:
    """An empty tensor in the memory format of `like`, which is dense."""
    memory_format = torch.contiguous_format if like.is_contiguous() else memory.LAST[like.dim()]
    return memory.on_huge_pages(torch.empty(shape, dtype=dtype, device=like.device, memory_format=memory_format))


@functools.lru_cache(256)
def _planned(
    shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Axes, Any] | None:
    """The shape of the output and its windows; None if the C code does not serve this or torch refuses it."""
    size, found = shape[len(shape) - len(stride) :], []
    if math.prod(kernel_size) > PLACES:
        return None
    for n, k, s, p, d in zip(size, kernel_size, stride, padding, dilation, strict=True):
        # a dilation larger than x can jump from the padding before x to behind x: such a window holds nothing
        if min(k, s, d) < 1 or not 0 <= p <= k // 2 or (p and d > n):
            return None
        windows = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        found.append(windows - (ceil_mode and (windows - 1) * s >= n + p))  # no window begins in the padding behind x
    if min(found) < 1:
        return None
    outputs = *shape[: len(shape) - len(stride)], *found
    return outputs, _windows(outputs, size, kernel_size, stride, padding, dilation)


@functools.lru_cache(256)
def _windows(outputs: Axes, size: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes) -> Any:
    """The struct Windows of maxpool.c, which has three axes: missing ones come first and have one position."""
    missing = 3 - len(size)
    *planes, channels = outputs[: len(outputs) - len(size)]
    axes = (outputs[-len(size) :], 1), (size, 1), (kernel_size, 1), (stride, 1), (padding, 0), (dilation, 1)
    numbers = [math.prod(planes), channels]
    for along, otherwise in axes:
        numbers += [*[otherwise] * missing, *along]
    return (ctypes.c_int64 * len(numbers))(*numbers)
