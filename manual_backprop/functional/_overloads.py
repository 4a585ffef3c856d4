"""Functions for torch's operators whose arguments are not those of a rule. `mb.explicit` calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

STAND_INS: dict[str, Callable[..., Any]] = {}
"""An operator of torch.ops.aten, `name.overload`, or another library's `namespace::name` -> a function that takes the
arguments of its schema."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def stands_for(*operators: str) -> Callable[[_Function], _Function]:
    """Marks a function that takes the arguments of these operators (`name`, or `name.overload`) and returns what they
    do. The function may return NotImplemented: that call is then left to autograd. Raises TypeError for an operator
    that already has a function."""

    def mark(function: _Function) -> _Function:
        for operator in operators:
            if operator in STAND_INS:
                raise TypeError(f"{operator} has a function already: {STAND_INS[operator].__qualname__}")
            STAND_INS[operator] = function
        return function

    return mark
