"""The last layer and the loss of a large vocabulary (V 50,000): time, saved bytes and peak memory.

python -m benchmarks.vocabulary                     (under a minute on two cores)

"kept" is the memory allocated between forward and backward; "peak" is the largest allocated at any time in a step. Both
exclude parameters and inputs, and are counted by torch's own profiler on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import manual_backprop as mb

from .common import interleaved, ratio, table, write

Step = Callable[[], Tensor]


class Head(nn.Module):
    """The last Linear and the loss after it."""

    def __init__(self, linear: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.linear, self.loss = linear, loss

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return self.loss(self.linear(x), target)


def allocated(events: Any) -> list[int]:
    """Bytes that are in use after each allocation and release."""
    total, sizes = 0, [0]
    for event in events:
        if event.name() == "[memory]":
            total += event.nbytes()
            sizes.append(total)
    return sizes


def memory(forward: Step) -> tuple[int, int]:
    """Bytes in use after the forward, and the peak of forward and backward."""
    forward()  # frees the gradients of an earlier step
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as first:
        loss = forward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as second:
        loss.backward()
    begin, then = (allocated(p.profiler.kineto_results.events()) for p in (first, second))  # type: ignore[union-attr]
    return begin[-1], max(*begin, *(begin[-1] + size for size in then))


def contestants(width: int, classes: int) -> dict[str, tuple[nn.Module, dict[str, Any] | None]]:
    """Name -> module of (input, target), and its options of `mb.saving`; None for torch's own."""

    def seeded(make: Callable[[], nn.Module]) -> nn.Module:
        torch.manual_seed(0)
        return make()

    theirs, ours = nn, mb.nn
    found: dict[str, tuple[Callable[[], nn.Module], dict[str, Any] | None]] = {
        "torch.nn: Linear, CrossEntropyLoss": (
            lambda: Head(theirs.Linear(width, classes, bias=False), theirs.CrossEntropyLoss()),
            None,
        ),
        "ours: Linear, CrossEntropyLoss": (
            lambda: Head(ours.Linear(width, classes, bias=False), ours.CrossEntropyLoss()),
            {},
        ),
        'ours, saving("exact", logits_again=True)': (
            lambda: Head(ours.Linear(width, classes, bias=False), ours.CrossEntropyLoss()),
            {"logits_again": True},
        ),
        "ours: LinearCrossEntropyLoss": (lambda: ours.LinearCrossEntropyLoss(width, classes), {}),
    }
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        options = torch.nn.LinearCrossEntropyOptions()
        found["torch.nn: LinearCrossEntropyLoss in chunks"] = (
            lambda: theirs.LinearCrossEntropyLoss(width, classes, options=options),
            None,
        )
    return {name: (seeded(make), mode) for name, (make, mode) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    x = torch.randn(options.rows, options.width, requires_grad=True)
    target = torch.randint(options.classes, (options.rows,))

    def forward(module: nn.Module, mode: dict[str, Any] | None) -> Step:
        def run() -> Tensor:
            module.zero_grad()
            x.grad = None
            if mode is None:
                return module(x, target)
            with mb.saving("exact", **mode):
                return module(x, target)

        return run

    steps = {name: forward(*each) for name, each in contestants(options.width, options.classes).items()}
    found = {name: memory(step) for name, step in steps.items()}
    turns = {name: (lambda step=step: step().backward()) for name, step in steps.items()}
    seconds = interleaved(turns, options.rounds, warm_up=1)
    first = next(iter(steps))
    rows = [
        (
            name, f"{statistics.median(seconds[name]):.2f} s", f"{ratio(seconds[name], seconds[first])[0]:.2f}",
            f"{found[name][0] / 2**20:.0f} MiB", f"{found[name][1] / 2**20:.0f} MiB",
        )
        for name in steps
    ]  # fmt: skip
    size = options.rows * options.classes * 4 / 2**20
    text = (
        f"{options.rows:,} rows of width {options.width}, {options.classes:,} classes: the logits are {size:.0f} MiB, "
        f"the weight and its gradient {options.classes * options.width * 4 / 2**20:.0f} MiB each. Forward and "
        "backward, float32.\n\n" + table(("", "step", "over the first", "kept", "peak"), rows)
    )
    print(text)
    write("vocabulary", "A vocabulary of 50,000", text, {"seconds": seconds, "memory": found})


if __name__ == "__main__":
    main()
