"""What is recorded of a step: calls of rules and of modules, and the deltas of values not yet reached."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._nodes import is_view, name_of, rule_of
from ..engine.rule import UNGUARDED, Rule
from ..errors import BadInput
from .tape import Tape, Value

if TYPE_CHECKING:
    from .record import Recorder


@dataclass
class Call:
    """One call of a rule in the forward: what its backward needs, and the values of its inputs and outputs."""

    rule: type[Rule]
    args: tuple
    output: Any
    ctx: Any
    owner: str
    region: int
    taken: dict[str, Value | None]
    sources: list[Value | None]
    """The values of the tensors among its arguments, in order."""
    given: list[Value | None]


@dataclass
class Region:
    """One call of a module: its path, its class, and the call around it."""

    path: str
    kind: type
    parent: int


@dataclass
class Recording:
    """A whole step: lines of forward and backward, the loss, and the gradient of each leaf."""

    tape: Tape
    forward: int
    """How many of the lines, from the first, belong to the forward."""
    loss: Value
    gradients: dict[str, Value]
    regions: list[Region] = field(default_factory=list)
    branched: list[str] = field(default_factory=list)
    """Modules in which Python read a number from a tensor."""
    output: Value | None = None
    """What the model returned, if that is one tensor."""


class Arrived:
    """Deltas by the node that they belong to; they are summed when the last one has arrived."""

    def __init__(self, recorder: Recorder, expected: Counter) -> None:
        self.recorder, self.expected = recorder, Counter(expected)
        self.parts: dict[Any, list[tuple[Tensor, str, int]]] = {}
        self.sums: dict[Any, Tensor] = {}

    def add(self, place: Any, delta: Tensor | None, branch: str, region: int, of: Value | None) -> None:
        self.expected[place] -= 1
        parts = self.parts.setdefault(place, [])
        if delta is not None:
            parts.append((delta, branch, region))
        if not self.expected[place] and parts:
            self.sums[place] = parts[0][0] if len(parts) == 1 else self.recorder.summed(parts, of)

    def delta(self, place: Any) -> Tensor | None:
        return self.sums.pop(place, None)


def leads_to(value: Value | None, other: Value) -> bool:
    """Whether a value is the other one, a delta of it, a delta of that, and so on; True for None."""
    while value is not None and value is not other:
        if value.of is None:
            return False
        value = value.of
    return True


def refuse_autograd(nodes: list[Any]) -> None:
    """Raise BadInput if a node is neither a rule's nor a view's."""
    left = Counter(name_of(node) for node in nodes if rule_of(node) is None and not is_view(node))
    if left:
        listed = ", ".join(f"{name} {count}" for name, count in left.most_common(8))
        raise BadInput(
            f"the model has backward nodes of autograd, whose formulas this library does not have. got: {listed}. "
            "expected: rules alone. mb.audit shows where they are; write a rule for them (CONTRIBUTING.md), or compute "
            "that part without gradients"
        )


def unguarded(rule: type[Rule]) -> Any:
    """A rule's own backward, without the checks around it."""
    return UNGUARDED.get(rule.backward, rule.backward)


def part_of_graph(args: tuple) -> bool:
    """Whether the first argument of an edit in place is a view, and a derivative passes through the edit."""
    needed = any(isinstance(a, Tensor) and a.requires_grad for a in args)
    return needed and torch.is_grad_enabled() and args[0]._is_view()
