"""Runs the operators that torch dispatches on rules, where they have rules. This includes operators that torch calls
inside its own functions, in C++ (einsum, kron, norm ...) or in Python (torch.nn.functional.interpolate ...).

`composed` calls a function of torch with autograd off and under a dispatch mode. The mode receives each operator with
the arguments of its schema and runs one of three things:

    a rule        if one is registered for the operator: by `Rule.operator`, by a function under `@stands_for`, or by a
                  function of `mb.functional` that has the operator's name
    its parts     if the operator is composed of other operators (CompositeImplicitAutograd)
    the operator  otherwise, with autograd: a view, a copy, an operator without a derivative or without a rule

Why a dispatch mode: a function mode sees the calls that Python makes, but not those that C++ makes. torch's reference
decompositions (torch._refs) cover less than half of the composed operators and change some bits. Kernels registered for
the Autograd key would affect the whole process and all threads.

The mode costs 10 to 20 us per operator, so frequent functions are in the table of explicit.py, which needs no mode.
Under torch.compile and the transforms of torch.func the mode does not run: operators outside that table are autograd's.
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
    """Call a function of torch; the operators that it is composed of run on rules.

    Other `mb.explicit` contexts around the innermost one are off: the mode of one sees all operators."""
    if function_modes():
        with function_modes_without("leads_to_rules"), autograd_off(), _Operators(strict):
            return function(*args, **kwargs)
    with autograd_off(), _Operators(strict):
        return function(*args, **kwargs)


def recorded(values: Any) -> bool:
    """Whether autograd would record a call with these arguments."""
    if not torch.is_grad_enabled():
        return False
    for value in values:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, Tensor) and item.requires_grad:
                return True
    return False


@functools.cache
def composite(func: Any) -> bool:
    """Whether the operator is composed of other operators and gets its derivative from theirs."""
    return has_kernel(func.name(), "CompositeImplicitAutograd")


@functools.cache
def served(func: Any) -> Function | None:
    """The function that replaces an operator (one overload), with the arguments of its schema; or None."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    if func.namespace != "aten":
        return STAND_INS.get(schema.name)
    if func.is_view or any([argument.is_out for argument in schema.arguments]):
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
    """The function of `mb.functional` for torch's function of the operator's name."""
    from .explicit import TABLE, takes

    ours = TABLE.get(getattr(torch, name, _by_name))
    if ours is None:
        return _by_arguments(func, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) if takes(ours, args, kwargs) else NotImplemented

    return run


def _by_arguments(func: Any, name: str) -> Function | None:
    """The function of `mb.functional` of the operator's name, if it has a parameter for each argument of the schema."""
    ours = getattr(functional, name, None)
    if ours is None:
        return None
    names = ["input" if argument.name == "self" else argument.name for argument in func._schema.arguments]
    if "reduction" in names or not set(names) <= set(inspect.signature(ours).parameters):
        return None  # operators take `reduction` as a number: functional/numbered.py serves these

    def run(*args: Any, **kwargs: Any) -> Any:
        return ours(**dict(zip(names, _by_place(func, args, kwargs), strict=True)))

    return run


@functools.cache
def operators() -> dict[str, type[Rule]]:
    """Name of an operator, or `name.overload` -> its rule."""
    return {name: rule for rule in RULES.values() for name in rule.operator.split()}


def _rule(func: Any, name: str) -> type[Rule] | None:
    """The rule of an operator, if the rule's forward has as many arguments as the operator's schema."""
    overload = func._overloadname
    rule = operators().get(f"{name}.{overload}") or operators().get(name)
    if rule is None or len(func._schema.arguments) != len(rule.forward.__signature__.parameters):  # type: ignore[attr-defined]
        return None
    return rule


def _called(rule: type[Rule], func: Any, *args: Any, **kwargs: Any) -> Any:
    return call(rule, *_by_place(func, args, kwargs))


def _written(rule: type[Rule], func: Any, *args: Any, **kwargs: Any) -> Any:
    """The rule in place. NotImplemented for a shape or dtype that torch refuses in place: torch itself raises then."""
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
        # x.addcmul_(x, x): the backward needs an operand's values from before the call. It is saved before it is
        # overwritten, so the backward raises torch's version error.
        refuse_leaf(first)
        return call(Write, first, call(rule, call(Copy, first, None), *values[1:]))
    return call_in_place(rule, *values)


def _by_place(func: Any, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """The values of all arguments of the schema, in order, defaults included."""
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
