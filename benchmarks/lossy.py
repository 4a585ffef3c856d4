"""What rounding of saved activations costs: accuracy on MNIST over seeds, and errors of gradients, per saving mode.

python -m benchmarks.lossy --root data                    all (five minutes on two cores)
python -m benchmarks.lossy --root data --mode int4        the runs of one mode; the table shows all results so far

Each run is a complete `manual-backprop fit --config mnist_fast --model.saving <mode>`.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
from typing import Any

import torch

import manual_backprop as mb
from manual_backprop.bench.networks import NETWORKS

from .common import RESULTS, table, write
from .mnist import our_run

MODES = ("exact", "bf16", "int8", "int4")
MEASURED = ("mlp-gelu", "mnist_fast", "resnet18", "vit-tiny")
DRAWS = 8


def gradient(name: str, mode: str, seed: int) -> torch.Tensor:
    """All gradients of one step of a network as one vector; `seed` seeds the stochastic rounding."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    model, x, y = mb.convert(network.build()), network.input(), network.target()
    torch.manual_seed(seed)
    with mb.saving(mode), mb.explicit():
        loss = mb.functional.cross_entropy(model(x), y)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def errors(name: str) -> dict[str, tuple[float, float]]:
    """Mode -> relative error of a gradient (root mean square over draws), and of the mean gradient over all draws."""
    exact, found = gradient(name, "exact", 1), {}
    for mode in MODES[1:]:
        off = [gradient(name, mode, 1 + draw) - exact for draw in range(DRAWS)]
        one = math.sqrt(statistics.mean(float(error.norm() ** 2) for error in off))
        mean = float(torch.stack(off).mean(0).norm())
        found[mode] = one / float(exact.norm()), mean / float(exact.norm())
    return found


def report(runs: dict[str, list[dict[str, Any]]], off: dict[str, dict[str, Any]]) -> str:
    accuracies = {mode: [run["accuracy"] for run in runs[mode]] for mode in MODES if mode in runs}
    rows, exact = [], accuracies.get("exact")
    for mode, values in accuracies.items():
        mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan
        verdict = "-"
        if exact and mode != "exact" and len(exact) > 1:
            # two means of n runs each differ by this much and more in one case of twenty (Welch's t, normal limit)
            allowed = 2 * math.sqrt(statistics.variance(exact) / len(exact) + spread**2 / len(values))
            low = min(exact) <= min(values)
            inside = abs(mean - statistics.mean(exact)) <= allowed
            verdict = f"{mean - statistics.mean(exact):+.3%}, {'within' if inside else 'beyond'} {allowed:.3%}"
            verdict += "" if low else f"; its worst run is below exact's worst, {min(exact):.2%}"
        cells = f"{mean:.3%}", f"{spread:.3%}", f"{min(values):.2%} to {max(values):.2%}", verdict
        rows.append((f'"{mode}"', len(values), *cells))
    text = "Test accuracy of mnist_fast after its one epoch, over seeds:\n\n"
    text += table(("mode", "seeds", "mean", "standard deviation", "range", "beside exact"), rows)
    text += (
        "\n\nRelative error of the gradient of a whole network, ||estimate - exact|| / ||exact||: for one draw of the "
        f"rounding, and after the slash for the mean of {DRAWS} draws. Without bias the second would be "
        f"{1 / math.sqrt(DRAWS):.2f} of the first. A bias is expected where a sign (ReLU) or a square (norms) is "
        "computed from a rounded tensor; which of them causes it here was not measured.\n\n"
    )
    cells = [(name, *(f"{a:.4f} / {b:.4f}" for a, b in by_mode.values())) for name, by_mode in off.items()]
    return text + table(("network", *MODES[1:]), cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder that holds MNIST/raw")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mode", choices=[*MODES, "errors"], help="run one part; results of the others are kept")
    options = parser.parse_args()
    before = RESULTS / "lossy.json"
    known = json.loads(before.read_text())["results"] if options.mode and before.exists() else {}
    found: dict[str, Any] = {"runs": {}, "errors": {}, **copy.deepcopy(known)}
    for mode in MODES:
        if options.mode in (None, mode):
            extra = f"--model.saving={mode}"
            found["runs"][mode] = [our_run(options.root, seed, extra) for seed in range(options.seeds)]
    if options.mode in (None, "errors"):
        found["errors"] = {name: errors(name) for name in MEASURED}
    text = report(found["runs"], found["errors"])
    print(text)
    write("lossy", "Rounded activations", text, found)


if __name__ == "__main__":
    main()
