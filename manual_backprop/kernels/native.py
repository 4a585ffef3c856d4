"""The C files beside it, compiled when a kernel is first asked for (engine/compiler.py), and how their functions are
called. Where they cannot be had, the formulas run in place of the kernels."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..engine import node
from ..engine.compiler import loaded
from ..engine.torch_private import batched_by_autograd, transforms_active
from .memory import largest_cache

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
REAL = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}
"""How numbers are stored; bfloat16 is computed with as float32, in which weights and statistics stay."""

REALS = "float32, float64, bfloat16"
"""The same in words."""

CHOICES = ("-fno-thread-jumps",)
"""Choices between numbers stay single instructions: of two in a row gcc would make a path for each pair of outcomes, of
which vectors take all."""

_PLAIN = (Tensor, torch.nn.Parameter)


def serves(*tensors: Tensor) -> bool:
    """Whether kernels may touch such tensors: plain ones in the memory of the CPU, nothing transformed."""
    return plain(*tensors) and library() is not None


def plain(*tensors: Tensor) -> bool:
    """Whether tensors are plain ones in the memory of the CPU, nothing transformed; what is traced asks no kernel."""
    if transforms_active():
        return False
    for t in tensors:
        if type(t) not in _PLAIN or not t.is_cpu or t.layout is not torch.strided or t.is_neg():
            return False
        if t._is_zerotensor():  # zeros without memory, of which torch makes some in second derivatives
            return False
        if batched_by_autograd(t):  # of autograd.grad(is_grads_batched=True)
            return False
    return True


def call(name: str, *arguments: Any, checked: bool = False) -> bool:
    """Run a C function on tensors (None: NULL), arrays of ctypes and integers; the number of threads last.

    It takes the tensors themselves, which live until it returns. checked: it returns 0 where it takes what it has read;
    otherwise the result is False.
    """
    function = getattr(library(), name)
    threads = torch.get_num_threads()
    if function.argtypes is None:
        function.argtypes = (ctypes.c_void_p,) * (len(arguments) + 1)
        function.restype = ctypes.c_int64 if checked else None
    status = function(*[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments], threads)
    node.note(function, checked, *arguments, threads)
    return not status


def run(function: Any, *arguments: Any) -> None:
    """Run a compiled function on tensors and integers."""
    function(*[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments])
    node.note(function, False, *arguments)


def number(value: float) -> Any:
    """A double, for a function that takes the address of one."""
    return (ctypes.c_double * 1)(value)


@functools.cache
def library() -> Any:
    """The compiled C files, or None where it cannot be had."""
    found = loaded("cpu", SOURCES, HEADERS, "", *CHOICES, symbol="know_cache")
    if found is not None:
        found.know_cache(ctypes.c_int64(largest_cache()))
    return found
