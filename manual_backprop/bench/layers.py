"""One layer, forward and backward, ours against torch.nn's: measured, compared with its target, printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import manual_backprop as mb

from ..engine import node
from ..engine.torch_private import tree_map
from ..errors import BadInput
from .rows import MEANS, SIZES, Row
from .timing import Ratio, duration, now, ratio, spread, turns

BUDGETS = {"tiny": 0.3, "64k": 0.6, "4M": 1.2}
"""Seconds that a row may take at each size, where the number of rounds is not given."""

PARTS = ("forward", "backward", "both")
HEAD = ("layer", "input", "torch", "ours", "forward", "backward", "both (quartiles)", "target", "")

Seconds = tuple[float, float, float]
"""Seconds of the forward, of the backward, of both."""


@dataclass(frozen=True)
class Measured:
    """A layer at one size: median seconds of ours and torch's, and the speed relative to torch's, by part."""

    layer: str
    group: str
    size: str
    shape: tuple[int, ...]
    target: float
    rounds: int
    ours: dict[str, float]
    torch: dict[str, float]
    speed: dict[str, Ratio]
    spread: float
    """See `timing.spread`."""

    @property
    def met(self) -> bool:
        """Whether the number, as printed, reaches the target."""
        return round(self.speed["both"].value, 2) >= self.target

    def json(self) -> dict[str, Any]:
        speed = {part: found._asdict() for part, found in self.speed.items()}
        return {**vars(self), "shape": list(self.shape), "speed": speed, "met": self.met}

    def cells(self) -> tuple[str, ...]:
        """One line of the table under `HEAD`."""
        both, forward, backward = (self.speed[part] for part in ("both", "forward", "backward"))
        times = (duration(seconds["both"]) for seconds in (self.torch, self.ours))
        verdict = "met" if self.met else "missed"
        shape = " x ".join(map(str, self.shape))
        return (self.layer, shape, *times, f"{forward.value:.2f}", f"{backward.value:.2f}", str(both),
                f"{self.target:.2f}", verdict)  # fmt: skip


def step(
    row: Row, nn: Any, size: str, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Callable[[], Seconds]:
    """A function that runs one forward and one backward of the row's layer and returns their seconds."""
    shape = row.shapes[size]
    layer = row.make(nn, shape).to(device, dtype)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        inputs = [value.to(device, dtype if value.is_floating_point() else None) for value in row.inputs(shape)]
        delta = tree_map(torch.randn_like, row.call(layer, *inputs))
    leaves: list[torch.Tensor] = list(layer.parameters())
    if inputs[0].is_floating_point():
        leaves.append(inputs[0].requires_grad_())

    def run() -> Seconds:
        start = now()
        output = row.call(layer, *inputs)
        middle = now()
        torch.autograd.grad(output, leaves, delta)
        end = now()
        return middle - start, end - middle, end - start

    return run


def compare(row: Row, size: str, ours: Callable[[], Seconds], theirs: Callable[[], Seconds],
            rounds: int | None = None, budget: float | None = None) -> Measured:  # fmt: skip
    """Runs both contestants' steps alternately; see `timing.turns` for rounds and budget."""
    found = turns({"ours": ours, "torch": theirs}, rounds, BUDGETS[size] if budget is None else budget)
    columns = {name: dict(zip(PARTS, zip(*calls, strict=True), strict=True)) for name, calls in found.items()}
    medians = {name: {part: statistics.median(c) for part, c in parts.items()} for name, parts in columns.items()}
    speed = {part: ratio(columns["torch"][part], columns["ours"][part]) for part in PARTS}
    return Measured(row.name, row.group, size, row.shapes[size], row.target(size), len(found["ours"]), medians["ours"],
                    medians["torch"], speed, spread(*(parts["both"] for parts in columns.values())))  # fmt: skip


def measure(row: Row, size: str, device: str = "cpu", dtype: torch.dtype = torch.float32, rounds: int | None = None,
            budget: float | None = None) -> Measured:  # fmt: skip
    """The row's layer of `mb.nn` against torch.nn's. Raises BadInput where one does not support dtype or device."""
    node.wait()
    try:
        ours, theirs = (step(row, nn, size, device, dtype) for nn in (mb.nn, torch.nn))
        return compare(row, size, ours, theirs, rounds, budget)
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"{row.name} cannot run in {dtype} on {device}: {error}") from error


def of_size(found: Iterable[Measured]) -> dict[str, list[Measured]]:
    """The measured layers by size."""
    found = list(found)
    return {size: chosen for size in SIZES if (chosen := [m for m in found if m.size == size])}


def means(found: Sequence[Measured]) -> dict[str, tuple[float, float | None]]:
    """Group -> geometric mean of its speeds at one size, and its target if it has one."""
    groups = dict.fromkeys(m.group for m in found)
    return {
        group: (
            statistics.geometric_mean([m.speed["both"].value for m in found if m.group == group]),
            MEANS.get(group, {}).get(found[0].size),
        )
        for group in groups
    }


def mean_cells(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Lines of a table of `means`: group, layers, geometric mean, target, met or missed."""
    lines: list[tuple[str, ...]] = []
    for group, (mean, target) in means(found).items():
        verdict = "-" if target is None else "met" if round(mean, 2) >= target else "missed"
        count = sum(m.group == group for m in found)
        lines.append((group, str(count), f"{mean:.2f}", "-" if target is None else f"{target:.2f}", verdict))
    return lines


def missed(found: Iterable[Measured]) -> str:
    """One line on the rows that are slower than their targets."""
    found = list(found)
    slow = [f"{m.layer} {m.speed['both'].value:.2f}" for m in found if not m.met]
    return f"{len(found) - len(slow)} of {len(found)} rows meet their target" + (
        f"; missed: {', '.join(slow)}." if slow else "."
    )
