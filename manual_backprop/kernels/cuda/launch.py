"""Shared by the Triton kernels: which tensors they serve, the shape of blocks, the launch on a tensor's device."""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
from torch import Tensor

from ...engine.torch_private import batched_by_autograd, transforms_active

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether TRITON_INTERPRET=1 was set when Triton was imported. Then kernels run in numpy, on CPU tensors."""

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
"""The dtypes that kernels serve. They compute in float32; float64 is left to the formulas."""

BLOCK = 4096
"""Elements of a block, which one program holds in registers."""

_PLAIN = (Tensor, torch.nn.Parameter)


def takes(*tensors: Tensor | None, others: tuple[Tensor | None, ...] = ()) -> bool:
    """Whether kernels may read these tensors: plain, on one GPU, not empty, of a dtype in FLOATS (`others`: of any
    dtype), outside of tracing and transforms."""
    if torch.compiler.is_compiling() or transforms_active():
        return False
    device = None
    for k, t in enumerate((*tensors, *others)):
        if t is None:
            continue
        if type(t) not in _PLAIN or t.layout is not torch.strided or not t.numel() or t.is_neg() or t.is_conj():
            return False
        if k < len(tensors) and t.dtype not in FLOATS:
            return False
        if not (t.is_cuda or INTERPRETED) or (device is not None and t.device != device):
            return False
        if batched_by_autograd(t):  # of autograd.grad(is_grads_batched=True)
            return False
        device = t.device
    return True


def block(n: int, size: int = BLOCK, most: int = 2048) -> dict[str, int]:
    """The number of rows and columns of a block, for rows of n elements. A row longer than a block takes several."""
    columns = min(triton.next_power_of_2(max(n, 1)), most)
    rows = max(1, size // columns)
    return {"ROWS": rows, "COLUMNS": columns, "num_warps": min(max(rows * columns // 512, 4), 32)}


def launch(kernel: Any, programs: int, like: Tensor, *arguments: Any, **options: Any) -> None:
    """Run a kernel with that many programs on the device of `like`."""
    if not like.is_cuda:
        kernel[(programs,)](*arguments, **options)
        return
    with torch.cuda.device(like.device):
        kernel[(programs,)](*arguments, **options)


def parallel(like: Tensor) -> int:
    """How many programs keep the device busy."""
    return 4 * _processors(like.device.index or 0) if like.is_cuda else 3


@functools.cache
def _processors(index: int) -> int:
    return int(torch.cuda.get_device_properties(index).multi_processor_count)


def dense(tensor: Tensor) -> Tensor:
    """The tensor detached and contiguous."""
    return tensor.detach().contiguous()


def channels_last(tensor: Tensor) -> bool | None:
    """The memory layout of (N, C, *): True for channels last, False for channels first, None for another one."""
    if tensor.is_contiguous():
        return tensor.dim() == 2
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    known = formats.get(tensor.dim())
    return True if known is not None and tensor.is_contiguous(memory_format=known) else None
