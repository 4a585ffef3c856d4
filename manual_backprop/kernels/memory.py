"""Memory of what kernels read and write: large results lie on huge pages.

Fresh memory is handed out by the page, and the first write to each costs about as much as writing it twice: for a
result of tens of MiB the faults take longer than the arithmetic. On Linux a page can be 2 MiB in place of 4 KiB where a
program asks for it, as is done here. Elsewhere nothing is asked.

glibc gives what a program frees back to the system, and every tensor of some MiB is fresh memory again, until once a
block of up to 32 MiB has been freed: then it keeps up to 64 MiB. Recomputation frees more often than autograd does, so
a block is freed when this package is loaded, which no one has written to. A step of a ResNet-20 took a fifth longer
without it. An own M_TRIM_THRESHOLD or MALLOC_TRIM_THRESHOLD_ is left as it is.

A result that is too large for the caches is written around them (stream.h): its lines need not be read before.
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
"""Bytes from which memory is fresh at every call: glibc keeps what is smaller after a while, and then asking again, a
call of the system, cost 50 us a tensor."""

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory formats with channels last, by the number of axes of a batch."""

torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")  # freed at once, see above

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def empty_like(tensor: Tensor, **options: Any) -> Tensor:
    """`torch.empty_like`, on huge pages where the result is large."""
    return on_huge_pages(torch.empty_like(tensor, **options))


def on_huge_pages(tensor: Tensor) -> Tensor:
    """The tensor itself, which no one has written to yet, after asking for huge pages."""
    if (size := tensor.nbytes) >= LARGE and tensor.is_cpu and (advise := _advise()) is not None:
        begin = tensor.data_ptr()
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        advise(first, (begin + size - first) // mmap.PAGESIZE * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
    return tensor


def laid_as(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` with the strides of `like`, of the same shape."""
    return tensor if tensor.stride() == like.stride() else torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def arranged(tensor: Tensor, axes: int) -> int | None:
    """How (N, C, *) or (C, *) with that many axes * lies in memory: 1 channels last, 0 channels first, None for what is
    not dense or has other axes."""
    if not axes < tensor.dim() < axes + 3:
        return None
    if tensor.is_contiguous():
        return 0
    last = LAST.get(axes + 2)
    return 1 if last and tensor.dim() == axes + 2 and tensor.is_contiguous(memory_format=last) else None


@functools.cache
def largest_cache() -> int:
    """Bytes of the processor's last cache; where that is not known, as many as are usual."""
    sizes = [32 * 2**20]
    with contextlib.suppress(OSError):
        for path in CACHES.glob("index*/size"):
            with contextlib.suppress(OSError):
                if found := re.fullmatch(rb"([1-9]\d{0,9})K\s*", path.read_bytes()):
                    sizes.append(int(found[1]) * 2**10)
    return max(sizes[1:] or sizes)


def around(*tensors: Tensor) -> bool:
    """Whether the last of them, a result, is better written around the caches, which do not hold them all."""
    size = 0
    for tensor in tensors:
        size += tensor.nbytes
    return size >= largest_cache()


@functools.cache
def _advise() -> Callable[[int, int, int], int] | None:
    """The C library's madvise, or None where there is none that knows of huge pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    advise.argtypes, advise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return advise
