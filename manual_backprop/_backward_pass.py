"""Runs one batch forward and backward, and records each call of a module. `trace` makes a table of the records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ._observe import Call, Watch, differentiable, graph, graph_leaves, is_leaf, leaves, tensors, unchanged
from ._statistics import at_rest, layers, numbers, root, square_sum, units_last
from .engine.torch_private import next_sequence_number, sequence_number
from .errors import BadInput

LOSS: Call = ("(loss)", 1)


@dataclass
class Seen:
    """The record of one call of a module, or of the loss.

    `nodes` are the backward nodes that the call made itself, outside its children's forwards. `deltas` has one entry
    per differentiable output: the derivative of the loss with respect to it, summed over all its uses; None where the
    loss does not depend on it. `dead` is the share of units that were zero for the whole batch, for ReLU and its like.
    `parameters` are those whose gradients `nodes` compute.
    """

    module: Any
    input_shapes: list[tuple[int, ...]]
    input_rms: float | None
    output_shapes: list[tuple[int, ...]] = field(default_factory=list)
    output_rms: float | None = None
    dead: float | None = None
    deltas: list[Tensor | None] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    parameters: list[torch.nn.Parameter] = field(default_factory=list)


@dataclass
class Pass:
    """The calls that made backward nodes of their own, ordered by the last node of each; then the loss.

    `all_calls` also has the other calls. `gradients` has the gradient of every leaf; a parameter that several calls
    share has the sum.
    """

    loss: float
    calls: dict[Call, Seen]
    all_calls: dict[Call, Seen]
    gradients: dict[Tensor, Tensor]


def run(model: torch.nn.Module, inputs: tuple, targets: Any, loss: Callable[[Any, Any], Any]) -> Pass:
    """Run `loss(model(*inputs), targets)` forward and backward. Leaves model and loss unchanged.

    Raises BadInput for a lazy model, and for a loss that is not a scalar or depends on nothing differentiable.
    """
    seen: dict[Call, Seen] = {}
    handles: list[Any] = []
    watched, last = set(layers(model).values()), False

    def enter(module: Any, call: Call, value: Any) -> None:
        seen[call] = Seen(module, _shapes(value), rms(numbers(value)))

    def leave(module: Any, call: Call, _: Any, value: Any) -> None:
        nonlocal last
        entry = seen[call]
        # measured now: a later layer may overwrite the output in place
        entry.output_shapes, entry.output_rms = _shapes(value), rms(numbers(value))
        if module in watched:
            unit = units_last(module)
            last = last if unit is None else unit
            resting = [rest for output in numbers(value) if (rest := at_rest(module, output, last)) is not None]
            entry.dead = float(resting[0].float().mean()) if resting else None
        for index, output in enumerate(differentiable(value)):
            entry.deltas.append(None)
            handles.append(output.register_hook(_keep(entry.deltas, index)))

    with unchanged(model, inputs, targets), unchanged(loss):
        try:
            with Watch(model, enter, leave) as watch:
                args, wanted = leaves((inputs, targets))
                output = model(*args)
                start = next_sequence_number()
                enter(loss, LOSS, output)
                value = _scalar(loss(output, wanted))
                leave(loss, LOSS, None, value)
            for node in graph([value, *differentiable(output)]):
                # nodes made during the loss count as the loss's, whichever modules it calls
                call = LOSS if sequence_number(node) >= start else watch.owner(node)
                if call in seen:
                    seen[call].nodes.append(node)
            for entry in seen.values():  # before the backward frees the graph: torch 2.11 then forgets nodes' parents
                entry.parameters = _parameters_of(entry.nodes)
            arrive = graph_leaves([value])
            gradients = dict(zip(arrive, torch.autograd.grad(value, arrive), strict=True))
        finally:
            for handle in handles:
                handle.remove()
    own = sorted((c for c in seen if seen[c].nodes and c != LOSS), key=lambda c: sequence_number(seen[c].nodes[-1]))
    return Pass(float(value.detach()), {call: seen[call] for call in (*own, LOSS)}, seen, gradients)


def _parameters_of(nodes: list[Any]) -> list[torch.nn.Parameter]:
    behind = (parent for node in nodes for parent, _ in node.next_functions if parent is not None)
    found = dict.fromkeys(node.variable for node in behind if is_leaf(node))
    return [leaf for leaf in found if isinstance(leaf, torch.nn.Parameter)]


def _keep(deltas: list[Tensor | None], index: int) -> Callable[[Tensor], None]:
    def hook(delta: Tensor) -> None:
        deltas[index] = delta.detach()

    return hook


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise BadInput(f"the loss is not a scalar. got: {got}. Take the mean or the sum, as with reduction='mean'")
    if not value.requires_grad:
        raise BadInput(
            "the loss depends on nothing differentiable, so there is no backward to trace: let parameters or inputs "
            "require gradients, and do not detach in between"
        )
    return value


def _shapes(value: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors(value)]


def rms(values: Sequence[Tensor]) -> float | None:
    """Root mean square over the elements of all tensors; None without a tensor, NaN without an element."""
    if not values:
        return None
    return root(sum(float(square_sum(value)) for value in values), sum(value.numel() for value in values))


def difference(ours: Pass, theirs: Pass, call: Call) -> float | None:
    """Relative difference between one call's delta and gradients in two passes; None where the two do not match up.

    It is the larger of two numbers: max |ours - theirs| / max |theirs| over delta, and the same over the gradients.
    """
    one, other = ours.calls[call], theirs.all_calls.get(call)
    parameters = [parameter for parameter in one.parameters if parameter in ours.gradients]
    if other is None or not all(parameter in theirs.gradients for parameter in parameters):
        return None
    if [d is None or d.shape for d in one.deltas] != [d is None or d.shape for d in other.deltas]:
        return None
    gradients = [(ours.gradients[parameter], theirs.gradients[parameter]) for parameter in parameters]
    deltas = [(a, b) for a, b in zip(one.deltas, other.deltas, strict=True) if a is not None and b is not None]
    return _largest([_relative(deltas), _relative(gradients)])


def _relative(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    dense = [tuple(t.to_dense() if t.layout != torch.strided else t for t in pair) for pair in pairs]
    off = _largest(float((a - b).abs().max()) for a, b in dense if a.numel())
    size = _largest(float(b.abs().max()) for _, b in dense if b.numel())
    return off if off == 0 else off / size if size else math.inf


def _largest(values: Iterable[float]) -> float:
    """The maximum of numbers that are not negative: 0 without any, NaN when one of them is NaN."""
    values = list(values)
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)
