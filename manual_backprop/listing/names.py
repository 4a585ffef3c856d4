"""Names the values of a written file: by the module that computes them, or by the value that they are the delta of."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

from .parts import fixed, relative, snake
from .roles import RULES
from .structure import Finder
from .tape import Line, Value

LONGEST = 16
"""Most characters of a rule's name that is used as a name of values."""
SIGNS = {
    " * ": "product",
    " + ": "sum",
    " - ": "difference",
    " / ": "quotient",
    " @ ": "product",
    "[": "part",
    " == ": "mask",
    " != ": "mask",
    " < ": "mask",
    " > ": "mask",
    " <= ": "mask",
    " >= ": "mask",
    "-": "negative",
    ".T": "turned",
}

CALLED = {"new_zeros": "padded"}
"""Functions of torch whose results do not take the function's name."""

RESERVED = {
    "p",
    "at",
    "kept",
    "grad",
    "torch",
    "F",
    "math",
    "run",
    "main",
    "random",
    "i",
    *keyword.kwlist,
    *dir(builtins),
}


class Scope:
    """The names of values in one function. A module is named by the shortest end of its path that is unique."""

    def __init__(self, finder: Finder, path: str, taken: Iterable[str] = ()) -> None:
        self.finder, self.path = finder, path
        self.names: dict[Value, str] = {}
        self.taken = {*RESERVED, *taken}
        self._ends = finder.ends(path)

    def __getitem__(self, value: Value) -> str:
        if fixed(value):
            return relative(value.name, self.path)
        if value not in self.names:
            self.set(value, value.name or self.proposed(value))
        return self.names[value]

    def set(self, value: Value, name: str) -> str:
        name = re.sub(r"\W", "_", name)
        base = name if name.isidentifier() else f"v_{name}"
        name, k = base, 2
        while name in self.taken:
            name, k = f"{base}_{k}", k + 1
        self.taken.add(name)
        self.names[value] = name
        return name

    def local(self, path: str) -> str:
        """A module's path as a part of a name, without the path of the function's own module."""
        if not path.startswith(self.path) or path == self.path:
            return "" if path == self.path else re.sub(r"\W", "_", path)
        parts = path[len(self.path) :].strip(".").split(".")
        for count in range(1, len(parts)):
            end = parts[-count:]
            if not end[0].isdigit() and self._ends[".".join(end)] == 1:
                return re.sub(r"\W", "_", "_".join(end))
        return re.sub(r"\W", "_", "_".join(parts))

    def proposed(self, value: Value) -> str:
        if value.of is not None:
            found = f"grad_{self.parameter(value.of.name[3:-2])}" if fixed(value.of) else f"delta_{self[value.of]}"
            return found + (f"_{self.way(value, found)}" if value.branch else "")
        owner = self.local(value.line.owner) if value.line is not None else ""
        if value.role:
            return f"{value.role}_{owner}" if owner and self.finder.roles(value.role, self.path) > 1 else value.role
        operation = (
            RULES.get(value.rule, snake(value.rule))
            if value.rule
            else operation_of(value.line)
            if value.line is not None
            else "v"
        )
        if value.kind in ("z", "a"):
            return f"{value.kind}{'' if owner[:1].isdigit() else '_'}{owner}" if owner else f"{value.kind}_{operation}"
        if (
            value.kind
            and owner[:1].isdigit()
            and (value.kind != "y" or (value.line is not None and self.finder.alone(value.line)))
        ):
            return f"{value.kind}{owner}"
        if value.kind == "y":
            alone = value.line is not None and self.finder.alone(value.line)
            return joined(owner if owner and alone else f"{owner}_{operation}".strip("_"), "y")
        if value.kind:
            return joined(f"{owner}_{value.kind}".strip("_"), "v")
        if value.line in self.finder.forward_set or value.line is None:
            return joined(f"{owner}_{operation}".strip("_"), "v")
        if value.line.function is not None and len(self.finder.readers[value]) > 1:  # it is for several
            return joined(f"{owner}_{value.line.function[1]}".strip("_"), "v")
        target = self.finder.purpose(value)
        if target is None:
            return "u"
        named = self.finder.names.get(target)
        base = f"grad_{self.parameter(named[0])}" if named else self[target]
        return f"{base}_{operation}"

    def parameter(self, name: str) -> str:
        """A parameter as a part of a name: `fc` for fc.weight, `fc_bias` for fc.bias."""
        path, _, own = name.rpartition(".")
        end = self.local(path) if path else ""
        return "_".join(part for part in (end, own if own != "weight" or not end else "") if part)

    def way(self, value: Value, name: str) -> str:
        """The module through which a delta came, as a part of a name; the rule where that is ambiguous."""
        found = self.local(value.branch) or "skip"
        sums = next((line.branches for line in self.finder.readers[value] if line.branches), [])
        if (sums.count(value.branch) > 1 or name.endswith(f"_{found}")) and value.line is not None:
            return operation_of(value.line)
        return found


def joined(name: str, letter: str) -> str:
    return letter + name if name[:1].isdigit() else name


def operation_of(line: Line) -> str:
    if line.function is not None:
        found = RULES.get(line.function[0].__name__) or snake(line.function[0].__name__)
        return found if len(found) <= LONGEST else "y"
    text = "".join(part if isinstance(part, str) else "_" for part in line.parts)
    words = [word for word in re.findall(r"([A-Za-z_]\w*)\(", text) if word not in ("torch", "default")]
    if not words:
        return next((name for sign, name in SIGNS.items() if sign in text), "v")
    return CALLED.get(words[-1], snake(words[-1]).strip("_")) or "v"
