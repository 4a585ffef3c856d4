"""What a recorded program is made of: values, and the lines that compute them.

A value is identified by its memory, shape, strides and dtype: two Python tensors that agree in these are one value.
Recorded tensors stay alive until the end, so that no memory is used twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput

EDITED = (
    "an edit in place of a part of a tensor cannot be written out, unless only its result is read later. expected: a "
    "new tensor, by torch.cat, torch.where or torch.Tensor.index_put"
)
SMALL = 16
"""Most elements of an unknown tensor that is written as a literal."""


@dataclass(eq=False)
class Value:
    """A tensor of the program. `name` is set for tensors from outside. Others get a name when they are written
    (names.py): from `kind`, from the module that computes them, and for a delta from the value that it belongs to."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    line: Line | None = None
    name: str = ""
    kind: str = ""
    """z, a, or what to add to the name of the module; "" for an intermediate value."""
    of: Value | None = None
    """For a delta: the value that it is the delta of."""
    memory: Any = None
    """Identifies its memory."""
    branch: str = ""
    """For a delta that is one term of a sum: the module through which it came."""
    rule: str = ""
    """The name of the rule that returns it, at each level."""
    role: str = ""
    """What a textbook calls it (roles.py)."""


@dataclass(frozen=True, eq=False)
class Operand:
    """A value as an operand: an expression in its place needs parentheses."""

    value: Value


@dataclass(frozen=True, eq=False)
class ShapeOf:
    """A shape, written as `value.shape` where the function has the value."""

    value: Value
    shape: tuple[int, ...]


Part = str | Value | Operand | ShapeOf
"""The pieces of an expression."""


@dataclass(eq=False)
class Line:
    """One call: `results = parts`. Results that are not tensors are None. `single`: it returns no tuple."""

    parts: list[Part]
    results: list[Value | None]
    single: bool
    owner: str
    """The path of the module that calls it."""
    infix: bool = False
    effect: bool = False
    """Whether it writes into a tensor that was there before."""
    writes: list[Value] = field(default_factory=list)
    """The values that it writes into; empty means the first value that it reads."""
    branches: list[str] = field(default_factory=list)
    """For a sum of deltas: the module through which each one came."""
    function: tuple[type, str] | None = None
    """The function of a rule that it calls: the rule and the name."""
    options: dict[str, Any] = field(default_factory=dict)
    """The arguments of that call that are numbers, words or None, by name."""
    call: int = 0
    """The number of the call of a module that it belongs to (record.py)."""

    def values(self) -> Iterator[Value]:
        """The values that it reads, without those of which it reads the shape alone."""
        for part in self.parts:
            if isinstance(part, Operand):
                yield part.value
            elif isinstance(part, Value):
                yield part


def key_of(tensor: Tensor) -> tuple:
    """A key that is different for different values."""
    apart = tensor.layout != torch.strided or not tensor.numel()  # no memory that identifies it
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
    """Tensors from elsewhere that are too large to be written as literals."""
    classes: dict[str, type] = field(default_factory=dict)
    """Classes of named tuples that appear in the lines."""
    hints: list[Value] = field(default_factory=list)
    """Values by whose shape a shape may be written: the arguments of the call whose backward is recorded."""
    stale: set[Any] = field(default_factory=set)
    """Memory that the forward has edited in place through a view: what it reads there later is not known."""
    owner: str = ""
    call: int = 0
    paused: bool = False
    """Whether recording of what Python calls is off."""

    def outside(self, tensor: Tensor, name: str) -> Value:
        """Add a tensor that the program gets from outside, with that name."""
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
        """The value of a tensor that is read. An unknown tensor with few elements is written as a literal."""
        if key_of(tensor)[0] in self.stale:
            raise BadInput(EDITED)
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
        """Add a value for a tensor that a line has computed."""
        key = key_of(tensor)
        found = self.known[key] = Value(tuple(tensor.shape), tensor.dtype, line, memory=key[0])
        self.alive.append(tensor)
        return found

    def add(self, parts: list[Part], output: Any, **said: Any) -> Line | None:
        """Record a call and its results; None if all results were known before, as for a view that changes nothing."""
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
        """Arguments of a call, with commas between them."""
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
        raise BadInput("a torch.Generator cannot be written out. expected: no generator, and torch.manual_seed")
    raise BadInput(f"an argument cannot be written as source. got: {type(value).__name__} {value!r}"[:300])
