"""The three matmuls of a Linear in float32: ATen's BLAS against oneDNN's forward operation (kernels/matmul.py).

python -m benchmarks.matmul [--rounds 60]      (half a minute)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from manual_backprop.engine.torch_private import linear_pointwise

from .common import interleaved, ratio, table, write

SHAPES = ((128, 784, 512), (128, 512, 256), (784, 192, 768), (1024, 256, 1024), (784, 512, 2048), (1024, 256, 8192))
"""Rows, input features and output features, as in the networks that `benchmarks.steps` trains."""


def products(rows: int, features: int, outputs: int) -> dict[str, dict[str, Callable[[], Any]]]:
    x, weight, bias = torch.randn(rows, features), torch.randn(outputs, features), torch.randn(outputs)
    delta, onednn = torch.randn(rows, outputs), linear_pointwise
    return {
        "x W^T + b": {
            "BLAS": lambda: F.linear(x, weight, bias),
            "oneDNN": lambda: onednn(x, weight, bias, "none", [], ""),
        },
        "delta W": {
            "BLAS": lambda: delta @ weight,
            "oneDNN": lambda: onednn(delta, weight.T, None, "none", [], ""),
        },
        "delta^T x": {
            "BLAS": lambda: delta.T @ x,
            "oneDNN": lambda: onednn(delta.T, x.T, None, "none", [], ""),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    if linear_pointwise is None:
        raise SystemExit("this torch was built without oneDNN, so there is nothing to compare")
    torch.manual_seed(0)
    results, rows = [], []
    for shape in SHAPES:
        cells = []
        for name, contestants in products(*shape).items():
            times = interleaved(contestants, rounds)
            found = ratio(times["oneDNN"], times["BLAS"])
            results.append({"shape": shape, "product": name, "oneDNN / BLAS": found})
            cells.append(str(found))
        rows.append((" x ".join(map(str, shape)), *cells))
    text = table(("rows x inputs x outputs", "x W^T + b", "delta W", "delta^T x"), rows)
    print(text)
    write(
        "matmul",
        "Matmuls: oneDNN's time divided by the BLAS's",
        f"Below 1: oneDNN is faster.\n\n{text}",
        results,
    )


if __name__ == "__main__":
    main()
