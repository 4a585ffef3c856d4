"""What a recorded program is made of: values, and the lines that compute them.

A value is a tensor: the memory it lies in, and how. Two tensors of the same memory, shape and strides are one value,
whichever object of Python stands for them; what is recorded stays alive until the end, so no memory is used twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput

SMALL = 16
"""Elements of an unknown tensor that is written as a literal."""


@dataclass(eq=False)
class Value:
    """A tensor of the program. `name` is set for what comes from outside; others are named when they are written
    (names.py) by what they are: `kind`, the module that computes them, and of a delta, of what."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    line: Line | None = None
    name: str = ""
    kind: str = ""
    """z, a, or what to add to the name of the module; "" for a value on the way."""
    of: Value | None = None
    """Of a delta: what it is the delta of."""
    memory: Any = None
    """What tells the memory that it lies in from other memory."""
    branch: str = ""
    """Of one of several deltas that are summed: by way of which module."""
    rule: str = ""
    """The name of the rule that gives it, at whatever level that is written."""
    role: str = ""
    """What a textbook calls it (roles.py)."""


@dataclass(frozen=True, eq=False)
class Operand:
    """A value as an operand: an expression in its place needs parentheses."""

    value: Value


@dataclass(frozen=True, eq=False)
class ShapeOf:
    """A shape, written as that of a value where the value is at hand."""

    value: Value
    shape: torch.Size


Part = str | Value | Operand | ShapeOf
"""What an expression is put together from."""


@dataclass(eq=False)
class Line:
    """One call: `results = parts`. Results that are no tensors are None; `single`: it returns one tensor, no tuple."""

    parts: list[Part]
    results: list[Value | None]
    single: bool
    owner: str
    """The path of the module that calls it."""
    infix: bool = False
    effect: bool = False
    """Whether it writes into a tensor that was there before."""
    writes: list[Value] = field(default_factory=list)
    """Into which; none for the first that it reads."""
    branches: list[str] = field(default_factory=list)
    """Of a sum of deltas: by way of which modules each came."""
    function: tuple[type, str] | None = None
    """Which function of a rule it calls."""
    options: dict[str, Any] = field(default_factory=dict)
    """The arguments of that call that are numbers, words or None, by name."""
    call: int = 0
    """Which call of a module it belongs to (record.py)."""

    def values(self) -> Iterator[Value]:
        """What it reads; shapes apart."""
        for part in self.parts:
            if isinstance(part, Operand):
                yield part.value
            elif isinstance(part, Value):
                yield part


def key_of(tensor: Tensor) -> tuple:
    """What tells one value from another."""
    apart = tensor.layout != torch.strided or not tensor.numel()  # without memory of its own
    where: Any = id(tensor) if apart else tensor.untyped_storage().data_ptr()
    strides = tensor.stride() if tensor.layout == torch.strided else ()
    flags = tensor.is_conj(), tensor.is_neg()
    return where, 0 if apart else tensor.storage_offset(), tuple(tensor.shape), strides, tensor.dtype, flags


