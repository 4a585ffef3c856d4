"""Memory for the tensors of kernels: huge pages, layouts, and when to use non-temporal stores.

Huge pages: the system hands out fresh memory page by page, and the first write to a page faults, which costs about as
much as writing the page twice. For a result of tens of MiB the faults take longer than the arithmetic. On Linux a
program can ask for pages of 2 MiB in place of 4 KiB, which is done here.

Freed memory: glibc returns freed memory to the system, so every tensor of some MiB is fresh memory again. Once a block
of up to 32 MiB has been freed, glibc keeps up to 64 MiB instead. Recomputation frees more often than autograd does, so
such a block is allocated and freed when this package is loaded; nothing is written to it. Without it a step of a
ResNet-20 took a fifth longer. If M_TRIM_THRESHOLD or MALLOC_TRIM_THRESHOLD_ is set, glibc follows that instead.

Non-temporal stores: a result that is too large for the caches is written past them (stream.h). So its cache lines need
not be read before they are written.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LARGE = 2**25
"""Bytes from which a tensor's memory is fresh at every call. glibc keeps smaller blocks after a while; asking for huge
pages again, a system call, would cost 50 us per tensor."""

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The channels-last memory format by the number of axes, batch and channels included."""

torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")  # freed at once: see "Freed memory" above

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def empty_like(tensor: Tensor, **options: Any) -> Tensor:
    """`torch.empty_like`, on huge pages if the result is large."""
    return on_huge_pages(torch.empty_like(tensor, **options))


def on_huge_pages(tensor: Tensor) -> Tensor:
    """Ask for huge pages for a large tensor that has not been written to yet; returns the tensor."""
    if (size := tensor.nbytes) >= LARGE and tensor.is_cpu and (advise := _advise()) is not None:
        begin = tensor.data_ptr()
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        advise(first, (begin + size - first) // mmap.PAGESIZE * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
    return tensor


def laid_as(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` with the strides of `like`, of the same shape."""
    return tensor if tensor.stride() == like.stride() else torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def arranged(tensor: Tensor, axes: int) -> int | None:
    """The memory layout of (N, C, *) or (C, *), where * is `axes` axes: 1 for channels last, 0 for channels first, None
    if the tensor is not dense or has another number of axes."""
    if not axes < tensor.dim() < axes + 3:
        return None
    if tensor.is_contiguous():
        return 0
    last = LAST.get(axes + 2)
    return 1 if last and tensor.dim() == axes + 2 and tensor.is_contiguous(memory_format=last) else None


@functools.cache
def largest_cache() -> int:
    """Bytes of the processor's largest cache; 32 MiB where that is unknown."""
    sizes = [32 * 2**20]
    with contextlib.suppress(OSError):
        for path in CACHES.glob("index*/size"):
            with contextlib.suppress(OSError):
                if found := re.fullmatch(rb"([1-9]\d{0,9})K\s*", path.read_bytes()):
                    sizes.append(int(found[1]) * 2**10)
    return max(sizes[1:] or sizes)


def around(*tensors: Tensor) -> bool:
    """Whether to write the last of the tensors, a result, with non-temporal stores: the caches do not hold them all."""
    size = 0
    for tensor in tensors:
        size += tensor.nbytes
    return size >= largest_cache()


@functools.cache
def _advise() -> Callable[[int, int, int], int] | None:
    """The C library's madvise; None if the system has none, or no huge pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    advise.argtypes, advise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return advise
