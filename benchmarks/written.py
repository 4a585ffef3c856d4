"""The training step as a written program against eager torch.nn, and the duration of its first call.

python -m benchmarks.written                             every network with a target (about three minutes on two cores)
python -m benchmarks.written --model mlp-16 --compile    one, also with torch.compile, without writing results

Contestants run alternately in one process; manual_backprop/bench/steps.py describes them.
"""

from __future__ import annotations

import argparse
import statistics

from manual_backprop.bench.networks import FEW, NETWORKS
from manual_backprop.bench.steps import BUDGET, Step, measure
from manual_backprop.bench.timing import disturbed, duration, threads

from .common import table, write
from .steps import SIX, verdict

TARGETS = {"mlp-16": 0.80, "mlp-relu": 0.60, "mlp-small": 0.60, "lenet-5": 0.90}
"""Targets: at most this time of the written step, divided by eager's."""

MEAN, FIRST = 0.97, 2.0
"""Targets: at most this geometric mean over the six networks of benchmarks/steps.py, these seconds of a first call."""

ALL = FEW | NETWORKS


def summary(results: dict[str, Step]) -> str:
    rows = []
    for name, found in results.items():
        target = TARGETS.get(name)
        met = "-" if target is None else f"at most {target:.2f}: {verdict(found.ratio('written').value, target)}"
        assert found.writing is not None
        compiled = (
            (str(found.ratio("compile")), duration(found.compiling)) if found.compiling is not None else ("-", "-")
        )
        first = f"{duration(found.writing)}, {verdict(found.writing, FIRST)}"
        eager, written = (duration(statistics.median(found.seconds[n])) for n in ("eager", "written"))
        ratios = str(found.ratio("written")), str(found.ratio("exact"))
        rows.append((name, eager, written, *ratios, met, first, *compiled))
    head = ("network", "eager", "written", "written over eager", "converted over eager", "target", "first call",
            "compile over eager", "its first call")  # fmt: skip
    text = table(head, rows)
    six = [found.ratio("written").value for name, found in results.items() if name in SIX]
    if len(six) == len(SIX):
        mean = statistics.geometric_mean(six)
        text += f"\n\nGeometric mean of the six ({', '.join(SIX)}): {mean:.3f} (at most {MEAN}: {verdict(mean, MEAN)})."
    noise = disturbed([found.spread for found in results.values()])
    return "\n\n".join([text, *([noise] if noise else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ALL, action="append")
    parser.add_argument("--rounds", type=int, help="default: as many as fit into the budget")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for a network (default %(default)s)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    contestants = ("eager", "exact", "written", *["compile"] * options.compile)
    results = {}
    with threads(options.threads):
        for name in options.model or (*TARGETS, *SIX):
            results[name] = measure(ALL[name], contestants, options.rounds, options.budget)
            print(name, *(f"{n} {results[name].ratio(n)}" for n in results[name].seconds if n != "eager"), flush=True)
    print(summary(results))
    if not options.model:
        write("written", "The written step: time", summary(results), {n: found.json() for n, found in results.items()})


if __name__ == "__main__":
    main()
