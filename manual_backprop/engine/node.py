"""The native node (native/node.cpp): a rule's call and its backward run without Python once they have been recorded.

The first calls of a rule with the same dtypes, sizes and numbers run in Python; one is then recorded as a program of
operators and kernels, and the next ones run that program, with one C++ node behind their output. So is the backward,
and what recomputes a tensor (native/recompute.h). What is not served
(see `call` in node.cpp) or could not be recorded runs in Python as ever. Both give the same bits.

It is built at first use, in the background, with the system's C++ compiler and the headers that torch brings. Without a
compiler, and with MANUAL_BACKPROP_NATIVE=0 in the environment, there are nodes in Python alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import operator
import os
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import cache
from .compiler import CPP, loaded

SOURCE = Path(__file__).with_name("native")
NAME = "manual_backprop_node"

CALLS_IN_PYTHON = 2
"""Calls alike before one is recorded: recording costs as much as some tens of calls."""

LARGE = ("recomputed", "as they are", "in Python")
"""What becomes of large tensors that a node would save (memory/saving.py), in the order of entry.h."""

module: Any = None
"""The compiled node; None before it is built, and where there is none."""

enabled = True

call: Callable[..., Any] | None = None
"""(rule, arguments) -> what the rule returns, or NotImplemented for what Python has to run."""

AFTER = 200
"""Calls of rules after which it is built: a short program needs none."""

calls = 0

building: threading.Thread | None = None
"""What builds it, from the first call on."""


def count() -> None:
    """Count a call; from AFTER of them on, build or load it in the background."""
    global calls
    calls += 1
    if calls == AFTER:
        begin()


def begin() -> None:
    """Build or load it in the background, once."""
    global building
    if building is None:
        building = threading.Thread(target=_build, name="manual_backprop native node", daemon=True)
        if os.environ.get("MANUAL_BACKPROP_NATIVE", "1") != "0":
            building.start()


def wait() -> bool:
    """Wait until it is built; whether there is one."""
    begin()
    assert building is not None
    if building.ident is not None:
        building.join()
    return module is not None


@contextmanager
def intercepted(function: Callable[..., Any]) -> Iterator[None]:
    """`function` in place of the node, for what records calls: (rule, arguments) -> what the rule returns, or
    NotImplemented for what the caller has to run itself."""
    global call
    if building is not None and building.is_alive():
        building.join()
    call = function
    try:
        yield
    finally:
        call = None if module is None else module.call


def _build() -> None:
    global module, call
    torch_folder = Path(torch.__file__).parent
    includes = torch_folder / "include", torch_folder / "include/torch/csrc/api/include", sysconfig.get_path("include")
    flags = [f"-isystem{folder}" for folder in includes] + [f"-L{torch_folder / 'lib'}"]
    flags += ["-ltorch_python", "-ltorch_cpu", "-ltorch", "-lc10"]
    with cache.alone(NAME):
        found = loaded(
            f"node-{torch.__version__}", [SOURCE / "node.cpp"], sorted(SOURCE.glob("*.h")), "", *flags,
            symbol=NAME, language=CPP, opened=_opened,
        )  # fmt: skip
    if found is None:
        return
    from ..memory import saving
    from ..memory.recompute import in_one_pass, passed_on

    found.set_up(_learn, _derive, in_one_pass, passed_on, _servable, torch.nn.Parameter)
    found.limits(saving.threshold(), CALLS_IN_PYTHON, LARGE.index(saving.large_tensors()))
    found.enable(enabled)
    module, call = found, found.call


def _opened(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


PROTOCOL = ("needs_input_grad", "to_save", "apart", "materialize")


class Context:
    """The ctx that a rule's `setup_context` and `backward` see."""

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple
    next_functions: tuple
    to_save: tuple = ()
    materialize: bool = True
    apart: tuple = ()
    """Results without a derivative."""

    def attributes(self) -> dict[str, Any]:
        """What the rule has kept besides tensors."""
        found = {k: v for k, v in vars(self).items() if k not in PROTOCOL}
        if any(isinstance(value, Tensor) for value in found.values()):
            module.unrecorded("it keeps a tensor on ctx")
        return found

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Of an in-place rule: said by `_servable` before."""

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.apart = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize = value


def _servable(rule: Any) -> int:
    """Whether the calls of a rule can be recorded: where it depends on its arguments alone (`Rule.pure`); 2 where it
    writes over its first argument."""
    from .rule import RULES_PACKAGE

    if not vars(rule).get("pure", rule.__module__.startswith(RULES_PACKAGE)):
        return 0
    code = getattr(inspect.unwrap(rule.setup_context), "__code__", None)
    if code is None:
        return 0
    return 2 if "mark_dirty" in code.co_names else 1


def _learn(rule: Any, args: tuple, needs: tuple[bool, ...]) -> tuple:
    """Run a rule's forward, while it is recorded: (output, whether each output has a derivative, what is saved,
    attributes of the ctx, the node's name, the node within, whether deltas are materialized, the recipe)."""
    from ..memory.saving import masks_as_bits
    from .rule import offered, owned

    ctx = Context()
    ctx.needs_input_grad = needs
    with torch.no_grad():
        output = owned(rule.forward(*args), args)
        rule.setup_context(ctx, args, output)
    outputs = output if isinstance(output, tuple) else (output,)
    differentiable = tuple(isinstance(o, Tensor) and not any(o is other for other in ctx.apart) for o in outputs)
    inner = None
    if rule.inner is not None and any(needs):
        inner = _inner(rule, args, outputs[1])
        differentiable = (differentiable[0], *[False] * (len(outputs) - 1))
    name = f"{rule.__name__}Backward"
    recipe = offered(rule, args, output) if rule.cheap and not rule.costly else None
    attributes = ctx.attributes()
    saved, attributes["codes"] = masks_as_bits(ctx.to_save, args)
    if recipe is not None and attributes["codes"]:
        recipe = _decoding(recipe, ctx.to_save, saved, attributes["codes"])
    return output, differentiable, saved, attributes, name, inner, ctx.materialize, recipe


