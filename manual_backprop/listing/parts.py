"""The units of a program: parts with their lines, pairs of functions for parts that are alike, and loops."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .tape import Line, Operand, ShapeOf, Value


@dataclass(eq=False)
class Part:
    """Forward and backward lines that belong together, and the values that go in and out."""

    path: str
    forward: list[Item]
    backward: list[Item]
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    kept: list[Value] = field(default_factory=list)
    deltas: list[Value] = field(default_factory=list)
    returned: list[Value] = field(default_factory=list)
    pair: Pair | None = None
    again: str = ""
    """_2, _3 ... for the second, third ... call of the same module."""


@dataclass(eq=False)
class Extra:
    """Lines that only some of the parts of a pair have."""

    lines: list[Line]
    asked: str
    """The parameter that only modules with these lines have, without the module's path."""
    otherwise: dict[Value, Value]
    """What a value is where the lines are left out."""
    kept: list[Value]
    """Values for the backward, which are None where the lines are left out."""


@dataclass(eq=False)
class Pair:
    """A pair of functions, forward and backward, for parts that are alike."""

    name: str
    parts: list[Part]
    loops: list[Loop] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    """Options in which the parts differ: by name, the literal of each part."""
    template: Part = field(init=False)
    """The part from which both functions are written (merging.py)."""


@dataclass(eq=False)
class Loop:
    """Consecutive parts: each takes what the one before returns, and all other inputs are the same."""

    parts: list[Part]


Item = Line | Part | Loop | Extra


def reads(line: Line) -> Iterable[Value]:
    """The values that a line reads, including those of which it reads the shape alone."""
    for part in line.parts:
        if isinstance(part, (Operand, ShapeOf)):
            yield part.value
        elif isinstance(part, Value):
            yield part


def fixed(value: Value) -> bool:
    """Whether a value is the same in every function: a parameter or a constant."""
    return value.name.startswith('p["')


def within(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


def relative(name: str, path: str) -> str:
    """Write p["block.3.fc.weight"] as p[at + "fc.weight"]."""
    return re.sub(rf'^(\w+)\["{re.escape(path)}\.', r'\1[at + "', name) if path else name


def ordered(values: set[Value], lines: list[Line]) -> list[Value]:
    return [v for line in lines for v in line.results if v in values]


def unique(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))


def snake(name: str) -> str:
    name = re.sub(r"(?:[PR]?Re|Si)LU", lambda found: found[0].capitalize(), name)  # one word: relu, prelu, silu
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_")
