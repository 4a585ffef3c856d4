"""C kernels generated from elementwise formulas: activations, forward and backward.

Each is compiled for one dtype at first use. In the forward, small tensors and other dtypes are left to ATen's function,
which gives the same bits as torch's layer.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, get_num_threads
from torch.autograd.graph import increment_version

from .. import rules
from ..engine import compiler, node
from ..engine.rule import KERNELS
from . import c, memory, native, printer
from .native import REALS
from .registry import serves

WORTHWHILE = 2**14
"""Elements from which a forward gains; below, ATen's function runs. A backward always gains: its formula is several
calls."""

HUGE_FROM = 2**18
"""Elements below which tensors fit into the caches of any processor."""

ALONE = "-ffp-contract=off"
"""No fused multiply-add unless the source asks for it, so that an element's value does not depend on its position."""

NARROW = ("-mprefer-vector-width=256",) if platform.machine() in ("x86_64", "AMD64") else ()
"""For loops that are bound by memory: for selects on 512-bit vectors gcc emits masked loads, which take 1.15 times as
long."""

LOOPS = f"{REALS} of one dtype and shape, dense"
"""What printed loops serve."""

COSTLY = {*c.FUNCTIONS, "decay"} - {"abs", "sqrt"}
"""Operations that make a loop bound by arithmetic, not by memory."""


def kernel(
    formula: Callable[..., Any], like: int = -1, aten: Callable[..., Any] | None = None, in_place: bool = False,
    huge: bool = False,
) -> Callable[..., Any]:  # fmt: skip
    """A function with the formula's signature that runs it as a printed loop.

    like: index of the tensor whose memory format the result gets.
    aten: for a forward, ATen's function, which runs where the loop does not serve.
    in_place: the result is written over the first tensor.
    huge: ATen's function also runs for tensors that fit into the caches.
    """
    names, _ = printer.parameters(formula)
    count = len(names)
    masks = [name == "mask" for name in names]
    model_at = like % count
    others = [(i, mask) for i, mask in enumerate(masks) if i != model_at]
    loops: dict[torch.dtype, Any] = {}

    def otherwise(*args: Any) -> Any:
        return NotImplemented if aten is None else aten(*args)

    def run(*args: Any) -> Any:
        tensors = args[:count]
        model = tensors[model_at]
        if aten is not None and isinstance(model, Tensor) and model.numel() < (HUGE_FROM if huge else WORTHWHILE):
            return aten(*args)
        if not native.plain(*tensors):
            return otherwise(*args)
        dtype, n = model.dtype, model.numel()
        if huge and not memory.around(*tensors, model):
            return otherwise(*args)
        if (function := loops.get(dtype)) is None:
            if dtype not in loops:
                loops[dtype] = compiled(formula, dtype)
            if (function := loops[dtype]) is None:
                return otherwise(*args)
        if not (model.is_contiguous() or dense(model)):
            if in_place:
                return args[0].copy_(run(torch.empty_like(model).copy_(model), *args[1:]))
            model = torch.empty_like(model).copy_(model)
        laid = [model] * count
        shape, strides = model.shape, model.stride()
        for i, mask in others:
            other = tensors[i]
            if other.dtype is not (torch.bool if mask else dtype) or other.shape != shape:
                return otherwise(*args)
            laid[i] = other if other.stride() == strides else memory.laid_as(other, model)
        if n < HUGE_FROM:
            output, around = model if in_place else torch.empty_like(model), False
        else:
            output = model if in_place else memory.empty_like(model)
            around = not in_place and memory.around(*laid, output)
        pointers = [tensor.data_ptr() for tensor in laid]
        try:
            function(output.data_ptr(), *pointers, *args[count:], n, around, get_num_threads())
            node.note(function, False, output, *laid, *map(_number, args[count:]), n, around, get_num_threads())
        except ctypes.ArgumentError:  # one of the numbers is not a number; the loop has not run
            return otherwise(*args)
        if in_place:
            increment_version(output)  # torch does not see the write
        return output

    return run


def compiled(formula: Callable[..., Any], dtype: torch.dtype, rows: bool = False, sums: bool = False) -> Any:
    """The formula's C function for a dtype (rows, sums: see `c.printed`); None if it cannot be compiled."""
    if dtype not in c.TYPES:
        return None
    loop = printer.read(formula)
    text = c.printed(loop, dtype, rows, sums)
    flags = native.CHOICES if any(step.operation in COSTLY for step in loop.steps) else NARROW
    library = compiler.loaded(f"{loop.name}-{c.TYPES[dtype][0]}", (), c.HEADERS, text, ALONE, *flags)
    if library is None:
        return None
    function = library.kernel
    pointers, numbers = len(loop.outputs) + len(loop.tensors), len(loop.numbers)
    whole = 3 + pointers * rows
    function.argtypes = (
        (ctypes.c_void_p,) * (pointers + sums) + (ctypes.c_double,) * numbers + (ctypes.c_int64,) * whole
    )
    function.restype = None
    return function


def _number(given: Any) -> Any:
    return given if isinstance(given, node.Number) else float(given)


def dense(tensor: Tensor) -> bool:
    """Whether the tensor fills one piece of memory without gaps or overlap, in any order of axes."""
    return tensor.is_contiguous() or torch.empty_like(tensor, device="meta").stride() == tensor.stride()


