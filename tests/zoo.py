"""Networks of torchvision, timm and transformers, converted whole: one step in float64 against torch's own.

python -m tests.zoo                       every network (half an hour), what differs last
python -m tests.zoo resnet18 timm:        some: by name, or all of a library
python -m tests.zoo --out docs            also writes the table in docs/zoo.md, with bytes and times
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import logging
import os
import statistics
import unittest.mock
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop._files import write_atomically
from manual_backprop._nodes import is_view, name_of, rule_of
from manual_backprop._observe import differentiable, graph, watch_saved
from manual_backprop._within import Within
from manual_backprop.bench.timing import interleaved
from manual_backprop.saving import size

from .zoo_networks import BATCH, DETECTED, NETWORKS, Inputs
from .zoo_text import LENGTH, VOCABULARY

TOLERANCE = 1e-9
"""Of the largest gradient's norm, in float64: sums in another order through a hundred layers."""


COARSE = 1e-7
"""Of a network with hardsigmoid: ATen computes its backward with 1 / 6 in float32."""


@dataclass
class Step:
    """One network: how ours differs from torch's, and what is left to autograd."""

    name: str
    parameters: int
    loss: float
    """The relative difference of the losses."""
    gradients: float
    """The largest difference of a gradient, by norm, over the norm of the largest gradient."""
    nodes: int
    tolerance: float
    autograd: Counter[str] = field(default_factory=Counter)
    bytes: float = float("nan")
    """What the forward keeps in float32, ours over torch's, on inputs of the size that the network is meant for."""
    least: float = float("nan")
    """The same under `mb.saving("exact", logits_again=True)`."""
    kept: int = 0
    """Bytes that torch keeps."""
    time: float = float("nan")

    @property
    def right(self) -> bool:
        return self.loss <= TOLERANCE and self.gradients <= self.tolerance and not self.autograd

    def __str__(self) -> str:
        said = ", ".join(f"{name} {count}" for name, count in self.autograd.items()) or "-"
        return (
            f"{self.name:40} {self.nodes:5} nodes  loss {self.loss:.0e}  gradients {self.gradients:.0e}  "
            f"bytes {self.bytes:.3f} ({self.least:.3f}) of {size(self.kept)}  time {self.time:.2f}  autograd: {said}"
        )


def loss_of(output: Any) -> Tensor:
    """A loss of whatever a network returns: the mean squared distance of all that is differentiable from 1."""
    found = differentiable(output if not hasattr(output, "to_tuple") else output.to_tuple())
    return sum(((t - 1).square().mean() for t in found), torch.zeros((), dtype=torch.float64))


def run(model: torch.nn.Module, inputs: Inputs, dtype: torch.dtype) -> Tensor:
    """The loss of one forward, with the same random numbers each time."""
    torch.manual_seed(1)
    args, named = inputs(dtype)
    torch.manual_seed(2)
    output = model(*args, **named)
    with mb.explicit() if isinstance(model, Within) else nullcontext():
        return loss_of(output)


@contextmanager
def no_float32() -> Iterator[None]:
    """What transformers compute in float32 on purpose (norms, softmax, positions) is in float64, too."""
    with (
        unittest.mock.patch.object(torch, "float32", torch.float64),
        unittest.mock.patch.object(torch, "float", torch.float64),
        unittest.mock.patch.object(Tensor, "float", Tensor.double),
    ):
        yield


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def step(name: str, measured: bool = False) -> Step:
    """Build a network, convert a copy of it, run one step of each."""
    network = NETWORKS[name]
    inputs = network.inputs
    torch.manual_seed(0)
    theirs = network.build().double().train()
    ours = mb.convert(copy.deepcopy(theirs), whole=True)
    with no_float32() if name.startswith("transformers:") else nullcontext():
        expected = run(theirs, inputs, torch.float64)
        found = run(ours, inputs, torch.float64)
    expected.backward()
    nodes = graph([found])
    autograd = Counter(name_of(node) for node in nodes if rule_of(node) is None and not is_view(node))
    hard = any(name_of(node).startswith("Hardsigmoid") for node in nodes)
    found.backward()
    grads, mine = gradients(theirs), gradients(ours)
    largest = max([g.norm().item() for g in grads.values()])
    worst = max([(grads[n] - mine[n]).norm().item() if n in mine else float("inf") for n in grads])
    result = Step(
        name,
        sum(p.numel() for p in theirs.parameters()),
        (found - expected).abs().item() / max(expected.abs().item(), 1e-30),
        worst / largest,
        len(nodes),
        COARSE if hard else TOLERANCE,
        autograd,
    )
    if measured:
        result.time = times(theirs.float(), ours.float(), inputs)
    return result


