"""Trigonometric and hyperbolic functions and their inverses, elementwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..engine.operators import elemental, pairwise
from .arithmetic import conj

SOURCE = "Abramowitz, Stegun 1964, chapters 4.3 to 4.6: derivatives of elementary transcendental functions."

FLOAT32 = {"cuda": "float32"}

DEGREE = math.pi / 180

Sin = elemental(
    "sin", "sin x", "delta cos x", lambda delta, input: delta * conj(input.cos()),
)  # fmt: skip
Cos = elemental(
    "cos", "cos x", "-delta sin x", lambda delta, input: -delta * conj(input.sin()),
)  # fmt: skip
Tan = elemental(
    "tan", "tan x", "delta (1 + y^2)", lambda delta, output: delta * conj(1 + output * output), autocast=FLOAT32,
)  # fmt: skip
Asin = elemental(
    "asin", "arcsin x", "delta / sqrt(1 - x^2)",
    lambda delta, input: delta * conj((1 - input * input).rsqrt()), autocast=FLOAT32,
)  # fmt: skip
Acos = elemental(
    "acos", "arccos x", "-delta / sqrt(1 - x^2)",
    lambda delta, input: -delta * conj((1 - input * input).rsqrt()), autocast=FLOAT32,
)  # fmt: skip
Atan = elemental(
    "atan", "arctan x", "delta / (1 + x^2)", lambda delta, input: delta / conj(1 + input * input),
)  # fmt: skip
Sinh = elemental(
    "sinh", "sinh x", "delta cosh x", lambda delta, input: delta * conj(input.cosh()), autocast=FLOAT32,
)  # fmt: skip
Cosh = elemental(
    "cosh", "cosh x", "delta sinh x", lambda delta, input: delta * conj(input.sinh()), autocast=FLOAT32,
)  # fmt: skip
Asinh = elemental(
    "asinh", "arsinh x", "delta / sqrt(x^2 + 1)", lambda delta, input: delta * conj((input * input + 1).rsqrt()),
)  # fmt: skip
Acosh = elemental(
    "acosh", "arcosh x", "delta / sqrt(x^2 - 1)", lambda delta, input: delta * conj(acosh_slope(input)),
)  # fmt: skip
Atanh = elemental(
    "atanh", "artanh x", "delta / (1 - x^2)", lambda delta, input: delta / conj(1 - input * input),
)  # fmt: skip
Sinc = elemental(
    "sinc", "sin(pi x) / (pi x), and 1 at 0", "delta (cos(pi x) - y) / x, and 0 at 0",
    lambda delta, input: torch.where(
        input == 0, 0.0, delta * conj(((math.pi * input).cos() - input.sinc()) / input)
    ),
)  # fmt: skip


def over_square(a: Tensor, b: Tensor) -> Tensor:
    """1 / (a^2 + b^2), and 0 at the origin."""
    square = a * a + b * b
    return torch.where(square == 0, torch.inf, square).reciprocal()


Atan2 = pairwise(
    "atan2", "the angle of the point (b, a)",
    "delta_input = delta b / (a^2 + b^2)     delta_other = -delta a / (a^2 + b^2)     each 0 where a and b are 0",
    lambda delta, input, other: delta * other * over_square(input, other),
    lambda delta, input, other: -delta * input * over_square(input, other),
    takes="input, other", autocast={"cuda": "promote"},
)  # fmt: skip
Hypot = pairwise(
    "hypot", "sqrt(a^2 + b^2)", "delta_input = delta a / y     delta_other = delta b / y",
    lambda delta, input, output: delta * input / output,
    lambda delta, other, output: delta * other / output,
    takes="input, other",
)  # fmt: skip
Deg2rad = elemental(
    "deg2rad", "pi x / 180", "pi delta / 180", lambda delta: delta * DEGREE,
)  # fmt: skip
Rad2deg = elemental(
    "rad2deg", "180 x / pi", "180 delta / pi", lambda delta: delta / DEGREE,
)  # fmt: skip


def acosh_slope(input: Tensor) -> Tensor:
    """1 / sqrt(x^2 - 1). For complex x, the root of each factor, which has the branch cut of arcosh."""
    return (input + 1).rsqrt() * (input - 1).rsqrt() if input.is_complex() else (input * input - 1).rsqrt()
