"""One training step (forward, loss, backward) of a network, and the bytes it saves: ours against eager torch.nn.

Contestants: "eager" is torch.nn; "exact" is ours with default settings; "off" is ours with every tensor saved, as
autograd does; "checkpoint" is eager with every block under torch.utils.checkpoint; "compile" is eager under
torch.compile; "written" is ours as a written program, `mb.write_out(...).step()`; and the libraries of peers.py.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb

from .._observe import watch_saved
from ..engine import node
from ..engine.torch_private import compiling_from_nothing
from ..listing.step import Step as WrittenStep
from ..saving import size
from .networks import Network
from .peers import PEERS, limited
from .timing import Ratio, disturbed, duration, interleaved, now, ratio, spread

CONTESTANTS = ("eager", "exact", "off", "checkpoint")
"""Contestants by default. "compile" and "written" take long before their first step; they and peers are optional."""

MODES = ("exact", "off", "bf16", "int8", "int4")
BUDGET = 16.0
"""Seconds for all contestants of one network, where the number of rounds is not given."""

HEAD = ("contestant", "step", "over eager (quartiles)", "saved bytes", "over eager's")


@dataclass(frozen=True)
class Step:
    """Measurements of one network: seconds of each contestant's steps; saved bytes of eager, compile and each mode.

    missing: contestants that could not run -> reason. compiling, writing: seconds of the first call of the contestants
    "compile" and "written".
    """

    seconds: dict[str, list[float]]
    bytes: dict[str, int]
    missing: dict[str, str] = field(default_factory=dict)
    compiling: float | None = None
    writing: float | None = None

    def ratio(self, name: str) -> Ratio:
        """A contestant's time divided by eager's: below 1 is faster."""
        return ratio(self.seconds[name], self.seconds["eager"])

    def saved(self, mode: str) -> float:
        """Saved bytes of a contestant divided by eager's."""
        return self.bytes[mode] / self.bytes["eager"]

    @property
    def spread(self) -> float:
        """See `timing.spread`."""
        return spread(*self.seconds.values())

    def json(self) -> dict[str, Any]:
        times = {name: {"median": statistics.median(s), "over eager": self.ratio(name)._asdict()}
                 for name, s in self.seconds.items()}  # fmt: skip
        return {"rounds": len(self.seconds["eager"]), "seconds": times, "spread": self.spread, "bytes": self.bytes,
                "missing": self.missing, "compiling": self.compiling, "writing": self.writing}  # fmt: skip

    def cells(self) -> list[tuple[str, ...]]:
        """Lines of a table under `HEAD`."""
        lines: list[tuple[str, ...]] = []
        for name, seconds in self.seconds.items():
            kept = (size(self.bytes[name]), f"{self.saved(name):.2f}") if name in self.bytes else ("-", "-")
            lines.append((name, duration(statistics.median(seconds)), str(self.ratio(name)), *kept))
        return lines

    def notes(self) -> list[str]:
        """Notes below the table: why contestants are missing, and the seconds of first calls."""
        notes = [f"{name}: n/a, {reason}" for name, reason in self.missing.items()]
        notes += filter(None, [disturbed([self.spread])])
        first = {"compile": self.compiling, "written": self.writing}
        return [*(f"{n}: {duration(s)} for the first call" for n, s in first.items() if s is not None), *notes]


def step(
    model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor], mode: str | None = None
) -> Callable[[], None]:
    """A function that runs one step; `mode` is that of `mb.saving`, None for torch's own functions."""
    parameters = list(model.parameters())

    def run() -> None:
        for p in parameters:
            p.grad = None
        if mode is None:
            loss(model(x), y).backward()
        else:
            with mb.saving(mode), mb.explicit():
                value = loss(model(x), y)
            value.backward()

    return run


def written(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """A function that runs one step of the written program."""
    parameters = list(model.parameters())
    program = WrittenStep(model, mb.functional.cross_entropy, None)

    def run() -> None:
        for p in parameters:
            p.grad = None
        program(x, targets=y)

    return run


class Checkpointed(nn.Module):
    """The children of a Sequential, each recomputed in the backward."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.ModuleList(model.children())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return x


def measure(network: Network, contestants: Sequence[str] = CONTESTANTS, rounds: int | None = None,
            budget: float = BUDGET, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Step:  # fmt: skip
    """Times the contestants alternately, "eager" included, and counts saved bytes.

    Of two steps in a row, the second is timed (see `timing.turns`). Peers run last, one by one, because their idle
    threads would occupy the others' cores.
    """
    node.wait()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x, y = network.build().to(device, dtype), network.input().to(device), network.target().to(device)
    x = x.to(dtype) if x.is_floating_point() else x
    ours = mb.convert(copy.deepcopy(model))
    steps, bytes = {"eager": step(model, x, y, F.cross_entropy)}, saved(ours, x, y)
    steps |= {m: step(ours, x, y, mb.functional.cross_entropy, m) for m in MODES if m in contestants}
    missing, compiling, writing = {}, None, None
    if "checkpoint" in contestants and not isinstance(model, nn.Sequential):
        missing["checkpoint"] = "the network is not a Sequential of blocks"
    elif "checkpoint" in contestants:
        steps["checkpoint"] = step(Checkpointed(copy.deepcopy(model)), x, y, F.cross_entropy)  # type: ignore[arg-type]
    if "compile" in contestants:
        compiled: Any = torch.compile(copy.deepcopy(model))
        start = now()
        try:
            with compiling_from_nothing():
                step(compiled, x, y, F.cross_entropy)()
            compiling = now() - start
            steps["compile"], bytes["compile"] = step(compiled, x, y, F.cross_entropy), kept(compiled, x, y)
        except Exception as error:  # a compiler may raise anything
            missing["compile"] = f"torch.compile failed: {type(error).__name__}"
    if "written" in contestants:
        start = now()
        steps["written"] = written(copy.deepcopy(ours), x, y)
        steps["written"]()
        writing = now() - start
    seconds = interleaved(steps, rounds, budget, lead=1)
    for name in [name for name in PEERS if name in contestants]:
        try:
            with limited():
                seconds |= interleaved({name: PEERS[name](model, x, y)}, len(seconds["eager"]), budget, lead=1)
        except NotImplementedError:
            continue  # this peer cannot run such a network
        except ImportError as error:
            missing[name] = str(error)
    return Step(seconds, bytes, missing, compiling, writing)


def saved(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, int]:
    """Bytes that forward and loss save: ours in each mode, and eager's."""
    found = {}
    for mode in MODES:
        with mb.saving(mode), mb.explicit():
            counted = mb.saved_bytes(model, x, loss=lambda output: mb.functional.cross_entropy(output, y))
        found[mode], found["eager"] = counted.ours, counted.twin
    return found


def kept(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Bytes of storages that forward and loss of a model save for the backward, without parameters and inputs."""
    storages: dict[int, Any] = {}

    def note(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        storages.setdefault(id(storage), storage)

    with watch_saved(note):
        F.cross_entropy(model(x), y)
    alive = {id(tensor.untyped_storage()) for tensor in (*model.parameters(), *model.buffers(), x, y)}
    return sum(storage.nbytes() for key, storage in storages.items() if key not in alive)
