"""How time and saved bytes of one training step grow with batch, width and depth: ours, eager torch.nn, torch.compile.

python -m benchmarks.growth                       (about a minute on two cores)
python -m benchmarks.growth --compile             also torch.compile (a few minutes more: it compiles every point)
python -m benchmarks.growth --against depth       one of the three, without writing results

The network is a multilayer perceptron with GELU. One axis is varied at a time; the others stay at BASE. A power law is
a straight line on log-log axes. Its exponent is fitted to the upper half of the points, because at lower points the
overhead of calls dominates.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from manual_backprop._style import BLUE, GREEN, MUTED, SETTINGS
from manual_backprop.bench.networks import Network
from manual_backprop.bench.steps import Step, measure
from manual_backprop.bench.timing import duration, threads
from manual_backprop.saving import size

from .common import draw, table, write

BASE = {"batch": 128, "width": 512, "depth": 4}
POINTS = {
    "batch": (16, 64, 256, 1024, 4096),
    "width": (64, 128, 256, 512, 1024, 2048),
    "depth": (1, 2, 4, 8, 16, 32),
}
LABELS = {"exact": "manual_backprop", "eager": "torch.nn, eager", "compile": "torch.compile"}
COLOURS = {"exact": BLUE, "eager": MUTED, "compile": GREEN}
Sweeps = Mapping[str, Mapping[int, Step]]
"""Axis that is varied -> its value -> what was measured there."""


def network(batch: int, width: int, depth: int) -> Network:
    """`depth` times Linear and GELU, then ten classes."""

    def build() -> nn.Module:
        blocks = [nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth)]
        return nn.Sequential(*blocks, nn.Linear(width, 10))

    return Network(build, lambda: torch.randn(batch, width), lambda: torch.randint(10, (batch,)))


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The exponent a of y = c x^a, fitted to the upper half of the points by least squares of the logarithms."""
    half = len(xs) // 2
    points = sorted(zip(xs, ys, strict=True))[half if len(xs) - half > 1 else 0 :]
    logs = [(math.log(x), math.log(y)) for x, y in points]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def lines(sweep: Mapping[int, Step]) -> dict[str, dict[str, dict[int, float]]]:
    """ "time" and "bytes" of every contestant at every point where it ran."""
    found: dict[str, dict[str, dict[int, float]]] = {"time": {}, "bytes": {}}
    for name in LABELS:
        times = {x: statistics.median(step.seconds[name]) for x, step in sweep.items() if name in step.seconds}
        kept = {x: float(step.bytes[name]) for x, step in sweep.items() if name in step.seconds}
        if len(times) > 1:
            found["time"][name], found["bytes"][name] = times, kept
    return found


def report(sweeps: Sweeps) -> str:
    """A table of the points for each axis, and a table of the exponents."""
    parts, slopes = [], []
    for axis, sweep in sweeps.items():
        others = ", ".join(f"{name} {value}" for name, value in BASE.items() if name != axis)
        found = lines(sweep)
        names = list(found["time"])
        rows = []
        for x, step in sweep.items():
            times = [duration(found["time"][name][x]) if x in found["time"][name] else "n/a" for name in names]
            kept = [size(round(found["bytes"][name][x])) if x in found["bytes"][name] else "n/a" for name in names]
            rows.append((x, *times, *kept, f"{step.ratio('exact').value:.2f}", f"{step.saved('exact'):.2f}"))
        head = (axis, *(f"{what}, {name}" for what in ("time", "bytes") for name in names), "time, exact / eager",
                "bytes, exact / eager")  # fmt: skip
        parts.append(f"## {axis} ({others})\n\n{table(head, rows)}")
        for what, by_name in found.items():
            fits = [f"{exponent(list(by_name[n]), list(by_name[n].values())):.2f}" for n in names]
            slopes.append((f"{what} against {axis}", fits))
    names = [name for name in LABELS if any(name in lines(sweep)["time"] for sweep in sweeps.values())]
    exponents = table(("exponent of the upper half of the points", *(LABELS[n] for n in names)),
                      [(what, *fits) for what, fits in slopes])  # fmt: skip
    return "\n\n".join([exponents, *parts])


def picture(sweeps: Sweeps) -> Any:
    """Time above, bytes below, one column for each axis."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=(3.1 * len(sweeps) + 0.4, 5.4), layout="constrained", facecolor="white")
        grid = figure.subplots(2, len(sweeps), squeeze=False)
        for column, (axis, sweep) in enumerate(sweeps.items()):
            for row, (what, by_name) in enumerate(lines(sweep).items()):
                axes = grid[row][column]
                for name, points in by_name.items():
                    xs, ys = list(points), list(points.values())
                    scaled = [1e3 * y if what == "time" else y / 2**20 for y in ys]
                    line = "o--" if name == "compile" else "o-"  # its bytes coincide with eager's
                    axes.loglog(xs, scaled, line, markersize=3.5, color=COLOURS[name],
                                label=f"{LABELS[name]}, exponent {exponent(xs, ys):.2f}")  # fmt: skip
                axes.set_xscale("log", base=2)
                axes.set_xticks(list(sweep), [str(x) for x in sweep])
                axes.set(xlabel=axis, ylabel="ms a step" if what == "time" else "MiB saved for the backward")
                axes.grid(True, which="major")
                axes.legend(loc="upper left", fontsize=6.5)
                axes.margins(y=0.15)
        figure.suptitle("One training step of a GELU perceptron", x=0.01, ha="left", fontsize=10)
        return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=POINTS, action="append")
    parser.add_argument("--points", type=int, help="measure only this many points of each axis, the smallest")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds for a point (default %(default)s)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    contestants = ("eager", "exact", *["compile"] * options.compile)
    sweeps: dict[str, dict[int, Step]] = {}
    with threads(options.threads):
        for axis in options.against or POINTS:
            sweeps[axis] = {}
            for x in POINTS[axis][: options.points]:
                sweeps[axis][x] = measure(network(**{**BASE, axis: x}), contestants, budget=options.budget)
                torch.compiler.reset()  # so that torch.compile does not reuse the code of other sizes
                print(axis, x, *(f"{cells[0]} {cells[1]}, {cells[3]}" for cells in sweeps[axis][x].cells()), flush=True)
        text = report(sweeps)
        print(text)
        if options.against or options.points:
            return
        about = "A multilayer perceptron with GELU: forward, loss and backward. Contestants run alternately; medians."
        body = f"{about}\n\n![time and bytes against batch, width and depth](growth.png)\n\n{text}"
        write("growth", "Cost over growth", body,
              {axis: {x: step.json() for x, step in sweep.items()} for axis, sweep in sweeps.items()})  # fmt: skip
        draw("growth", picture(sweeps))


if __name__ == "__main__":
    main()
