"""Powers, roots, exponentials and logarithms, elementwise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..engine.operators import elemental, pairwise
from ..engine.rule import Rule
from .arithmetic import conj

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.'

FLOAT32 = {"cuda": "float32"}

LN2, LN10 = math.log(2), math.log(10)

Exp = elemental(
    "exp", "e^x", "delta y", lambda delta, output: delta * conj(output), autocast=FLOAT32,
)  # fmt: skip
Exp2 = elemental(
    "exp2", "2^x", "delta y ln 2", lambda delta, output: delta * conj(output) * LN2,
)  # fmt: skip
Expm1 = elemental(
    "expm1", "e^x - 1", "delta (y + 1)", lambda delta, output: delta * conj(output + 1), autocast=FLOAT32,
)  # fmt: skip
Log = elemental(
    "log", "ln x", "delta / x", lambda delta, input: delta / conj(input), autocast=FLOAT32,
)  # fmt: skip
Log2 = elemental(
    "log2", "log2 x", "delta / (x ln 2)", lambda delta, input: delta / (conj(input) * LN2), autocast=FLOAT32,
)  # fmt: skip
Log10 = elemental(
    "log10", "log10 x", "delta / (x ln 10)", lambda delta, input: delta / (conj(input) * LN10), autocast=FLOAT32,
)  # fmt: skip
Log1p = elemental(
    "log1p", "ln(1 + x)", "delta / (1 + x)", lambda delta, input: delta / conj(input + 1), autocast=FLOAT32,
)  # fmt: skip
Sqrt = elemental(
    "sqrt", "sqrt(x)", "delta / (2 y)", lambda delta, output: delta / (2 * conj(output)),
)  # fmt: skip
Rsqrt = elemental(
    "rsqrt", "1 / sqrt(x)", "-delta y^3 / 2", lambda delta, output: -delta / 2 * conj(output**3), autocast=FLOAT32,
)  # fmt: skip
Reciprocal = elemental(
    "reciprocal", "1 / x", "-delta y^2", lambda delta, output: -delta * conj(output * output), autocast=FLOAT32,
)  # fmt: skip
LogAddExp = pairwise(
    "logaddexp", "ln(e^a + e^b)", "delta_input = sigma(a - b) delta     delta_other = sigma(b - a) delta",
    lambda delta, input, other: delta * conj(torch.sigmoid(input - other)),
    lambda delta, input, other: delta * conj(torch.sigmoid(other - input)),
    name="LogAddExp", takes="input, other",
)  # fmt: skip
LogAddExp2 = pairwise(
    "logaddexp2", "log2(2^a + 2^b)",
    "delta_input = sigma((a - b) ln 2) delta     delta_other = sigma((b - a) ln 2) delta",
    lambda delta, input, other: delta * torch.sigmoid((input - other) * LN2),
    lambda delta, input, other: delta * torch.sigmoid((other - input) * LN2),
    name="LogAddExp2", takes="input, other",
)  # fmt: skip
Ldexp = pairwise(
    "ldexp", "a 2^b", "delta_input = 2^b delta     delta_other = y ln 2 delta",
    lambda delta, other: torch.ldexp(delta, conj(other)),
    lambda delta, output: delta * conj(output) * LN2,
    takes="input, other",
)  # fmt: skip
XLogY = pairwise(
    "xlogy", "a ln b, and 0 where a is 0",
    "delta_input = delta ln b, 0 where a is 0 and ln b does not exist     delta_other = delta a / b",
    lambda delta, input, other: torch.where((input == 0) & (other <= 0), 0.0, torch.xlogy(delta, other)),
    lambda delta, input, other: delta * input / other,
    name="XLogY",
)  # fmt: skip
XLog1pY = pairwise(
    "special_xlog1py", "a ln(1 + b), and 0 where a is 0",
    "delta_input = delta ln(1 + b), 0 where a is 0 and ln(1 + b) does not exist     delta_other = delta a / (1 + b)",
    lambda delta, input, other: torch.where((input == 0) & (other <= -1), 0.0, torch.special.xlog1py(delta, other)),
    lambda delta, input, other: delta * input / (other + 1),
    name="XLog1pY",
)  # fmt: skip
Entr = elemental(
    "special_entr", "-x ln x", "-delta (1 + ln x)", lambda delta, input: delta * -(1 + input.log()),
)  # fmt: skip


class Pow(Rule):
    """y = x^n

    input x, exponent n (*, broadcast) or number   output, delta (*)

    delta_input    = n x^(n - 1) delta, 0 where n is 0
    delta_exponent = y ln(x) delta, 0 where x is 0 and n is real and not negative

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "pow"
    elementwise = True
    broadcasts = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Any, exponent: Any) -> Tensor:
        return torch.pow(input, exponent)

    def delta_input(delta: Tensor, input: Tensor, exponent: Any) -> Tensor:
        if not isinstance(exponent, Tensor):
            return delta * conj(exponent * input ** (exponent - 1)) if exponent != 0 else torch.zeros_like(delta)
        return torch.where(exponent == 0, 0.0, delta * conj(exponent * input ** (exponent - 1)))

    def delta_exponent(delta: Tensor, input: Any, exponent: Tensor, output: Tensor) -> Tensor:
        real = (exponent.imag == 0) & (exponent.real >= 0) if exponent.is_complex() else exponent >= 0
        base = input.to(output.dtype) if isinstance(input, Tensor) else output.new_full((), input)
        flat = (base == 0) & real  # base 0 becomes 1 there: log 0 would give infinities in the second derivative
        return delta * torch.where(flat, 0.0, conj(output * torch.where(flat, 1.0, base).log()))


class Logit(Rule):
    """y = ln(x / (1 - x)),   with eps: of x moved into [eps, 1 - eps]

    input, output, delta (*)   eps number or None

    delta_input = delta / (x (1 - x));   outside of [0, 1] NaN, with eps: 0 outside of [eps, 1 - eps]

    Source: the inverse of the logistic function, whose derivative is y (1 - y); Griewank, Walther 2008.
    """

    operator = "logit"
    elementwise = True
    upcast = True

    def forward(input: Tensor, eps: float | None = None) -> Tensor:
        return torch.logit(input, eps)

    def delta_input(delta: Tensor, input: Tensor, eps: float | None) -> Tensor:
        low, beyond = (0.0, math.nan) if eps is None else (eps, 0.0)
        return torch.where((input < low) | (input > 1 - low), beyond, delta / (input * (1 - input)))
