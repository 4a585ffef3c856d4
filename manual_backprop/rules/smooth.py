"""Smooth activations: Sigmoid, LogSigmoid, Tanh, Tanhshrink, Softplus, Softsign, SiLU, Mish.

All are elementwise, so their Jacobians are diagonal, and one formula serves for deltas and for tangents.
Formulas use sigma(x) = 1 / (1 + e^-x), which never overflows, in place of e^x.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import in_opmath
from .arithmetic import conj

FLOAT32 = {"cuda": "float32"}

ALL_OF_MISH = 20.0
"""For larger x, w of Mish rounds to 1 in float64: 1 - w = 2 / (n + 2) and n > e^40."""


class Sigmoid(Rule):
    """y = sigma(x) = 1 / (1 + e^-x), the logistic function

    input, output, delta (*)

    delta_input = y (1 - y) delta

    Source: Rumelhart, Hinton, Williams 1986; Wikipedia, "Logistic function", section Derivative.
    """

    elementwise = True
    upcast = True
    takes_complex = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return torch.sigmoid(input)

    def delta_input(delta: Tensor, output: Tensor) -> Tensor:
        return delta * conj(output * (1 - output))


class LogSigmoid(Rule):
    """y = log sigma(x) = -log(1 + e^-x)

    input, output, delta (*)

    delta_input = sigma(-x) delta

    Source: d log sigma = d sigma / sigma, with sigma' = sigma(x) sigma(-x).
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(LogSigmoid.output), input)

    def output(input: Tensor) -> Tensor:
        size = torch.where(input < 0, -input, input)  # |x| with derivative 1 at 0
        return torch.where(input < 0, input, 0.0) - torch.log1p(torch.exp(-size))

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta * torch.sigmoid(-input)


class Tanh(Rule):
    """y = tanh(x)

    input, output, delta (*)

    delta_input = (1 - y^2) delta

    Source: Wikipedia, "Hyperbolic functions", section Derivatives.
    """

    elementwise = True
    upcast = True
    takes_complex = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Tanh.output), input)

    def output(input: Tensor) -> Tensor:
        return torch.tanh(input)

    def delta_input(delta: Tensor, output: Tensor) -> Tensor:
        return delta * conj(1 - output * output)


class Tanhshrink(Rule):
    """y = x - tanh(x)

    input, output, delta (*)

    delta_input = tanh(x)^2 delta

    Source: 1 - (1 - tanh^2), the derivative of each term.
    """

    elementwise = True
    upcast = True
    takes_complex = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Tanhshrink.output), input)

    def output(input: Tensor) -> Tensor:
        return input - torch.tanh(input)

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        bent = torch.tanh(input)
        return delta * conj(bent * bent)


class Softplus(Rule):
    """y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold

    input, output, delta (*)   beta, threshold: numbers

    delta_input = sigma(beta x) delta, and delta itself where beta x > threshold

    Source: Dugas, Bengio, Belisle, Nadeau, Garcia 2001, "Incorporating second-order functional knowledge for better
    option pricing".
    """

    elementwise = True
    upcast = True
    cheap = True
    autocast = FLOAT32

    def forward(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
        return in_opmath(choose(Softplus.output), input, beta, threshold)

    def output(input: Tensor, beta: float, threshold: float) -> Tensor:
        scaled = input * beta
        bent = torch.log1p(torch.exp(scaled.clamp(max=threshold))) / beta  # clamped to what is used: no overflow
        return torch.where(scaled > threshold, input, bent)

    def delta_input(delta: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
        scaled = input * beta
        return torch.where(scaled > threshold, delta, delta * torch.sigmoid(scaled))


class Softsign(Rule):
    """y = x / (1 + |x|)

    input, output, delta (*)

    delta_input = (1 / s - |x| / s^2) delta = delta / s^2,   s = 1 + |x|      (NaN at +-inf, where y is NaN)

    Source: Turian, Bergstra, Bengio 2009, "Quadratic features and deep architectures for chunking".
    """

    elementwise = True
    upcast = True
    real_only = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Softsign.output), input)

    def output(input: Tensor) -> Tensor:
        return input / (1 + input.abs())

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        size = input.abs()
        s = 1 + size
        return delta / s - delta * (size / s / s)


class SiLU(Rule):
    """y = x sigma(x)      (Swish)

    input, output, delta (*)

    delta_input = s (1 + x (1 - s)) delta,   s = sigma(x)

    Source: Elfwing, Uchibe, Doya 2017, "Sigmoid-weighted linear units"; Ramachandran, Zoph, Le 2017, "Swish".
    """

    elementwise = True
    upcast = True
    real_only = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return F.silu(input)

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        s = torch.sigmoid(input)
        return delta * (s * (1 + input * (1 - s)))


class Mish(Rule):
    """y = x w,   w = tanh(log(1 + e^x)) = n / (n + 2),   n = e^2x + 2 e^x

    input, output, delta (*)

    delta_input = (w + x w') delta,   w = s (2 - s) / (1 + q^2), w' = 4 s q^2 / (1 + q^2)^2,   s = sigma(x), q = 1 - s

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function"; w by tanh(log z) =
    (z^2 - 1) / (z^2 + 1) with z = 1 + e^x = 1 / q, w' by q' = -s q.
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Mish.output), input)

    def output(input: Tensor) -> Tensor:
        e = torch.exp(input.clamp(max=ALL_OF_MISH))
        n = e * e + 2 * e
        return input * (n / (n + 2))

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        s = torch.sigmoid(input)
        q = 1 - s
        q2 = q * q
        r = s / (1 + q2)
        return delta * (r * (1 + q + input * (4 * q2 / (1 + q2))))
