"""What a rule declares: which formulas it has, and what each of them reads. How to write one: derive.py."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

FACTS = ("shape", "dtype")
"""Properties that can be kept without saving the tensor: <argument>_shape, <argument>_dtype."""

IN_PLACE = "_in_place"
"""Suffix of the formula that is used instead where the output was written over the input."""


WIDTH = 116
"""Characters in a line of source."""


def listed(parts: Iterable[str]) -> str:
    """Names with commas between them; a single name as a tuple of one."""
    parts = list(parts)
    return f"({parts[0]},)" if len(parts) == 1 else ", ".join(parts)


def row(before: str, parts: Iterable[str]) -> list[str]:
    """`before(parts)` on one line, or one line for each part where that would be too long."""
    parts = list(parts)
    line = f"    {before}({', '.join(parts)})"
    return [line] if len(line) <= WIDTH else [f"    {before}(", *(f"        {part}," for part in parts), "    )"]


class Declaration:
    """What a rule declares: its arguments, results and formulas, and what each formula needs.

    formulas   argument -> name of its formula
    needed_by  name that a formula reads -> the arguments whose formulas need it
    order      the methods to call, formulas included, in order
    leaves     names that are saved, or kept on ctx
    given      the leaves that `derivatives` takes
    through    result -> argument -> name of the formula for the result's delta
    incoming   the deltas that the formulas read
    """

    def __init__(self, rule: Any) -> None:
        self.rule, self.name = rule, rule.__name__
        parameters = inspect.signature(rule.forward).parameters
        self.arguments = list(parameters)
        self.kinds = {name: _kind(parameter) for name, parameter in parameters.items()}
        self.results: tuple[str, ...] = rule.results
        self.formulas = {a: f for a in self.arguments for f in (f"delta_{a}", f"grad_{a}") if hasattr(rule, f)}
        self.needed_by: dict[str, list[str]] = {}
        self.order: list[str] = []
        self.reads: dict[str, list[str]] = {}
        self.through = self._through()
        self.incoming = self._together() or ["delta"]
        self.deltas = [*self.incoming, *[f"delta_{result}" for result in self.through]]
        for argument, formula in self.formulas.items():
            self._need(formula, argument, ())
        passed_on = [(argument, f) for formulas in self.through.values() for argument, f in formulas.items()]
        for argument, formula in passed_on:
            self._need(formula, argument, ())
            self.order.remove(formula)
        self.statistics = [name for name in self.results if name in self.order]
        self.in_place = [f for f in self.formulas.values() if hasattr(rule, f + IN_PLACE)]
        self.leaves = [n for n in self.needed_by if n not in self.reads or n in self.statistics]
        self.leaves = [name for name in self.leaves if name not in self.deltas]
        read = dict.fromkeys(self.reading(f for f in self.formulas.values()))
        self.given = [name for name in read if name in self.leaves]

    def _through(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for result in self.results[1:]:
            for argument, formula in self.formulas.items():
                if hasattr(self.rule, name := f"{formula}_from_{result}"):
                    found.setdefault(result, {})[argument] = name
        return found

    def _together(self) -> list[str]:
        """The deltas of the results, where formulas read them by name instead of `delta`."""
        read: set[str] = set()
        methods = list(self.formulas.values())
        while methods:
            names = set(parameters_of(getattr(self.rule, methods.pop()), self.name)) - read
            read |= names
            methods += [n for n in names if n not in self.arguments and callable(getattr(self.rule, n, None))]
        return [f"delta_{result}" for result in self.results if f"delta_{result}" in read]

    def _need(self, name: str, argument: str, path: tuple[str, ...]) -> None:
        """Record that the derivative of `argument` needs `name`, and everything that `name` needs in turn."""
        if name in path:
            raise TypeError(self._unknown(name, path))
        users = self.needed_by.setdefault(name, [])
        if argument in users:
            return
        users.append(argument)
        if name in self.deltas or name in self.arguments or self.fact(name):
            return
        method = getattr(self.rule, name, None)
        if name == "output" or (name in self.results and not callable(method)):
            return
        if not callable(method):
            raise TypeError(self._unknown(name, path))
        self.reads[name] = parameters_of(method, self.name)
        for read in self.reads[name]:
            self._need(read, argument, (*path, name))
        if name not in self.order:
            self.order.append(name)

    def reading(self, names: Iterable[str]) -> Iterator[str]:
        """The leaves that these methods read, directly or through other methods. A statistic counts as a leaf."""
        for name in names:
            if name in self.reads and name not in self.statistics:
                yield from self.reading(self.reads[name])
            else:
                yield name

    def fact(self, name: str) -> tuple[str, str] | None:
        argument, _, fact = name.rpartition("_")
        return (argument, fact) if fact in FACTS and argument in self.arguments else None

    def _unknown(self, name: str, path: tuple[str, ...]) -> str:
        reader = path[-1] if path else name
        return (
            f"{self.name}.{reader} has a parameter whose name is unknown. got: {name!r}. "
            f"expected: delta, an argument of forward ({', '.join(self.arguments)}), a result "
            f"({', '.join(self.results)}), <argument>_shape, <argument>_dtype, or another function of {self.name}"
        )

    def saved(self) -> list[str]:
        """The names of the tensors to save."""
        return [n for n in self.leaves if n in self.results or self.kinds.get(n) in ("tensor", "either")]

    def kept(self) -> list[str]:
        """The names of the values that are kept on `ctx`."""
        return [n for n in self.leaves if self.fact(n) or self.kinds.get(n) in ("number", "either")]

    def facts_of_gradients(self) -> list[str]:
        """The properties of each argument that its gradient must match: the dtype, and after broadcasting the shape."""
        facts = FACTS if self.rule.broadcasts else ("dtype",) if self.rule.upcast else ()
        return [f"{argument}_{fact}" for argument in self.formulas for fact in facts]

    def when(self, name: str) -> str | None:
        """The condition under which a name is needed, as source; None if it is always needed."""
        users = [a for a in self.formulas if a in self.needed_by[name]]
        return None if len(users) == len(self.formulas) else " or ".join(f"needs_{a}" for a in users)

    def value(self, fact: str) -> str:
        """The source that gives a property of an argument, or a number."""
        found = self.fact(fact)
        if found is None:
            return fact if self.kinds[fact] == "number" else f"None if isinstance({fact}, Tensor) else {fact}"
        argument, attribute = found
        if self.kinds[argument] == "tensor" and not self._optional(argument):
            return f"{argument}.{attribute}"
        return f"{argument}.{attribute} if isinstance({argument}, Tensor) else None"

    def _optional(self, argument: str) -> bool:
        return "None" in str(inspect.signature(self.rule.forward).parameters[argument].annotation)


def parameters_of(method: Callable[..., Any], owner: str) -> list[str]:
    """The parameter names of a formula."""
    found = inspect.signature(method).parameters
    starred = [p.name for p in found.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if starred:
        raise TypeError(
            f"{owner}.{getattr(method, '__name__', method)}'s parameters say by their names what it needs. "
            f"got: *{starred[0]}. expected: a name for each parameter"
        )
    return list(found)


def _kind(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if annotation in (parameter.empty, Any, "Any"):
        return "either"
    said = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return "tensor" if "Tensor" in said else "number"
