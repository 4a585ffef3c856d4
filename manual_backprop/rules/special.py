"""Special functions, elementwise: error, gamma and zeta functions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..engine.operators import elemental, pairwise
from ..engine.rule import Rule

SOURCE = "Abramowitz, Stegun 1964, chapters 6, 7 and 26: gamma function, error function, normal distribution."

ERF_SLOPE = 2 / math.sqrt(math.pi)
"""The derivative of erf at 0."""

NORMAL_DENSITY = 1 / math.sqrt(2 * math.pi)
"""The density of the normal distribution at 0."""

Erf = elemental(
    "erf", "2 / sqrt(pi) integral of e^(-t^2) from 0 to x", "2 / sqrt(pi) e^(-x^2) delta",
    lambda delta, input: ERF_SLOPE * (-input * input).exp() * delta,
)  # fmt: skip
Erfc = elemental(
    "erfc", "1 - erf(x)", "-2 / sqrt(pi) e^(-x^2) delta",
    lambda delta, input: -ERF_SLOPE * (-input * input).exp() * delta,
)  # fmt: skip
Erfcx = elemental(
    "special_erfcx", "e^(x^2) erfc(x)", "(2 x y - 2 / sqrt(pi)) delta",
    lambda delta, input, output: (2 * input * output - ERF_SLOPE) * delta,
)  # fmt: skip
Erfinv = elemental(
    "erfinv", "the number whose erf is x", "sqrt(pi) / 2 e^(y^2) delta",
    lambda delta, output: (output * output).exp() / ERF_SLOPE * delta, autocast={"cuda": "float32"},
)  # fmt: skip
Ndtri = elemental(
    "special_ndtri", "the number below which a normal variable stays with probability x",
    "sqrt(2 pi) e^(y^2 / 2) delta", lambda delta, output: (output * output / 2).exp() / NORMAL_DENSITY * delta,
)  # fmt: skip
LogNdtr = elemental(
    "special_log_ndtr", "ln of the probability that a normal variable stays below x",
    "e^(-x^2 / 2 - y) / sqrt(2 pi) delta",
    lambda delta, input, output: NORMAL_DENSITY * (-(output + input * input / 2)).exp() * delta,
)  # fmt: skip
Lgamma = elemental(
    "lgamma", "ln |Gamma(x)|", "digamma(x) delta", lambda delta, input: delta * input.digamma(),
)  # fmt: skip
Digamma = elemental(
    "digamma", "the derivative of ln Gamma(x)", "polygamma(1, x) delta",
    lambda delta, input: delta * torch.polygamma(1, input),
)  # fmt: skip
Mvlgamma = elemental(
    "mvlgamma", "p (p - 1) / 4 ln pi + sum of ln Gamma(x - j / 2), j < p", "delta sum of digamma(x - j / 2), j < p",
    lambda delta, input, p: delta * sum([(input - j / 2).digamma() for j in range(p)]),
    takes="input, p: int", shapes="input, output, delta (*)   p number",
)  # fmt: skip


class Polygamma(Rule):
    """y = the derivative number n of digamma(x)

    input, output, delta (*)   n number

    delta_input = polygamma(n + 1, x) delta

    Source: Abramowitz, Stegun 1964, "Handbook of Mathematical Functions", 6.4.1.
    """

    operator = "polygamma"
    elementwise = True
    upcast = True

    def forward(input: Tensor, n: int) -> Tensor:
        return torch.polygamma(n, input)

    def delta_input(delta: Tensor, input: Tensor, n: int) -> Tensor:
        return delta * torch.polygamma(n + 1, input)


def no_formula(delta: Tensor) -> Tensor:
    raise NotImplementedError("the derivative by the first argument has no closed form, and torch has none either")


IGamma = pairwise(
    "igamma", "the probability that a variable of the gamma distribution a stays below b",
    "delta_other = e^((a - 1) ln b - b - ln Gamma(a)) delta;   by a there is no closed form",
    lambda delta: no_formula(delta),
    lambda delta, input, other: delta * gamma_density(input, other),
    name="IGamma", takes="input, other",
)  # fmt: skip
IGammaC = pairwise(
    "igammac", "1 - the probability that a variable of the gamma distribution a stays below b",
    "delta_other = -e^((a - 1) ln b - b - ln Gamma(a)) delta;   by a there is no closed form",
    lambda delta: no_formula(delta),
    lambda delta, input, other: -delta * gamma_density(input, other),
    name="IGammaC", takes="input, other",
)  # fmt: skip
Zeta = pairwise(
    "special_zeta", "zeta(a, b), the sum of (k + b)^-a over k",
    "delta_other = -a zeta(a + 1, b) delta;   by a there is no closed form",
    lambda delta: no_formula(delta),
    lambda delta, input, other: -delta * input * torch.special.zeta(input + 1, other),
)  # fmt: skip


def gamma_density(shape: Any, value: Any) -> Tensor:
    return ((shape - 1) * value.log() - value - shape.lgamma()).exp()
