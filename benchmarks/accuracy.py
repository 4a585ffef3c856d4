"""How exact the activations are, forward and backward, ours beside ATen's: distances from float64 in ulps.

python -m benchmarks.accuracy [--count 1000000]      (about a minute)

A unit in the last place (ulp) is the distance of neighbouring float32 numbers at the true value. Inputs are normal with
deviation 3, deltas 1. Where an output is the difference of nearly equal terms, neither side holds its last digits.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.kernels import memory, pointwise

from .common import table, write

LAYERS: dict[str, tuple] = {
    "ELU": (), "CELU": (), "SELU": (), "Hardsigmoid": (), "Hardswish": (), "LeakyReLU": (), "Sigmoid": (),
    "LogSigmoid": (), "Tanh": (), "Tanhshrink": (), "Softplus": (), "Softsign": (), "SiLU": (), "Mish": (),
    "GELU": ("none",), "GELU, tanh": ("tanh",), "GLU": (),
}  # fmt: skip
SMALLEST = torch.finfo(torch.float32).smallest_normal


def ulps(values: Tensor, truth: Tensor) -> tuple[float, float]:
    """The largest and the mean distance from the truth, of normal numbers."""
    kept = (truth.abs() >= SMALLEST) & truth.isfinite()
    truth, values = truth[kept], values[kept].double()
    _, exponent = torch.frexp(truth)
    off = (values - truth).abs() / torch.ldexp(torch.ones_like(truth), exponent - 24)
    return float(off.max()), float(off.mean())


def measured(count: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    results = []
    for name, args in LAYERS.items():
        x = torch.randn(count // 256, 256, generator=generator) * 3
        layers = {key: getattr(nn, name.split(",")[0])(*args) for key, nn in (("ours", mb.nn), ("ATen", torch.nn))}
        delta = torch.randn(layers["ATen"](x[:1]).shape[-1], generator=generator).expand(layers["ATen"](x).shape)
        wide = x.double().requires_grad_()
        with mb.backend("formula"):  # ATen's hardsigmoid has a sixth of float32 also in float64
            expected = layers["ours"](wide)
            (gradient,) = torch.autograd.grad(expected, wide, delta.double())
        row: dict[str, Any] = {"layer": name}
        for key, layer in layers.items():
            leaf = x.clone().requires_grad_()
            output = layer(leaf)
            (found,) = torch.autograd.grad(output, leaf, delta)
            row[key] = {"forward": ulps(output.detach(), expected.detach()), "backward": ulps(found, gradient)}
        results.append(row)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2**20, help="how many inputs")
    arguments = parser.parse_args()
    memory.around = lambda *_: True  # forwards that are ours for huge tensors alone, at any size
    if arguments.count < pointwise.HUGE_FROM:
        parser.error(f"--count {arguments.count}: below {pointwise.HUGE_FROM} elements ATen's forward runs")
    results = measured(arguments.count)
    rows = [
        [r["layer"], *(f"{v:.3g}" for way in ("forward", "backward") for key in ("ours", "ATen") for v in r[key][way])]
        for r in results
    ]
    ways = [f"{way}, {key}, {what}" for way in ("forward", "backward") for key in ("ours", "ATen")
            for what in ("max", "mean")]  # fmt: skip
    body = table(["layer", *ways], rows)
    print(body)
    write(
        "accuracy",
        "Exactness of the activations in float32, in ulps",
        f"{(__doc__ or '').split(chr(10) * 2)[2]}\n\n{body}",
        results,
    )


if __name__ == "__main__":
    main()
