"""Compiles the C files of this folder at first use (engine/compiler.py), and calls their functions.

Where they cannot be compiled, the formulas run in their place.
"""

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
"""Dtype -> C type in memory. bfloat16 is computed in float32; its weights and statistics are float32 throughout."""

REALS = "float32, float64, bfloat16"
"""The dtypes of REAL, in words."""

CHOICES = ("-fno-thread-jumps",)
"""Keeps selects (`a ? b : c`) as single instructions. Of two in a row gcc would make a branch for each pair of
outcomes, and vector code would run all of them."""

_PLAIN = (Tensor, torch.nn.Parameter)


def serves(*tensors: Tensor) -> bool:
    """Whether the compiled kernels may read these tensors: plain CPU tensors outside of transforms."""
    return plain(*tensors) and library() is not None


def plain(*tensors: Tensor) -> bool:
    """Whether all are plain CPU tensors outside of transforms. (Traced calls do not come here.)"""
    if transforms_active():
        return False
    for t in tensors:
        if type(t) not in _PLAIN or not t.is_cpu or t.layout is not torch.strided or t.is_neg():
            return False
        if t._is_zerotensor():  # zeros without memory, which torch uses in second derivatives
            return False
        if batched_by_autograd(t):  # of autograd.grad(is_grads_batched=True)
            return False
    return True


def call(name: str, *arguments: Any, checked: bool = False) -> bool:
    """Run a C function on tensors (None: NULL), ctypes arrays and integers; the number of threads is added at the end.

    Pass the tensors themselves, not their addresses: so they live until the function returns. checked: the function
    returns 0 if it accepts the values that it reads; otherwise `call` returns False.
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
    """A double, for a C function that takes its address."""
    return (ctypes.c_double * 1)(value)


@functools.cache
def library() -> Any:
    """The compiled C files as a library, or None where they cannot be compiled."""
    found = loaded("cpu", SOURCES, HEADERS, "", *CHOICES, symbol="know_cache")
    if found is not None:
        found.know_cache(ctypes.c_int64(largest_cache()))
    return found
