"""One forward and backward of one batch, and what every call of a module showed in it: what `trace` makes rows of."""

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
    """One call of a module, or of the loss.

    `nodes` are the backward nodes that it made outside of its children's forwards. `deltas` has an entry per
    differentiable output: the derivative of the loss by it, by way of everything that uses it; None where the loss
    does not depend on it. `dead` is the share of units at rest, for ReLU and its like. `parameters` are those that
    `nodes` hand gradients to.
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
    """The calls that made backward nodes of their own, in the order in which they made their last; then the loss.

    `all_calls` has the others, too; `gradients` those of all leaves, parameters shared by several calls summed.
    """

    loss: float
    calls: dict[Call, Seen]
    all_calls: dict[Call, Seen]
    gradients: dict[Tensor, Tensor]


def run(model: torch.nn.Module, inputs: tuple, targets: Any, loss: Callable[[Any, Any], Any]) -> Pass:
    """Run `loss(model(*inputs), targets)` forward and backward; nothing of model and loss changes.

    Raises BadInput for a lazy model, and for a loss that is no scalar or depends on nothing differentiable.
    """
    seen: dict[Call, Seen] = {}
    handles: list[Any] = []
    watched, last = set(layers(model).values()), False

    def enter(module: Any, call: Call, value: Any) -> None:
        seen[call] = Seen(module, _shapes(value), rms(numbers(value)))

    def leave(module: Any, call: Call, _: Any, value: Any) -> None:
        nonlocal last
        entry = seen[call]
        # now, since what comes behind may overwrite the output in place
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
                # whichever modules the loss may call, its nodes are the loss's
                call = LOSS if sequence_number(node) >= start else watch.owner(node)
                if call in seen:
                    seen[call].nodes.append(node)
            for entry in seen.values():  # now: in torch 2.11 nodes know their parents only while the graph lives
                entry.parameters = _handed_to(entry.nodes)
            arrive = graph_leaves([value])
            gradients = dict(zip(arrive, torch.autograd.grad(value, arrive), strict=True))
        finally:
            for handle in handles:
                handle.remove()
    own = sorted((c for c in seen if seen[c].nodes and c != LOSS), key=lambda c: sequence_number(seen[c].nodes[-1]))
    return Pass(float(value.detach()), {call: seen[call] for call in (*own, LOSS)}, seen, gradients)


def _handed_to(nodes: list[Any]) -> list[torch.nn.Parameter]:
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
        raise BadInput(f"the loss gave {got}, expected a scalar: take the mean or the sum, as with reduction='mean'")
    if not value.requires_grad:
        raise BadInput(
            "the loss depends on nothing differentiable, so there is no backward to trace: let parameters or inputs "
            "require gradients, and do not detach in between"
        )
    return value


def _shapes(value: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors(value)]


def rms(values: Sequence[Tensor]) -> float | None:
    """Root mean square of all elements of all tensors together; None for no tensor, NaN for no element."""
    if not values:
        return None
    return root(sum(float(square_sum(value)) for value in values), sum(value.numel() for value in values))


def difference(ours: Pass, theirs: Pass, call: Call) -> float | None:
    """How far one call's delta and gradients are from another pass's; None where the two do not line up.

    max |ours - theirs| / max |theirs| over delta, the same over the call's gradients together, the larger of both.
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
    """The maximum of what is not negative; NaN when one of them is."""
    values = list(values)
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)
