"""One training step (forward, loss, backward) and the bytes it keeps: ours against eager torch.nn.

python -m benchmarks.steps                         every network (about five minutes on two cores)
python -m benchmarks.steps --model gpt --rounds 30    one
python -m benchmarks.steps --compile               torch.compile's step and compile time besides

Contestants take turns in one process. "exact" is the default, "off" keeps every tensor as autograd does, "checkpoint"
is eager torch.nn with every block of the network under torch.utils.checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.bench.networks import NETWORKS

from .common import interleaved, ratio, table, write

TARGETS = ("mlp", "mnist_fast", "resnet18", "mixer-s16", "vit-tiny", "gpt")


def step(
    model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor], mode: str | None = None
) -> Callable[[], None]:
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


def checkpointed(model: nn.Module) -> nn.Module:
    """The children of the outermost Sequential, each recomputed in the backward."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(model.children())

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = checkpoint(layer, x, use_reentrant=False)
            return x

    return Checkpointed() if isinstance(model, nn.Sequential) else model


def measure(name: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Seconds of every contestant's steps, and bytes in each mode."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    model, x, y = network.build(), network.input(), network.target()
    ours = mb.convert(copy.deepcopy(model))
    steps = {
        "eager": step(model, x, y, F.cross_entropy),
        "exact": step(ours, x, y, mb.functional.cross_entropy, "exact"),
        "off": step(ours, x, y, mb.functional.cross_entropy, "off"),
    }
    if isinstance(model, nn.Sequential):
        steps["checkpoint"] = step(checkpointed(copy.deepcopy(model)), x, y, F.cross_entropy)
    found: dict[str, Any] = {"rounds": rounds}
    if compiled:
        steps["compile"] = step(torch.compile(copy.deepcopy(model)), x, y, F.cross_entropy)  # type: ignore[arg-type]
        start = time.perf_counter()
        steps["compile"]()
        found["compile seconds"] = time.perf_counter() - start
    found["seconds"] = interleaved(steps, rounds)
    found["bytes"] = {}
    for mode in ("exact", "off", "bf16", "int8", "int4"):
        with mb.saving(mode), mb.explicit():
            saved = mb.saved_bytes(ours, x, loss=lambda output: mb.functional.cross_entropy(output, y))
        found["bytes"][mode], found["bytes"]["eager"] = saved.ours, saved.twin
    return found


def summary(results: dict[str, dict[str, Any]]) -> str:
    """The two tables, times and bytes, with their geometric means."""
    names = [n for n in ("exact", "off", "checkpoint", "compile") if any(n in r["seconds"] for r in results.values())]
    times, sizes = [], []
    for network, found in results.items():
        seconds = found["seconds"]
        cells = []
        for name in names:
            if name not in seconds:
                cells.append("-")
                continue
            found_ratio = ratio(seconds[name], seconds["eager"])
            cells.append(str(found_ratio))
        built = f"{found['compile seconds']:.0f} s" if "compile seconds" in found else "-"
        times.append((network, f"{1e3 * statistics.median(seconds['eager']):.1f} ms", *cells, built))
        saved = found["bytes"]
        kept = [f"{saved[mode] / saved['eager']:.3f}" for mode in ("exact", "off", "bf16", "int8", "int4")]
        sizes.append((network, f"{saved['eager'] / 2**20:.1f} MiB", *kept))
    six = [r for n, r in results.items() if n in TARGETS]
    mean_time = statistics.geometric_mean([ratio(r["seconds"]["exact"], r["seconds"]["eager"]).value for r in six])
    mean_off = statistics.geometric_mean([ratio(r["seconds"]["off"], r["seconds"]["eager"]).value for r in six])
    mean_bytes = statistics.geometric_mean([r["bytes"]["exact"] / r["bytes"]["eager"] for r in six])
    return (
        "One step over eager torch.nn's, medians and quartiles of the paired ratios (below 1: faster than eager):\n\n"
        + table(("network", "eager", *names, "compiling"), times)
        + "\n\nBytes kept for the backward over eager torch.nn's:\n\n"
        + table(("network", "eager", "exact", "off", "bf16", "int8", "int4"), sizes)
        + f"\n\nGeometric means over {len(six)} networks ({', '.join(n for n in results if n in TARGETS)}): "
        + f'time {mean_time:.3f} in "exact", {mean_off:.3f} in "off"; bytes {mean_bytes:.3f} in "exact".'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, action="append")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    chosen = options.model or list(NETWORKS)
    many = {"mlp": 10, "mlp-gelu": 10, "mnist_fast": 5}  # short steps take more rounds
    results = {name: measure(name, options.rounds * many.get(name, 1), options.compile) for name in chosen}
    text = summary(results)
    print(text)
    if not options.model:
        write("steps", "A training step: time and bytes", text, results)


if __name__ == "__main__":
    main()
