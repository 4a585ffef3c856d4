"""Every layer, forward and backward, ours against torch.nn, at three sizes.

python -m benchmarks.layers                        (about four minutes on two cores)
python -m benchmarks.layers --group activation --group norm --size 4M
python -m benchmarks.layers --budget 0.2           a fifth of the time, more noise

For a single layer: manual-backprop bench --layer GELU
"""

from __future__ import annotations

import argparse

import torch

from manual_backprop.bench.layers import BUDGETS, HEAD, Measured, mean_cells, measure, missed, of_size
from manual_backprop.bench.rows import SIZES, TARGETS, rows
from manual_backprop.bench.timing import disturbed, threads

from .common import bars, table, write

ABOUT = """\
Forward and backward in {dtype} on {device}. Contestants run alternately; medians. The three columns after the times are
speeds relative to torch.nn, above 1 faster. Tiny tensors show the cost of a call. A target is for both together."""


def report(found: list[Measured]) -> str:
    """A table and the geometric means for each size."""
    parts = []
    for size, chosen in of_size(found).items():
        head = ("group", "rows", "geometric mean", "target", "")
        parts += [f"## {size}: {SIZES[size]:,} numbers", table(HEAD, [m.cells() for m in chosen]),
                  table(head, mean_cells(chosen)), missed(chosen), disturbed([m.spread for m in chosen])]  # fmt: skip
    return "\n\n".join(filter(None, parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=TARGETS, action="append")
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--budget", type=float, default=1.0, help="scales the seconds a row may take: "
                        + ", ".join(f"{size} {seconds}" for size, seconds in BUDGETS.items()))  # fmt: skip
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    chosen = [row for row in rows() if options.group is None or row.group in options.group]
    found = []
    with threads(options.threads):
        for size in options.size or SIZES:
            for row in chosen:
                m = measure(
                    row, size, options.device, getattr(torch, options.dtype), budget=options.budget * BUDGETS[size]
                )
                found.append(m)
                print(f"{m.layer:24} {size:4} {m.speed['both']}  {'' if m.met else f'missed {m.target}'}", flush=True)
        text = report(found)
        print(text)
        if options.group or options.size:
            return
        name = (
            "layers"
            + ("" if options.device == "cpu" else f"_{options.device}")
            + ("" if options.dtype == "float32" else f"_{options.dtype}")
        )
        about = ABOUT.format(dtype=options.dtype, device=options.device)
        picture = f"![times as fast as torch.nn]({name}.png)"
        write(name, "Layers", f"{about}\n\n{picture}\n\n{text}", [m.json() for m in found])
        bars(name, {size: {m.layer: m.speed["both"].value for m in some} for size, some in of_size(found).items()},
             "times as fast as torch.nn, forward and backward")  # fmt: skip


if __name__ == "__main__":
    main()
