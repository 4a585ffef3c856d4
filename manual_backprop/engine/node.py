"""The native node (native/node.cpp): runs recorded calls of rules, and their backwards, without Python.

The first calls of a rule with the same dtypes, sizes and numbers run in Python. Then one is recorded as a program of
operators and kernels. Later calls run that program, with one C++ node behind their output. The backward is recorded in
the same way, and so is the recomputation of a tensor (native/recompute.h). Calls that are not served (see `call` in
node.cpp) or could not be recorded stay in Python. Both ways give the same bits.

The node is compiled at first use, in the background, with the system's C++ compiler and torch's headers. Without a
compiler, or with MANUAL_BACKPROP_NATIVE=0 in the environment, all nodes are Python nodes.
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
"""Calls with the same key that run in Python before one is recorded: recording costs as much as tens of calls."""

LARGE = ("recomputed", "as they are", "in Python")
"""What happens to large tensors that a node would save (memory/saving.py), in the order of entry.h."""

module: Any = None
"""The compiled module; None before it is built, and where it cannot be built."""

enabled = True

call: Callable[..., Any] | None = None
"""(rule, arguments) -> what the rule returns, or NotImplemented where the call has to run in Python."""

AFTER = 200
"""Calls of rules after which the module is built: a short program does not need it."""

calls = 0

building: threading.Thread | None = None
"""The thread that builds the module; None before it is started."""


def count() -> None:
    """Count a call; after AFTER calls, start to build or load the module in the background."""
    global calls
    calls += 1
    if calls == AFTER:
        begin()


def begin() -> None:
    """Build or load the module in the background, once."""
    global building
    if building is None:
        building = threading.Thread(target=_build, name="manual_backprop native node", daemon=True)
        if os.environ.get("MANUAL_BACKPROP_NATIVE", "1") != "0":
            building.start()


def wait() -> bool:
    """Wait until the build has ended; return whether there is a module."""
    begin()
    assert building is not None
    if building.ident is not None:
        building.join()
    return module is not None


@contextmanager
def intercepted(function: Callable[..., Any]) -> Iterator[None]:
    """Call `function` in place of the native node, to record calls: (rule, arguments) -> what the rule returns, or
    NotImplemented where the caller has to run the rule itself."""
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
    """The ctx that a native node passes to a rule's `setup_context` and `backward`."""

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple
    next_functions: tuple
    to_save: tuple = ()
    materialize: bool = True
    apart: tuple = ()
    """Results without a derivative."""

    def attributes(self) -> dict[str, Any]:
        """The attributes that the rule has set on ctx."""
        found = {k: v for k, v in vars(self).items() if k not in PROTOCOL}
        if any(isinstance(value, Tensor) for value in found.values()):
            module.unrecorded("it keeps a tensor on ctx")
        return found

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Nothing to do: `_servable` has found out before that the rule works in place."""

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.apart = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize = value


def _servable(rule: Any) -> int:
    """0 if a rule's calls cannot be recorded, because it does not depend on its arguments alone (`Rule.pure`); 2 if
    they can and it writes over its first argument; else 1."""
    from .rule import RULES_PACKAGE

    if not vars(rule).get("pure", rule.__module__.startswith(RULES_PACKAGE)):
        return 0
    code = getattr(inspect.unwrap(rule.setup_context), "__code__", None)
    if code is None:
        return 0
    return 2 if "mark_dirty" in code.co_names else 1


def _learn(rule: Any, args: tuple, needs: tuple[bool, ...]) -> tuple:
    """Run a rule's forward while it is recorded.

    Returns: output, whether each output has a derivative, the saved tensors, the attributes of ctx, the node's name,
    the inner node, whether missing deltas are replaced by zeros, the recipe.
    """
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
    """A recipe that decodes the masks among its arguments, which are saved as bits."""
    function, arguments, index = recipe
    read = {k: p for k, argument in enumerate(arguments) for p in codes if argument is masks[p]}

    def run(*given: Any) -> Any:
        return function(*[codes[read[k]].decode(value) if k in read else value for k, value in enumerate(given)])

    return run, tuple([saved[read[k]] if k in read else value for k, value in enumerate(arguments)]), index


def _inner(rule: Any, args: tuple, output: Tensor) -> tuple:
    """The inner node whose output the second output is saved as (inner.py).

    Returns: rule, attributes of ctx, which arguments need a derivative, positions of its tensors among the outer rule's
    arguments, whether it saves its output, the node's name.
    """
    inner, given = rule.inner(args)
    tensors = [value for value in given if isinstance(value, Tensor)]
    ctx = Context()
    ctx.needs_input_grad = tuple(isinstance(value, Tensor) and value.requires_grad for value in given)
    inner.setup_context(ctx, given, output)
    saves_output = any(value is output for value in ctx.to_save)
    if not all(map(operator.is_, given, tensors)) or len(ctx.to_save) > saves_output:
        module.unrecorded("the inner node saves more than its output")
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
    """A tensor's single element, times a factor, as a kernel's argument. A recorded program reads it at each run."""

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
"""Dtypes whose elements are read without calling an operator."""


def note(function: Any, checked: bool, *arguments: Any) -> None:
    """Add a kernel's call to the program that is being recorded, if there is one.

    arguments: tensors, None, numbers, and ctypes arrays, which count as constants. checked: whether the kernel returns
    0 if it accepts the values that it reads.
    """
    if module is not None and module.recording():
        address = ctypes.cast(function, ctypes.c_void_p).value
        module.kernel(address, checked, *map(_constant, arguments))


def _constant(argument: Any) -> Any:
    if isinstance(argument, Number):
        return argument.tensor, argument.factor
    return bytes(argument) if isinstance(argument, ctypes.Array) else argument


def unrecorded(why: str) -> None:
    """Give up the running recording: another call with the same key may do something else."""
    if module is not None:
        module.unrecorded(why)


def forget() -> None:
    """Drop all recorded programs, because a formula or a kernel has changed."""
    if module is not None:
        module.forget()


def limits(large: int, calls: int = -1, tensors: str | None = None) -> None:
    """Set the limits of the native node.

    large: number of elements from which a tensor is large. calls: calls in Python before one is recorded (-1: no
    change). tensors: what happens to large tensors, one of LARGE (None: no change).
    """
    if module is not None:
        module.limits(large, calls, -1 if tensors is None else LARGE.index(tensors))


def enable(on: bool) -> None:
    """Turn native nodes on or off; off, the backwards of existing native nodes run in Python."""
    global enabled
    enabled = on
    if module is not None:
        module.enable(on)
