"""torch's operators, as they arrive at the dispatcher: each that has a rule runs on it, also inside of what torch
composes of others in C++ (einsum, kron, norm ...) or in Python (torch.nn.functional.interpolate ...).

`composed` runs a function of torch with autograd switched off and a mode that sees each operator in its place, with
its arguments as the schema has them. There it becomes

    a rule       where one stands in for it: `Rule.operator`, a function that says `@stands_for`, or torch's function of
                 that name in `mb.functional`,
    its parts    where it is composed of other operators (CompositeImplicitAutograd),
    torch's own  otherwise, with autograd: a view, a copy, what has no derivative, or an operator without a rule.

Why so, and not by a function mode alone: a mode of functions sees what Python calls, not what C++ calls in turn.
torch's reference decompositions (torch._refs) cover less than half of the composed ones and change some bits. Kernels
registered for the key Autograd hold for the whole process and all threads. This costs 10 to 20 us an operator, so what
is called often has its place in the table of functions of explicit.py. torch.compile and the transforms of torch.func
do not see it: there, what has no place in that table is autograd's.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import functional
from ._nodes import is_view, name_of, rule_of
from .engine.rule import RULES, Rule
from .engine.torch_private import (
    QuickDispatchMode,
    autograd_off,
    autograd_on,
    function_modes,
    function_modes_without,
    has_kernel,
    run_composed,
    share_storage,
)
from .functional._call import call, call_in_place, refuse_leaf
from .functional._overloads import STAND_INS
from .rules.copying import Copy, Write

Function = Callable[..., Any]


class _Operators(QuickDispatchMode):
    def __init__(self, strict: bool) -> None:
        super().__init__()
        self.strict = strict

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        with autograd_on():
            if not recorded((*args, *kwargs.values())):
                return func(*args, **kwargs)
            ours = served(func)
            if ours is not None:
                result = ours(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            if composite(func):
                with autograd_off(), self:
                    return run_composed(func, *args, **kwargs)
            output = func(*args, **kwargs)
            if self.strict:
                refuse_autograd(func, output)
            return output


def composed(function: Function, args: tuple, kwargs: dict[str, Any], strict: bool) -> Any:
    """What torch's function returns, with rules for the operators that it is composed of.

    Other `mb.explicit` contexts around the innermost one are off: the mode of one sees all operators."""
    if function_modes():
        with function_modes_without("leads_to_rules"), autograd_off(), _Operators(strict):
            return function(*args, **kwargs)
    with autograd_off(), _Operators(strict):
        return function(*args, **kwargs)


def recorded(values: Any) -> bool:
    """Whether autograd would note a call with these arguments."""
    if not torch.is_grad_enabled():
        return False
    for value in values:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, Tensor) and item.requires_grad:
                return True
    return False


@functools.cache
def composite(func: Any) -> bool:
    """Whether the operator is composed of others, whose derivatives are its own."""
    return has_kernel(func.name(), "CompositeImplicitAutograd")


@functools.cache
def served(func: Any) -> Function | None:
    """What runs in place of an operator (one overload): a function with the arguments of its schema, or None."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    if func.namespace != "aten" or func.is_view or any([argument.is_out for argument in schema.arguments]):
        return None
    stand_in = STAND_INS.get(f"{name}.{func._overloadname}") or STAND_INS.get(name)
    if stand_in is not None:
        return stand_in
    rule = _rule(func, name)
    if rule is not None:
        return functools.partial(_called, rule, func)
    if name.endswith("_") and not name.endswith("__"):
        rule = _rule(func, name[:-1])
        if rule is not None:
            return functools.partial(_written, rule, func)
    return _by_name(func, name)


def _by_name(func: Any, name: str) -> Function | None:
    """The function of ours that torch's name for the operator leads to."""
    from .explicit import TABLE, _takes

    ours = TABLE.get(getattr(torch, name, _by_name))
    if ours is None:
        return _by_arguments(func, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) if _takes(ours, args, kwargs) else NotImplemented

    return run


def _by_arguments(func: Any, name: str) -> Function | None:
    """The function of `mb.functional` of the operator's own name, if it knows all arguments of the operator by name."""
    ours = getattr(functional, name, None)
    if ours is None:
        return None
    names = ["input" if argument.name == "self" else argument.name for argument in func._schema.arguments]
    if "reduction" in names or not set(names) <= set(inspect.signature(ours).parameters):
        return None  # a reduction is a number here: functional/numbered.py

    def run(*args: Any, **kwargs: Any) -> Any:
        return ours(**dict(zip(names, _by_place(func, args, kwargs), strict=True)))

    return run


@functools.cache
def operators() -> dict[str, type[Rule]]:
    """Name of an operator, or `name.overload` -> the rule that stands in for it."""
    return {name: rule for rule in RULES.values() for name in rule.operator.split()}


def _rule(func: Any, name: str) -> type[Rule] | None:
    """The rule of an operator, whose schema has as many arguments as the rule's forward."""
    overload = func._overloadname
    rule = operators().get(f"{name}.{overload}") or operators().get(name)
    if rule is None or len(func._schema.arguments) != len(rule.forward.__signature__.parameters):  # type: ignore[attr-defined]
        return None
    return rule


def _called(rule: type[Rule], func: Any, *args: Any, **kwargs: Any) -> Any:
    return call(rule, *_by_place(func, args, kwargs))


def _written(rule: type[Rule], func: Any, *args: Any, **kwargs: Any) -> Any:
    """The rule in place. torch says what it refuses: another shape or kind of number than the tensor has."""
    values = _by_place(func, args, kwargs)
    first, *others = [value for value in values if isinstance(value, Tensor)]
    if rule.broadcasts:
        if torch.broadcast_shapes(*[value.shape for value in (first, *others)]) != first.shape:
            return NotImplemented
        if any([not torch.can_cast(value.dtype, first.dtype) for value in others]):
            return NotImplemented
    if any([isinstance(value, complex) for value in values]) and not first.is_complex():
        return NotImplemented
    if not rule.keeps_input and any([share_storage(first, value) for value in others]):
        # x.addcmul_(x, x): what is saved of an operand is what it was before, and torch's error says so in the backward
        refuse_leaf(first)
        call(Write, first, call(rule, call(Copy, first, None), *values[1:]))
        return first
    return call_in_place(rule, *values)


def _by_place(func: Any, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """All arguments of the schema, in order."""
    listed = func._schema.arguments
    rest = listed[len(args) :]
    return [*args, *(kwargs.get(a.name, a.default_value) for a in rest)]


def refuse_autograd(func: Any, output: Any) -> None:
    """Raise where autograd would compute the derivative of a call."""
    for tensor in output if isinstance(output, (tuple, list)) else (output,):
        node = tensor.grad_fn if isinstance(tensor, Tensor) else None
        if node is not None and rule_of(node) is None and not is_view(node):
            raise NotImplementedError(
                f"mb.explicit(strict=True): {func} has no rule, autograd would compute its derivative "
                f"({name_of(node)}). Use strict=False, or write a rule for it: CONTRIBUTING.md"
            )
