"""The cost of the context: a converted network's training step inside `mb.explicit()`, over the same step without it.

python -m benchmarks.context                       (a minute on two cores)
python -m benchmarks.context --rounds 20           fewer rounds, without writing results

Small networks, where the overhead of calls counts most. The loss is `mb.functional.cross_entropy` in both. "whole": the
network converted with `whole=True`, whose forward enters the context itself.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from typing import Any

import torch

import manual_backprop as mb
from manual_backprop.bench.networks import SMALL, Network
from manual_backprop.bench.timing import duration, threads

from .common import interleaved, ratio, table, write

TARGET = 1.05


def steps(network: Network) -> dict[str, Callable[[], None]]:
    """The three steps, each on its own copy of the network."""
    torch.manual_seed(0)
    original, x, y = network.build(), network.input(), network.target()

    def plain(model: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            model.zero_grad()
            mb.functional.cross_entropy(model(x), y).backward()

        return run

    def inside(model: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            model.zero_grad()
            with mb.explicit():
                value = mb.functional.cross_entropy(model(x), y)
            value.backward()

        return run

    def converted(**options: Any) -> torch.nn.Module:
        return mb.convert(copy.deepcopy(original), **options)

    return {"plain": plain(converted()), "inside": inside(converted()), "whole": plain(converted(whole=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rows, results = [], []
    with threads(2):
        for name, network in SMALL.items():
            seconds = interleaved(steps(network), options.rounds, budget=8, lead=1)
            cost = {key: ratio(seconds[key], seconds["plain"]) for key in ("inside", "whole")}
            met = "met" if cost["inside"].value <= TARGET else "missed"
            median = duration(statistics.median(seconds["plain"]))
            rows.append((name, median, *map(str, cost.values()), f"at most {TARGET}: {met}"))
            results.append({"network": name, "seconds": seconds})
            print(*rows[-1], flush=True)
    text = table(("network", "step without", "inside / without", "whole / without", "target"), rows)
    if options.rounds is None:
        write("context", "The cost of the context", f"Medians, quartiles in brackets.\n\n{text}", results)


if __name__ == "__main__":
    main()
