"""Softmax, cross-entropy, normalizations and pooling against torch.nn: forward and backward, at three sizes.

python -m benchmarks.rows [--rounds 200] [--threads 2]      (about two minutes)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

import manual_backprop as mb

from .common import interleaved, ratio, table, write

# per size: rows and their length; batch, channels and side of the images
SIZES = {"small": ((128, 10), (16, 16, 8)), "medium": ((512, 512), (16, 64, 16)), "large": ((4096, 1024), (64, 64, 32))}
ROWS: dict[str, Callable[[Any, int], Any]] = {
    "Softmax": lambda nn, n: nn.Softmax(-1),
    "LogSoftmax": lambda nn, n: nn.LogSoftmax(-1),
    "CrossEntropyLoss": lambda nn, n: nn.CrossEntropyLoss(),
    "LayerNorm": lambda nn, n: nn.LayerNorm(n),
    "RMSNorm": lambda nn, n: nn.RMSNorm(n),
}
IMAGES: dict[str, Callable[[Any, int], Any]] = {
    "GroupNorm": lambda nn, c: nn.GroupNorm(8, c),
    "BatchNorm2d": lambda nn, c: nn.BatchNorm2d(c),
    "MaxPool2d": lambda nn, c: nn.MaxPool2d(2),
    "AvgPool2d": lambda nn, c: nn.AvgPool2d(2),
    "AvgPool2d(3, 2, 1)": lambda nn, c: nn.AvgPool2d(3, 2, 1),
    "AdaptiveAvgPool2d": lambda nn, c: nn.AdaptiveAvgPool2d(1),
}


def step(layer: Any, *inputs: torch.Tensor) -> Callable[[], Any]:
    delta = torch.randn_like(layer(*inputs))
    leaves = [inputs[0], *layer.parameters()]
    return lambda: torch.autograd.grad(layer(*inputs), leaves, delta)


def measured(rounds: int) -> list[dict[str, Any]]:
    results = []
    for size, (matrix, (batch, channels, side)) in SIZES.items():
        for name, make in {**ROWS, **IMAGES}.items():
            shape = matrix if name in ROWS else (batch, channels, side, side)
            inputs = [torch.randn(shape, requires_grad=True)]
            if name == "CrossEntropyLoss":
                inputs.append(torch.randint(shape[1], shape[:1]))
            steps = {key: step(make(nn, shape[1]), *inputs) for key, nn in (("ours", mb.nn), ("torch", torch.nn))}
            times = interleaved(steps, rounds if size != "large" else max(rounds // 4, 5))
            middle, low, high = ratio(times["torch"], times["ours"])
            seconds = {key: sorted(value)[len(value) // 2] for key, value in times.items()}
            results.append({"layer": name, "size": size, "shape": shape, "speedup": middle, "quartiles": [low, high],
                            "seconds": seconds})  # fmt: skip
            print(f"{name:20} {size:7} {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    results = measured(arguments.rounds)
    rows = []
    for r in results:
        ours, theirs = (f"{1e6 * r['seconds'][key]:,.0f}" for key in ("ours", "torch"))
        low, high = r["quartiles"]
        size = " x ".join(map(str, r["shape"]))
        rows.append([r["layer"], size, ours, theirs, f"{r['speedup']:.2f} ({low:.2f} to {high:.2f})"])
    body = table(["layer", "input", "ours, µs", "torch, µs", "torch / ours (quartiles)"], rows)
    about = "Forward and backward in float32, taking turns; medians. Above 1: faster than torch."
    write("rows", "Rows and images: one layer, forward and backward", f"{about}\n\n{body}", results)


if __name__ == "__main__":
    main()
