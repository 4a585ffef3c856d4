"""Refuses an override that would never run: a parent's methods call its formulas by the parent's name."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any


def refuse_dead_overrides(cls: type, base: type) -> None:
    """Raises TypeError where `cls` overrides a formula that an inherited method calls as `Parent.formula`.

    torch.compile cannot look up a formula on the class that runs. So a rule's methods name their own class, and an
    override in a subclass would silently never run.
    """
    parents = [parent for parent in cls.__mro__[1:] if issubclass(parent, base) and parent is not base]
    inherited = {name for parent in parents for name in vars(parent)}
    overridden = {name for name in vars(cls) if name in inherited and not hasattr(base, name)}
    for name in sorted(overridden):
        callers = [method for method, names in _calls(cls, parents) if name in names]
        if callers:
            homes = {m: next(p for p in parents if m in vars(p)).__name__ for m in callers}
            called = next(p for p in parents if name in vars(p)).__name__
            raise TypeError(
                f"{cls.__name__} overrides {name}, but {_listed(f'{home}.{m}' for m, home in homes.items())} "
                f"call{'s' if len(callers) == 1 else ''} {called}.{name} by that name: the override would never run. "
                f"Override {_listed(callers)} in {cls.__name__}, too, or write a rule of its own: class "
                f"{cls.__name__}(Rule)."
            )


def _calls(cls: type, parents: list[type]) -> Iterator[tuple[str, set[str]]]:
    """The methods that `cls` inherits, each with the names x that it reads as `Parent.x`."""
    classes = {parent.__name__ for parent in parents}
    for method in dict.fromkeys(name for parent in parents for name in vars(parent)):
        function = inspect.unwrap(getattr(cls, method)) if callable(getattr(cls, method, None)) else None
        code = getattr(function, "__code__", None)
        if method not in vars(cls) and isinstance(code, CodeType):
            yield method, set(_taken(code, classes))


def _taken(code: CodeType, classes: set[str]) -> Iterator[str]:
    """Every x that is read as `Class.x` in a function or in the functions inside it."""
    before: Any = None
    for instruction in dis.get_instructions(code):
        if before is not None and before.argval in classes and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield instruction.argval
        before = instruction
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _taken(constant, classes)


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
