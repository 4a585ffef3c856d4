"""Errors of functions of rows and windows (norms, softmax, pools), forward and backward, ours and ATen's.

python -m benchmarks.accuracy_rows      (about 20 seconds)

The unit is the distance between neighbouring float32 numbers at the tensor's largest true value: because terms cancel,
small results have no accurate digits of their own. Inputs are normal with mean 1 and deviation 3, deltas normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb

from .common import table, write

ROWS, IMAGES = (1024, 1024), (32, 64, 24, 24)
LAYERS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "Softmax": (ROWS, lambda nn: nn.Softmax(-1)),
    "Softmin": (ROWS, lambda nn: nn.Softmin(-1)),
    "LogSoftmax": (ROWS, lambda nn: nn.LogSoftmax(-1)),
    "CrossEntropyLoss": (ROWS, lambda nn: nn.CrossEntropyLoss()),
    "LayerNorm": (ROWS, lambda nn: nn.LayerNorm(ROWS[1])),
    "RMSNorm": (ROWS, lambda nn: nn.RMSNorm(ROWS[1])),
    "GroupNorm": (IMAGES, lambda nn: nn.GroupNorm(8, IMAGES[1])),
    "BatchNorm2d": (IMAGES, lambda nn: nn.BatchNorm2d(IMAGES[1])),
    "AvgPool2d(2)": (IMAGES, lambda nn: nn.AvgPool2d(2)),
    "AvgPool2d(3, 2, 1)": (IMAGES, lambda nn: nn.AvgPool2d(3, 2, 1)),
    "AdaptiveAvgPool2d(7)": (IMAGES, lambda nn: nn.AdaptiveAvgPool2d(7)),
}


def off(values: Tensor, truth: Tensor) -> tuple[float, float]:
    """The largest and the mean distance from the true values."""
    unit = 2.0 ** (math.frexp(float(truth.abs().max()))[1] - 24)
    distances = (values.double() - truth).abs() / unit
    return float(distances.max()), float(distances.mean())


def measured() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    results = []
    for name, (shape, make) in LAYERS.items():
        x = torch.randn(shape) * 3 + 1
        more = [torch.randint(shape[1], shape[:1])] if name == "CrossEntropyLoss" else []
        delta = torch.randn(make(torch.nn)(x, *more).shape)

        def both(layer: Any, x: Tensor, delta: Tensor, more: list[Tensor] = more) -> list[Tensor]:
            leaf = x.clone().requires_grad_()
            output = layer(leaf, *more)
            return [output.detach(), torch.autograd.grad(output, leaf, delta)[0]]

        truth = both(make(torch.nn).double(), x.double(), delta.double())
        row: dict[str, Any] = {"layer": name}
        for key, nn in (("ours", mb.nn), ("ATen", torch.nn)):
            row[key] = [off(*pair) for pair in zip(both(make(nn), x, delta), truth, strict=True)]
        results.append(row)
    return results


def main() -> None:
    results = measured()
    rows = [
        [r["layer"], *(f"{value:.2g}" for k in (0, 1) for which in ("ours", "ATen") for value in r[which][k])]
        for r in results
    ]
    header = ["layer"] + [
        f"{part}, {which}: {kind}"
        for part in ("forward", "backward")
        for which in ("ours", "ATen")
        for kind in ("most", "mean")
    ]
    body = table(header, rows)
    print(body)
    about = "float32 against float64, in float32 roundings of the largest true value; *most* is the worst element."
    write("accuracy_rows", "Errors of norms, softmax and pools in float32", f"{about}\n\n{body}", results)


if __name__ == "__main__":
    main()