def times(theirs: torch.nn.Module, ours: torch.nn.Module, inputs: Inputs) -> float:
    """The time of a step in float32 on the small inputs, ours over torch's, after the steps in which calls are
    recorded."""

    def step(model: torch.nn.Module) -> None:
        model.zero_grad()
        run(model, inputs, torch.float32).backward()

    took = interleaved({"ours": lambda: step(ours), "torch": lambda: step(theirs)}, rounds=9, warm_up=4)
    return statistics.median(took["ours"]) / statistics.median(took["torch"])


def kept(name: str) -> tuple[int, int, int]:
    """Bytes that the forward of a network keeps in float32: torch's, ours, and ours where it makes logits again."""
    network = NETWORKS[name]
    torch.manual_seed(0)
    model = network.usual_build().train()
    theirs = saved(model, network.usual_inputs)
    model = mb.convert(model, whole=True)
    ours = saved(model, network.usual_inputs)
    with mb.saving("exact", logits_again=True):
        return theirs, ours, saved(model, network.usual_inputs)


def saved(model: torch.nn.Module, inputs: Inputs) -> int:
    """Bytes of the storages that one forward and its loss save for the backward, but for parameters and buffers."""
    held: dict[int, Any] = {}  # by id(); holding a storage keeps its number from being used anew

    def note(tensor: Tensor) -> None:
        held.setdefault(id(tensor.untyped_storage()), tensor.untyped_storage())

    for tensor in (*model.parameters(), *model.buffers()):
        note(tensor)
    own = sum(storage.nbytes() for storage in held.values())
    with watch_saved(note):
        run(model, inputs, torch.float32)
    return sum(storage.nbytes() for storage in held.values()) - own


HEAD = f"""# A zoo of networks

One training step of each, random weights: built, copied, `mb.convert(copy, whole=True)`, both run with equal numbers.

`loss` and `gradients` are the largest differences in float64 on small inputs, relative (of a gradient: by norm, over
the norm of the largest one). `autograd` are backward nodes that are no rule, nor a view or copy.

`torch keeps` and `bytes` are measured in float32 on what a network is meant for: {BATCH} pictures of its own size
(224 for most; of segmentation 224, of detection {DETECTED} or what it was made for), {BATCH} clips of 16 frames,
{BATCH} texts of {LENGTH} tokens with a vocabulary of {VOCABULARY:,} and a width of 768, where the network has no
sizes of its own. Counted is the storage of what autograd saves in one forward and its loss, each once, without
parameters and buffers; ours over torch's. `logits again` is the same ratio under `mb.saving("exact",
logits_again=True)`, which loses nothing either.

`time` is a step in float32, ours over torch's, on the small inputs, where it is mostly the cost of calls; speed at
usual sizes is measured in [benchmarks](../benchmarks/results). Written by `python -m tests.zoo --out docs`.
"""


def written(steps: list[Step], folder: Path) -> None:
    """Write the table of all networks."""
    libraries = {name.partition(":")[0] for name in NETWORKS}
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", *sorted(libraries)))
    rows = [
        f"| {s.name} | {s.parameters:,} | {s.nodes} | {sum(s.autograd.values())} | {s.loss:.0e} | {s.gradients:.0e} "
        f"| {size(s.kept)} | {s.bytes:.2f} | {s.least:.2f} | {s.time:.2f} |"
        for s in steps
    ]
    means = [
        statistics.geometric_mean([max(ratio, 1e-9) for ratio in of])
        for of in zip(*[(s.bytes, s.least) for s in steps], strict=True)
    ]
    columns = (
        "| network | parameters | nodes | autograd | loss | gradients | torch keeps | bytes | logits again | time |"
    )
    said = f"Geometric mean of the bytes: {means[0]:.3f}; with logits again {means[1]:.3f}."
    text = "\n".join([HEAD, versions, "", columns, "|---" * 10 + "|", *rows, "", said])
    write_atomically(folder / "zoo.md", f"{text}\n".encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--measure", action="store_true", help="bytes and times, too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    chosen = [n for n in NETWORKS if not options.names or any(n == p or n.startswith(p) for p in options.names)]
    steps = []
    for name in chosen:
        try:
            measured = options.measure or options.out is not None
            result = step(name, measured)
            if measured:
                result.kept, ours, least = kept(name)
                result.bytes, result.least = ours / result.kept, least / result.kept
            steps.append(result)
            print(steps[-1], flush=True)
        except Exception as error:
            print(f"{name:40} {type(error).__name__}: {str(error)[:300]}", flush=True)
    if options.out is not None:
        written(steps, options.out)
    right = sum(s.right for s in steps)
    print(f"{right} of {len(chosen)} networks run on rules alone, with torch's loss and gradients")
    return 0 if right == len(chosen) else 1


if __name__ == "__main__":
    os._exit(main())