@dataclass
class Tape:
    """Lines in order, and the value of every tensor in them."""

    lines: list[Line] = field(default_factory=list)
    known: dict[tuple, Value] = field(default_factory=dict)
    alive: list[Tensor] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    """Tensors from elsewhere, that are too large to be written down."""
    classes: dict[str, type] = field(default_factory=dict)
    """Named tuples that are written down."""
    owner: str = ""
    call: int = 0
    paused: bool = False
    """Whether what Python calls is not noted."""

    def outside(self, tensor: Tensor, name: str) -> Value:
        """A tensor that the program is given, under that name."""
        key = key_of(tensor)
        found = self.known.setdefault(key, Value(tuple(tensor.shape), tensor.dtype, name=name, memory=key[0]))
        self.alive.append(tensor)
        return found

    def alone(self, tensor: Tensor) -> bool:
        """Whether a computed tensor is the only known value in its memory."""
        memory, value = key_of(tensor)[0], self.find(tensor)
        return value is not None and not value.name and sum(key[0] == memory for key in self.known) == 1

    def find(self, tensor: Tensor) -> Value | None:
        return self.known.get(key_of(tensor))

    def value(self, tensor: Tensor) -> Part:
        """The value of a tensor that is read; of an unknown one the numbers, where they are few."""
        found = self.find(tensor)
        if found is not None:
            return found
        if not tensor.numel():
            return f"torch.empty({tuple(tensor.shape)}, dtype={tensor.dtype})"
        if tensor.numel() <= SMALL and tensor.layout == torch.strided:
            dtype = "" if tensor.dtype in (torch.float32, torch.int64, torch.bool) else f", dtype={tensor.dtype}"
            return f"torch.tensor({literal(tensor.tolist())}{dtype})"
        name = f"constant_{len(self.constants) + 1}"
        self.constants[name] = tensor
        return self.outside(tensor, f'p["{name}"]')

    def new(self, tensor: Tensor, line: Line) -> Value:
        """The value of a tensor that a line has computed."""
        key = key_of(tensor)
        found = self.known[key] = Value(tuple(tensor.shape), tensor.dtype, line, memory=key[0])
        self.alive.append(tensor)
        return found

    def add(self, parts: list[Part], output: Any, **said: Any) -> Line | None:
        """Note a call and what it returned; None where all of that was known before: a view that changes nothing."""
        outputs = list(output) if isinstance(output, (tuple, list)) else [output]
        tensors = [o for o in outputs if isinstance(o, Tensor)]
        if not said.get("effect") and all(self.find(t) is not None for t in tensors):
            return None
        line = Line(parts, [], not isinstance(output, (tuple, list)), self.owner, call=self.call, **said)
        for o in outputs:
            known = self.find(o) if isinstance(o, Tensor) else None
            fresh = isinstance(o, Tensor) and known is None
            line.results.append(self.new(o, line) if fresh else known if not line.effect else None)
        self.lines.append(line)
        return line

    def arguments(self, args: tuple, kwargs: dict[str, Any]) -> list[Part]:
        """Arguments of a call, with commas."""
        parts: list[Part] = []
        for arg in args:
            parts += [", ", *self.written(arg)]
        for name, arg in kwargs.items():
            parts += [", ", f"{name}=", *self.written(arg)]
        return parts[1:]

    def written(self, value: Any) -> list[Part]:
        """An argument: a tensor, a constant, or a list of either."""
        if isinstance(value, Tensor):
            return [self.value(value)]
        if isinstance(value, (tuple, list)) and has_tensor(value):
            inner = self.arguments(tuple(value), {})
            if hasattr(value, "_fields"):
                self.classes[type(value).__name__] = type(value)
                return [f"{type(value).__name__}(", *inner, ")"]
            if isinstance(value, list):
                return ["[", *inner, "]"]
            return ["(", *inner, ",)" if len(value) == 1 else ")"]
        return [literal(value)]


def has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, (tuple, list)) and any(map(has_tensor, value)))


def writable(value: Any) -> bool:
    """Whether an argument can be written as source."""
    if isinstance(value, Tensor):
        return True
    if isinstance(value, (tuple, list)) and has_tensor(value):
        return all(map(writable, value))
    try:
        literal(value)
    except BadInput:
        return False
    return True


def literal(value: Any) -> str:
    """A constant as source."""
    if isinstance(value, float):
        return repr(value) if value == value and abs(value) != float("inf") else f'float("{value}")'
    if value is None or value is ... or isinstance(value, (bool, int, str, complex)):
        return "..." if value is ... else repr(value) if not isinstance(value, str) else f'"{value}"'
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return str(value)
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    if isinstance(value, slice):
        return f"slice({literal(value.start)}, {literal(value.stop)}, {literal(value.step)})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, torch.Size):
        return f"torch.Size({list(value)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, torch.Generator):
        raise BadInput("a random generator of its own cannot be written out: seed torch's with torch.manual_seed")
    raise BadInput(f"an argument cannot be written as source. got: {type(value).__name__} {value!r}"[:300])