def _decoding(recipe: tuple, masks: tuple, saved: tuple, codes: dict[int, Any]) -> tuple:
    """A recipe that reads what is saved in place of masks."""
    function, arguments, index = recipe
    read = {k: p for k, argument in enumerate(arguments) for p in codes if argument is masks[p]}

    def run(*given: Any) -> Any:
        return function(*[codes[read[k]].decode(value) if k in read else value for k, value in enumerate(given)])

    return run, tuple([saved[read[k]] if k in read else value for k, value in enumerate(arguments)]), index


def _inner(rule: Any, args: tuple, output: Tensor) -> tuple:
    """The node of its own that the second output is kept as: (rule, attributes of the ctx, what needs a derivative,
    its tensors' places among the arguments, whether it saves its output, the node's name)."""
    inner, given = rule.inner(args)
    tensors = [value for value in given if isinstance(value, Tensor)]
    ctx = Context()
    ctx.needs_input_grad = tuple(isinstance(value, Tensor) and value.requires_grad for value in given)
    inner.setup_context(ctx, given, output)
    saves_output = any(value is output for value in ctx.to_save)
    if not all(map(operator.is_, given, tensors)) or len(ctx.to_save) > saves_output:
        module.unrecorded("the node within keeps more than its output")
    own = [value for value in args if isinstance(value, Tensor)]
    places = tuple(next(i for i, other in enumerate(own) if other is value) for value in tensors)
    return (
        inner,
        {**ctx.attributes(), "codes": {}},
        ctx.needs_input_grad,
        places,
        saves_output,
        f"{inner.__name__}Backward",
    )


def _derive(
    rule: Any, attributes: dict[str, Any], needs: tuple[bool, ...], saved: tuple, deltas: tuple, node: Any
) -> Any:
    """Run a rule's backward."""
    ctx = Context()
    ctx.next_functions = node.next_functions
    codes = attributes["codes"]
    vars(ctx).update(attributes)
    ctx.needs_input_grad = needs
    ctx.saved_tensors = tuple([codes[p].decode(t) if p in codes else t for p, t in enumerate(saved)])
    return rule.backward(ctx, *deltas)


class Number:
    """The number in a tensor, times a factor, for a kernel; a program reads it again each time."""

    def __init__(self, tensor: Tensor, factor: float = 1.0, value: float | None = None) -> None:
        if value is None:
            read = module.number if module is not None and tensor.dtype in READ else Tensor.item
            value = read(tensor)
        self.tensor, self.factor, self.value = tensor, factor, value

    def __float__(self) -> float:
        return self.value * self.factor

    def __mul__(self, other: float) -> Number:
        return Number(self.tensor, self.factor * other, self.value)

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> Number:
        return Number(self.tensor, self.factor / other, self.value)


READ = (torch.float32, torch.float64)
"""Dtypes of the numbers that are read without an operator."""


def note(function: Any, checked: bool, *arguments: Any) -> None:
    """Note a kernel's call in the program that is recorded, if one is: tensors, None, numbers, arrays of ctypes, which
    are constants. checked: whether it returns 0 where it has taken what it read."""
    if module is not None and module.recording():
        address = ctypes.cast(function, ctypes.c_void_p).value
        module.kernel(address, checked, *map(_constant, arguments))


def _constant(argument: Any) -> Any:
    if isinstance(argument, Number):
        return argument.tensor, argument.factor
    return bytes(argument) if isinstance(argument, ctypes.Array) else argument


def unrecorded(why: str) -> None:
    """What runs now may run otherwise next time for the same key: it is not recorded."""
    if module is not None:
        module.unrecorded(why)


def forget() -> None:
    """A formula or a kernel is another one now: programs recorded before are not used again."""
    if module is not None:
        module.forget()


def limits(large: int, calls: int = -1, tensors: str | None = None) -> None:
    """From how many elements tensors are large, how many calls run in Python before one is recorded (-1: as it is),
    and what becomes of large tensors (one of LARGE; None: as it is)."""
    if module is not None:
        module.limits(large, calls, -1 if tensors is None else LARGE.index(tensors))


def enable(on: bool) -> None:
    """Whether native nodes are made, and their backwards run programs."""
    global enabled
    enabled = on
    if module is not None:
        module.enable(on)