@serves(rules.PReLU.delta_input, on="cpu", upcasts=True, when=f"{LOOPS}; a single weight")
def prelu_delta_input(delta: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    if not native.plain(weight) or weight.numel() != 1 or weight.dtype != delta.dtype:
        return NotImplemented
    return leaky_relu(delta, input, node.Number(weight))


@serves(rules.GELU.delta_input, on="any", upcasts=True, when="always, by the kernels of its two forms; not traced")
def gelu_delta_input(delta: Tensor, input: Tensor, approximate: str) -> Tensor:
    if torch.compiler.is_compiling():
        return NotImplemented
    return KERNELS[rules.GELU.by_tanh if approximate == "tanh" else rules.GELU.by_erf](delta, input)


@functools.cache
def _halves(dtype: torch.dtype) -> Any:
    return compiled(rules.GLU.delta_halves, dtype, rows=True)


@serves(rules.GLU.delta_input, on="cpu", upcasts=True, when=f"{REALS}; input contiguous")
def glu_delta_input(delta: Tensor, input: Tensor, dim: int) -> Tensor:
    """Each half is one run of memory for each position of the axes before `dim`."""
    if (
        not native.plain(delta, input)
        or delta.dtype != input.dtype
        or not input.is_contiguous()
        or not input.numel()
        or (function := _halves(input.dtype)) is None
    ):
        return NotImplemented
    delta, delta_input = delta.contiguous(), memory.empty_like(input)
    rows = math.prod(input.shape[: dim % input.dim()])
    n = delta.numel() // rows
    into, second, half = delta_input, delta_input.view(-1)[n:], input.view(-1)[n:]
    native.run(
        function, into, second, delta, input, half, rows, n, torch.get_num_threads(), 2 * n, 2 * n, n, 2 * n, 2 * n
    )
    return delta_input


FORWARD: dict[Callable[..., Any], Callable[..., Any]] = {
    rules.ELU.output: F.elu,
    rules.CELU.output: torch.celu,
    rules.SELU.output: torch.selu,
    rules.Tanh.output: torch.tanh,
    rules.Tanhshrink.output: F.tanhshrink,
    rules.Softplus.output: F.softplus,
    rules.Softsign.output: F.softsign,
    rules.Mish.output: F.mish,
    rules.GELU.output_tanh: functools.partial(F.gelu, approximate="tanh"),
}
"""Forwards whose printed loop is faster than ATen's function."""

HUGE: dict[Callable[..., Any], Callable[..., Any]] = {
    rules.ReLU.output: torch.relu,
    rules.Threshold.output: F.threshold,
    rules.LeakyReLU.output: F.leaky_relu,
    rules.Hardtanh.output: F.hardtanh,
    rules.Hardshrink.output: F.hardshrink,
    rules.Softshrink.output: F.softshrink,
    rules.Hardsigmoid.output: F.hardsigmoid,
    rules.Hardswish.output: F.hardswish,
}
"""Forwards that are bound by memory: the printed loop is faster only where the caches do not hold the tensors."""

IN_PLACE: dict[Callable[..., Any], tuple[Callable[..., Any], Callable[..., Any]]] = {
    rules.ELU.output_: (rules.ELU.output, F.elu_),
    rules.CELU.output_: (rules.CELU.output, torch.celu_),
    rules.SELU.output_: (rules.SELU.output, torch.selu_),
}

BACKWARD: Sequence[Callable[..., Any]] = (
    rules.ReLU.delta_input, rules.Threshold.delta_input, rules.LeakyReLU.delta_input, rules.Hardtanh.delta_input,
    rules.Hardshrink.delta_input, rules.Softshrink.delta_input, rules.Hardsigmoid.delta_input,
    rules.Hardswish.delta_input, rules.ELU.delta_input, rules.ELU.delta_input_in_place, rules.CELU.delta_input,
    rules.CELU.delta_input_in_place, rules.SELU.delta_input, rules.SELU.delta_input_in_place,
    rules.Sigmoid.delta_input, rules.Tanh.delta_input, rules.Tanhshrink.delta_input, rules.Softplus.delta_input,
    rules.Softsign.delta_input, rules.SiLU.delta_input, rules.Mish.delta_input, rules.GELU.by_erf,
    rules.GELU.by_tanh,
)  # fmt: skip


_log_sigmoid = kernel(rules.LogSigmoid.output, aten=F.logsigmoid)
LARGE, HUGE_ONES = (f"{LOOPS}, {size}; else ATen" for size in ("2^14 elements or more", "too large for the caches"))


@serves(rules.LogSigmoid.output, on="cpu", upcasts=True, when=LARGE)
def log_sigmoid(input: Tensor) -> Tensor:
    """Its result is contiguous, as ATen's is."""
    return _log_sigmoid(input.contiguous() if isinstance(input, Tensor) else input)


def _register(formula: Callable[..., Any], when: str, printed: Callable[..., Any], **options: Any) -> None:
    name = f"pointwise, printed from {printed.__qualname__}"
    serves(formula, on="cpu", upcasts=True, when=when, name=name)(kernel(printed, **options))


for _formula, _aten in FORWARD.items():
    _register(_formula, LARGE, _formula, aten=_aten)
for _formula, _aten in HUGE.items():
    _register(_formula, HUGE_ONES, _formula, aten=_aten, huge=True)
for _formula, (_printed, _aten) in IN_PLACE.items():
    _register(_formula, LARGE, _printed, aten=_aten, in_place=True)
for _formula in BACKWARD:
    _register(_formula, LOOPS, _formula)
for _formula in (rules.LogSigmoid.delta_input, rules.RReLU.delta_input):
    _register(_formula, LOOPS, _formula, like=0)
_register(rules.LeakyReLU.delta_input_in_place, LOOPS, rules.LeakyReLU.delta_input)
leaky_relu = kernel(rules.LeakyReLU.delta_input)
