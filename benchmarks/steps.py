"""One training step (forward, loss, backward) and the bytes it saves: ours against eager torch.nn.

python -m benchmarks.steps                            every network (about six minutes on two cores)
python -m benchmarks.steps --compile                  also torch.compile and its compile time (eight minutes more)
python -m benchmarks.steps --model gpt --rounds 30    one, without writing results

Contestants run alternately in one process; manual_backprop/bench/steps.py describes them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable

from manual_backprop.bench.networks import NETWORKS, SMALL
from manual_backprop.bench.peers import PEERS
from manual_backprop.bench.steps import BUDGET, CONTESTANTS, MODES, Step, measure
from manual_backprop.bench.timing import disturbed, duration, threads

from .common import bars, table, write

SIX = ("mlp", "mnist_fast", "resnet18", "mixer-s16", "vit-tiny", "gpt")
"""The networks that have targets."""

TIME, SMALL_TIME, MEAN_TIME, MEAN_BYTES = 1.02, 1.05, 0.97, 0.57
"""Targets for "exact" relative to eager, upper limits: the time of each of the six networks and of each small network,
and the geometric means of time and bytes over the six."""


def verdict(value: float, target: float, digits: int = 2) -> str:
    """Whether the number, as printed, is at most the target."""
    return "met" if round(value, digits) <= target else "missed"


def summary(results: dict[str, Step]) -> str:
    """The two tables, times and bytes, with their geometric means."""
    tried = {n for r in results.values() for n in (*r.seconds, *r.missing)}
    names = [n for n in (*CONTESTANTS[1:], "compile", *PEERS) if n in tried]
    times, sizes = [], []
    for network, found in results.items():
        cells = [_over_eager(found, name) for name in names]
        built = "-" if found.compiling is None else duration(found.compiling)
        most = TIME if network in SIX else SMALL_TIME if network in SMALL else None
        met = "-" if most is None else f"exact at most {most:.2f}: {verdict(found.ratio('exact').value, most)}"
        times.append((network, duration(statistics.median(found.seconds["eager"])), *cells, built, met))
        kept = [f"{found.saved(mode):.3f}" for mode in MODES]
        sizes.append((network, f"{found.bytes['eager'] / 2**20:.1f} MiB", *kept))
    return (
        "Time of a step over eager torch.nn's: medians, and quartiles of the ratios per round (below 1: faster than "
        "eager):\n\n"
        + table(("network", "eager", *names, "compiling", "target"), times)
        + "\n\nBytes saved for the backward, divided by eager torch.nn's:\n\n"
        + table(("network", "eager", *MODES), sizes)
        + f"\n\n{means(results)}"
        + "".join(f"\n\n{line}" for line in notes(results))
    )


def _over_eager(found: Step, name: str) -> str:
    return str(found.ratio(name)) if name in found.seconds else "n/a" if name in found.missing else "-"


def means(results: dict[str, Step]) -> str:
    """The geometric means over the measured networks of the six, and whether they reach their targets."""
    six = {name: found for name, found in results.items() if name in SIX}
    if not six:
        return "None of the six networks with targets was measured."
    time = statistics.geometric_mean([found.ratio("exact").value for found in six.values()])
    off = statistics.geometric_mean([found.ratio("off").value for found in six.values()])
    kept = statistics.geometric_mean([found.saved("exact") for found in six.values()])
    return (
        f"Geometric means over {len(six)} networks ({', '.join(six)}), with default settings: "
        f"time {time:.3f} (at most {MEAN_TIME}: {verdict(time, MEAN_TIME, 3)}), "
        f"bytes {kept:.3f} (at most {MEAN_BYTES}: {verdict(kept, MEAN_BYTES, 3)}). Time {off:.3f} with `off`."
    )


def notes(results: dict[str, Step]) -> Iterable[str]:
    """Reasons for each n/a in the tables, and whether the machine was busy."""
    for network, found in results.items():
        for name, reason in found.missing.items():
            yield f"n/a: {name} of {network}, {reason}."
    yield from filter(None, [disturbed([found.spread for found in results.values()])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, action="append")
    parser.add_argument("--rounds", type=int, help="default: as many as fit into the budget")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for a network (default %(default)s)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    contestants = (*CONTESTANTS, *["compile"] * options.compile, *PEERS)
    results = {}
    with threads(options.threads):
        for name in options.model or NETWORKS:
            results[name] = measure(NETWORKS[name], contestants, options.rounds, options.budget)
            print(name, *(f"{n} {results[name].ratio(n)}" for n in results[name].seconds if n != "eager"), flush=True)
        text = summary(results)
        print(text)
        if options.model:
            return
        write("steps", "A training step: time and bytes", f"![times as fast as eager](steps.png)\n\n{text}",
              {name: found.json() for name, found in results.items()})  # fmt: skip
        shown = ("exact", "off", "checkpoint", "compile")
        speeds = {n: {k: 1 / r.ratio(n).value for k, r in results.items() if n in r.seconds} for n in shown}
        bars("steps", {name: values for name, values in speeds.items() if values}, "times as fast as eager torch.nn",
             alike=True)  # fmt: skip


if __name__ == "__main__":
    main()
