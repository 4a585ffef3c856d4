"""Kernels printed from the formulas that act on each element alone: activations, forward and backward, and dropout.

Each is compiled for one dtype when it is first asked for. What a kernel does not take goes to the formula, and in the
forward, where ATen's own function is equal to the twin's to the last bit, to that: small tensors, other dtypes, traced
and transformed tensors.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import rules
from ..rules._rule import KERNELS, in_opmath
from . import c, memory, native, printer

WORTHWHILE = 2**14
"""Elements from which a forward gains; below, ATen's is taken. Backward gains always: formulas are several calls."""

NUMBERS = (float, int, bool)

CONTRACTED = "-ffp-contract=off"
"""An element's value depends on nothing but the element: no sum and product become one unless the text says so."""


def kernel(
    formula: Callable[..., Any], like: int = -1, aten: Callable[..., Any] | None = None, in_place: bool = False
) -> Callable[..., Any]:
    """The formula as a printed loop, with the formula's own signature.

    like: which of its tensors has the memory format of the result.
    aten: for a forward, the function of ATen that runs instead where the loop does not.
    in_place: the result is written over the first tensor.
    """
    names, _ = printer.parameters(formula)
    count = len(names)
    loops: dict[torch.dtype, Any] = {}

    def otherwise(*args: Any) -> Any:
        return in_opmath(formula, *args) if aten is None else aten(*args)

    def run(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return formula(*args)
        tensors, numbers = args[:count], args[count:]
        model = tensors[like]
        if (aten is not None and model.numel() < WORTHWHILE) or not native.plain(*tensors):
            return otherwise(*args)
        dtype = model.dtype
        if (function := loops.get(dtype)) is None:
            if dtype not in loops:
                loops[dtype] = compiled(formula, dtype)
            if (function := loops[dtype]) is None:
                return otherwise(*args)
        if (laid := arranged(tensors, names, model)) is None or not all([type(n) in NUMBERS for n in numbers]):
            return otherwise(*args)
        output = laid[0] if in_place else memory.empty_like(laid[like])
        pointers = [t.data_ptr() for t in laid]
        function(output.data_ptr(), *pointers, *numbers, output.numel(), torch.get_num_threads())
        return args[0].copy_(output) if in_place and output is not args[0] else output

    run.rounds_once = True  # type: ignore[attr-defined]
    return run


def arranged(tensors: tuple[Tensor, ...], names: tuple[str, ...], model: Tensor) -> list[Tensor] | None:
    """The tensors laid in memory as the model is, which fills one piece of it; None if they are of different shapes or
    dtypes, or a mask is not of truth values."""
    shape, dtype = model.shape, model.dtype
    if not dense(model):
        model = torch.empty_like(model)
    stride, laid = model.stride(), []
    for tensor, name in zip(tensors, names, strict=True):
        if tensor.dtype != (torch.bool if name == "mask" else dtype) or tensor.shape != shape:
            return None
        same = tensor.stride() == stride
        laid.append(tensor if same else torch.empty_like(model, dtype=tensor.dtype).copy_(tensor))
    return laid


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


def single(run: Callable[..., Any], otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel of LeakyReLU for PReLU, where one weight serves all."""

    def prelu(*args: Tensor) -> Any:
        *tensors, weight = args
        if torch.compiler.is_compiling() or not native.plain(*args) or weight.numel() != 1 or weight.dim() > 1:
            return otherwise(*args)
        return run(*tensors, weight.item()) if weight.dtype == tensors[0].dtype else otherwise(*args)

    return prelu


FORWARD: dict[type[rules.Rule], Callable[..., Any]] = {
    rules.ReLU: torch.relu, rules.Threshold: F.threshold, rules.LeakyReLU: F.leaky_relu,
    rules.Hardtanh: F.hardtanh, rules.Hardshrink: F.hardshrink, rules.Softshrink: F.softshrink,
    rules.Hardsigmoid: F.hardsigmoid, rules.Hardswish: F.hardswish, rules.ELU: F.elu, rules.CELU: torch.celu,
    rules.SELU: torch.selu, rules.Sigmoid: torch.sigmoid, rules.LogSigmoid: F.logsigmoid, rules.Tanh: torch.tanh,
    rules.Tanhshrink: F.tanhshrink, rules.Softplus: F.softplus, rules.Softsign: F.softsign, rules.SiLU: F.silu,
    rules.Mish: F.mish,
}  # fmt: skip
"""ATen's own function for each forward."""

KERNELS.update({rule.output: kernel(rule.output, aten=aten) for rule, aten in FORWARD.items()})  # type: ignore[attr-defined]
KERNELS.update({rule.delta_input: kernel(rule.delta_input) for rule in FORWARD})  # type: ignore[attr-defined]
KERNELS.update(
    {
        rules.GELU.output: kernel(rules.GELU.output, aten=F.gelu),
        rules.GELU.output_tanh: kernel(rules.GELU.output_tanh, aten=functools.partial(F.gelu, approximate="tanh")),
        rules.GELU.delta_input: kernel(rules.GELU.delta_input),
        rules.GELU.delta_input_tanh: kernel(rules.GELU.delta_input_tanh),
        rules.RReLU.delta_input: kernel(rules.RReLU.delta_input, like=0),
        rules.PReLU.output: single(KERNELS[rules.LeakyReLU.output], torch.prelu),
        rules.PReLU.delta_input: single(KERNELS[rules.LeakyReLU.delta_input], rules.PReLU.delta_input),
    }
)
for rule, aten in ((rules.ELU, F.elu_), (rules.CELU, torch.celu_), (rules.SELU, torch.selu_)):
    KERNELS[rule.output_] = kernel(rule.output, aten=aten, in_place=True)
    KERNELS[rule.delta_input_in_place] = kernel(rule.delta_input_in_place)
