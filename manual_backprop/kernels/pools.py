"""AvgPool and AdaptiveAvgPool in C (pools.c), in one pass over their input.

Forwards of channels-last tensors are left to ATen, which is faster there.
"""

from __future__ import annotations

import ctypes
import functools
import math
from bisect import bisect_right
from typing import Any

import torch
from torch import Tensor

from ..rules import AdaptiveAvgPool, AvgPool
from . import native
from .memory import on_huge_pages
from .native import REAL, REALS
from .registry import serves

Axes = tuple[int, ...]

WORTHWHILE = 2**14
"""Elements from which a forward uses its kernel. Below, ATen's function runs, with torch's bits."""


FORWARD = f"{REALS}; contiguous, 2^14 elements or more"
BACKWARD = f"{REALS}; channels first, or last in two axes"


@serves(AvgPool.output, on="cpu", when=FORWARD)
def avg_pool_output(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    if divisor_override == 0 or not _worth(input, len(stride)):
        return NotImplemented
    options, size = (kernel_size, stride, padding), tuple(input.shape[-len(stride) :])
    outputs = _outputs(size, *options, ceil_mode)
    if outputs is None:
        return NotImplemented
    return _run("mean_pool", input, outputs, _averaged(size, outputs, *options, count_include_pad, divisor_override))


@serves(AvgPool.delta_input, on="cpu", upcasts=True, when=BACKWARD)
def avg_pool_delta_input(
    delta: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    options = kernel_size, stride, padding, count_include_pad, divisor_override
    size = tuple(input_shape[-len(stride) :])
    found = _dense(delta, len(size))
    if found is None or not math.prod(size):
        return NotImplemented
    delta, where = found
    plan = _averaged(size, tuple(delta.shape[-len(size) :]), *options)
    return _run("mean_pool_delta_input", delta, size, plan, where)


@serves(AdaptiveAvgPool.output, on="cpu", when=f"{FORWARD}; more than one window")
def adaptive_avg_pool_output(input: Tensor, output_size: Axes) -> Tensor:
    if math.prod(output_size) <= 1 or not _worth(input, len(output_size)):
        return NotImplemented
    plan = _adapted(tuple(input.shape[-len(output_size) :]), tuple(output_size))
    return _run("mean_pool", input, output_size, plan)


@serves(AdaptiveAvgPool.delta_input, on="cpu", upcasts=True, when=f"{BACKWARD}; more than one window")
def adaptive_avg_pool_delta_input(delta: Tensor, input_shape: Axes, output_size: Axes) -> Tensor:
    """A single window that covers everything is left to layout.py, where delta_input is an expanded view."""
    size = tuple(input_shape[-len(output_size) :])
    if math.prod(output_size) == 1 or not math.prod(size) or (found := _dense(delta, len(size))) is None:
        return NotImplemented
    delta, where = found
    return _run("mean_pool_delta_input", delta, size, _adapted(size, tuple(output_size)), where)


def _worth(input: Tensor, axes: int) -> bool:
    """Whether a forward uses its kernel."""
    return input.numel() >= WORTHWHILE and input.is_contiguous() and _where(input, axes) is not None


def _where(tensor: Tensor, axes: int) -> tuple[int, int] | None:
    """The number of planes of a dense tensor, and the number of channels if they are last, else 0.

    None if the C code does not serve the tensor. With three axes torch's results are channels first, so channels last
    is not served there.
    """
    if (
        tensor.dtype not in REAL
        or not tensor.numel()
        or not axes < tensor.dim() < axes + 3
        or not native.serves(tensor)
    ):
        return None
    if tensor.is_contiguous():
        return tensor.shape[: tensor.dim() - axes].numel(), 0
    if axes == 2 and tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.shape[0], tensor.shape[1]
    return None


def _dense(delta: Tensor, axes: int) -> tuple[Tensor, tuple[int, int]] | None:
    """The deltas made dense, and `_where` of them. Channels-last deltas stay channels last."""
    where = _where(delta, axes)
    if where is None:
        delta = delta.contiguous()
        where = _where(delta, axes)
    return None if where is None else (delta, where)


def _run(name: str, given: Tensor, size: Axes, plan: Any, where: tuple[int, int] | None = None) -> Tensor:
    shape = (*given.shape[: given.dim() - len(size)], *size)
    memory_format = torch.channels_last if where and where[1] else torch.contiguous_format
    result = on_huge_pages(torch.empty(shape, dtype=given.dtype, device=given.device, memory_format=memory_format))
    planes = where or (math.prod(given.shape[: given.dim() - len(size)]),)
    native.call(f"{name}_{REAL[given.dtype]}", result, given, plan, *planes)
    return result


def _outputs(size: Axes, kernel_size: Axes, stride: Axes, padding: Axes, ceil_mode: bool) -> Axes | None:
    """The sizes of the output; None if torch refuses the options."""
    outputs = []
    for n, k, s, p in zip(size, kernel_size, stride, padding, strict=True):
        if min(k, s) < 1 or not 0 <= p <= k // 2:
            return None
        windows = (n + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
        outputs.append(windows - (ceil_mode and (windows - 1) * s >= n + p))  # no window begins in the padding behind x
    return tuple(outputs) if min(outputs) > 0 else None


@functools.lru_cache(256)
def _averaged(
    size: Axes, outputs: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool,
    divisor_override: int | None,
) -> Any:  # fmt: skip
    axes = []
    for n, count, k, s, p in zip(size, outputs, kernel_size, stride, padding, strict=True):
        begins = [s * i - p for i in range(count)]
        ends = [min(begin + k, n + p) for begin in begins]
        inside = [(max(begin, 0), min(end, n)) for begin, end in zip(begins, ends, strict=True)]
        counted = zip(begins, ends, strict=True) if count_include_pad else inside
        axes.append((n, (s, k, p), inside, [end - begin for begin, end in counted]))
    return _plan(divisor_override or 0, axes)


@functools.lru_cache(256)
def _adapted(size: Axes, outputs: Axes) -> Any:
    axes = []
    for n, count in zip(size, outputs, strict=True):
        inside = [(i * n // count, ((i + 1) * n + count - 1) // count) for i in range(count)]
        regular = (n // count, n // count, 0) if n % count == 0 else (0, 0, 0)
        axes.append((n, regular, inside, [end - begin for begin, end in inside]))
    return _plan(0, axes)


def _plan(divisor: int, axes: list[tuple]) -> Any:
    """The array that `read_plan` of pools.c reads. It has three axes; missing ones come first and have one position."""
    while len(axes) < 3:
        axes.insert(0, (1, (1, 1, 0), [(0, 1)], [1]))
    heads, tables = [], []
    for n, regular, inside, counts in axes:
        heads += [n, len(inside), *regular]
        begins, ends = zip(*inside, strict=True)
        first = [bisect_right(ends, i) for i in range(n)]
        last = [bisect_right(begins, i) - 1 for i in range(n)]
        tables += [*begins, *ends, *counts, *first, *last]
    numbers = [divisor, *heads, *tables]
    return (ctypes.c_int64 * len(numbers))(*numbers)
