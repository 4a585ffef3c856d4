"""Kernels printed from the formulas that act on each element alone: activations, forward and backward, and dropout.

Each is compiled for one dtype when it is first asked for. What a kernel does not take goes to the formula, and in the
forward, where ATen's own function is equal to the twin's to the last bit, to that: small tensors, other dtypes, traced
and transformed tensors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import rules
from ..rules._rule import KERNELS, in_opmath
from . import c, native, printer

WORTHWHILE = 2**14
"""Elements from which a forward gains; below, ATen's is taken. Backward gains always: formulas are several calls."""

CONTRACTED = "-ffp-contract=off"
"""An element's value depends on nothing but the element: no sum and product become one unless the text says so."""


def kernel(formula: Callable[..., Any], like: int, aten: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """The formula as a printed loop, with the formula's own signature.

    like: which of its tensors has the memory format of the result.
    aten: for a forward, the function of ATen that runs instead where the loop does not.
    """
    names, _ = printer.parameters(formula)
    count = len(names)
    loops: dict[torch.dtype, Any] = {}

    def otherwise(*args: Any) -> Any:
        return in_opmath(formula, *args) if aten is None else aten(*args)

    def loop(dtype: torch.dtype) -> Any:
        if dtype not in loops:
            loops[dtype] = compiled(formula, dtype)
        return loops[dtype]

    def run(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return formula(*args)
        tensors = args[:count]
        model = tensors[like]
        if (
            (aten is not None and model.numel() < WORTHWHILE)
            or not native.plain(*tensors)
            or (function := loop(model.dtype)) is None
        ):
            return otherwise(*args)
        shape, stride, dtype = model.shape, model.stride(), model.dtype
        if not dense(model):
            model = torch.empty_like(model).copy_(model)
            stride = model.stride()
        pointers = []
        for tensor, name in zip(tensors, names, strict=True):
            if tensor.dtype != (torch.bool if name == "mask" else dtype) or tensor.shape != shape:
                return otherwise(*args)
            laid = tensor if tensor.stride() == stride else torch.empty_like(model, dtype=tensor.dtype).copy_(tensor)
            pointers.append((laid, laid.data_ptr()))
        output = torch.empty_like(model)
        function(
            output.data_ptr(), *[p for _, p in pointers], *args[count:], output.numel(), torch.get_num_threads()
        )  # fmt: skip
        return output

    run.rounds_once = True  # type: ignore[attr-defined]
    return run


def compiled(formula: Callable[..., Any], dtype: torch.dtype) -> Any:
    """The formula's C function for a dtype; None where it cannot be had."""
    if dtype not in c.TYPES:
        return None
    loop = printer.read(formula)
    library = native.loaded(f"{loop.name}-{c.TYPES[dtype][0]}", (), c.HEADERS, c.printed(loop, dtype), CONTRACTED)
    if library is None:
        return None
    function = library.kernel
    pointers, numbers = len(loop.outputs) + len(loop.tensors), len(loop.numbers)
    function.argtypes = (ctypes.c_void_p,) * pointers + (ctypes.c_double,) * numbers + (ctypes.c_int64,) * 2
    function.restype = None
    return function


def dense(tensor: Tensor) -> bool:
    """Whether the tensor fills one piece of memory, without overlap, in whatever order of axes."""
    return tensor.is_contiguous() or torch.empty_like(tensor, device="meta").stride() == tensor.stride()
