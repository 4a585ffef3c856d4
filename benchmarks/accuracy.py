"""Errors of the activations, forward and backward, ours and ATen's: distances from the true values in ulps.

python -m benchmarks.accuracy [--count 65536]      (about a minute)

A unit in the last place (ulp) is the distance between neighbouring float32 numbers at the true value. mpmath computes
the true value with 50 digits from the function's definition, not from our formulas. Inputs are normal with standard
deviation 3. Largest errors also include inputs near 0, far from 0, and near the kinks of piecewise functions. Deltas
are normal. Where an output is the difference of nearly equal terms, neither library's last digits are right. In both,
the backwards of Sigmoid and Tanh start from the rounded output.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import mpmath
import torch
from mpmath import mp
from torch import Tensor

import manual_backprop as mb
from manual_backprop.kernels import memory, pointwise
from manual_backprop.rules.exponential import SELU_ALPHA, SELU_SCALE

from .common import table, write

SMALLEST = torch.finfo(torch.float32).smallest_normal
DIGITS = 50


def sigma(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def gelu_tanh(x: Any) -> Any:
    return x * sigma(2 * mp.sqrt(2 / mp.pi) * (x + KAPPA * x**3))


def gelu_tanh_slope(x: Any) -> Any:
    s = sigma(2 * mp.sqrt(2 / mp.pi) * (x + KAPPA * x**3))
    return s + x * s * (1 - s) * 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * KAPPA * x**2)


def mish_slope(x: Any) -> Any:
    w = mp.tanh(softplus(x))
    return w + x * (1 - w**2) * sigma(x)


KAPPA = mp.mpf("0.044715")
LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "ELU": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x)),
    "CELU": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x)),
    "SELU": (
        lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mp.expm1(x)),
        lambda x: SELU_SCALE * (1 if x > 0 else SELU_ALPHA * mp.exp(x)),
    ),
    "Hardsigmoid": (lambda x: min(max(x + 3, 0), 6) / 6, lambda x: mp.mpf(abs(x) < 3) / 6),
    "Hardswish": (
        lambda x: x * min(max(x + 3, 0), 6) / 6,
        lambda x: mp.mpf(x > 0) if abs(x) >= 3 else (2 * x + 3) / 6,
    ),
    "LeakyReLU": (lambda x: x if x > 0 else x / 100, lambda x: mp.mpf(1) if x > 0 else mp.mpf("0.01")),
    "Sigmoid": (sigma, lambda x: sigma(x) * sigma(-x)),
    "LogSigmoid": (lambda x: -softplus(-x), lambda x: sigma(-x)),
    "Tanh": (mp.tanh, lambda x: mp.sech(x) ** 2),
    "Tanhshrink": (lambda x: x - mp.tanh(x), lambda x: mp.tanh(x) ** 2),
    "Softplus": (lambda x: x if x > 20 else softplus(x), lambda x: 1 if x > 20 else sigma(x)),
    "Softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "SiLU": (lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * sigma(-x))),
    "Mish": (lambda x: x * mp.tanh(softplus(x)), mish_slope),
    "GELU": (lambda x: x * mp.ncdf(x), lambda x: mp.ncdf(x) + x * mp.npdf(x)),
    "GELU, tanh": (gelu_tanh, gelu_tanh_slope),
    "GLU": (lambda a, b: a * sigma(b), lambda a, b: (sigma(b), a * sigma(b) * sigma(-b))),
}
"""Layer -> its function and the derivative; those of GLU take both halves of the input."""


def exact(function: Callable[..., Any], *inputs: Tensor) -> Tensor:
    """The function's values, rounded to float64; several results of a function form the last axis."""

    def value(*numbers: float) -> Any:
        found = function(*map(mp.mpf, numbers))
        return tuple(map(float, found)) if isinstance(found, tuple) else float(found)

    with mpmath.workdps(DIGITS):
        values = [value(*row) for row in zip(*(i.flatten().tolist() for i in inputs), strict=True)]
    return torch.tensor(values, dtype=torch.float64).view(*inputs[0].shape, *(() if len(inputs) == 1 else (-1,)))


def ulps(values: Tensor, truth: Tensor) -> Tensor:
    """The distances from the true values in ulps, NaN where the true value is not a normal number."""
    _, exponent = torch.frexp(truth)
    off = (values.double() - truth).abs() / torch.ldexp(torch.ones_like(truth), exponent - 24)
    return off.where((truth.abs() >= SMALLEST) & truth.isfinite(), torch.nan)


def inputs(count: int) -> Tensor:
    """Inputs in rows of 128: first `count` normal ones, then a quarter as many, used for the largest errors only."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(count, generator=generator) * 3
    more = count // 16
    spread = torch.rand(2, more, generator=generator)
    around = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 20.0]).repeat_interleave(more // 8)
    signs = torch.randint(2, (more,), generator=generator) * 2 - 1
    seams = around + signs * 2 ** (-20 * spread[0])
    return torch.cat([normal, seams, -88 * spread[0], 88 * spread[1], signs * 2 ** (-30 * spread[1])]).view(-1, 128)


def measured(count: int) -> list[dict[str, Any]]:
    x = inputs(count)
    generator = torch.Generator().manual_seed(1)
    results = []
    for name, (function, slope) in LAYERS.items():
        kind, _, approximate = name.partition(", ")
        kwargs = {"approximate": approximate} if approximate else {}
        halves = x.chunk(2, -1) if kind == "GLU" else (x,)
        delta = torch.randn(halves[0].shape, generator=generator)
        expected = exact(function, *halves).view(delta.shape)
        slopes = exact(slope, *halves)
        gradient = delta.double() * slopes if len(halves) == 1 else torch.cat(
            [delta.double() * part for part in slopes.unbind(-1)], -1
        )  # fmt: skip
        row: dict[str, Any] = {"layer": name}
        for key, nn in (("ours", mb.nn), ("ATen", torch.nn)):
            leaf = x.clone().requires_grad_()
            output = getattr(nn, kind)(**kwargs)(leaf)
            (found,) = torch.autograd.grad(output, leaf, delta)
            row[key] = {}
            for way, off in (("forward", ulps(output.detach(), expected)), ("backward", ulps(found, gradient))):
                row[key][way] = float(off[~off.isnan()].max()), float(off[: count // 128].nanmean())
        results.append(row)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2**16, help="how many normal inputs")
    arguments = parser.parse_args()
    # run our kernels for tensors of every size, also those that otherwise serve only large ones
    memory.around = lambda *_: True
    pointwise.WORTHWHILE = pointwise.HUGE_FROM = 0
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
        "Errors of the activations in float32, in ulps",
        f"{(__doc__ or '').split(chr(10) * 2)[2]}\n\n{body}",
        results,
    )


if __name__ == "__main__":
    main()
