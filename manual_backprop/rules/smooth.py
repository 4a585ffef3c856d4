"""Smooth activations: Sigmoid, LogSigmoid, Tanh, Tanhshrink, Softplus, Softsign, SiLU, Mish.

All act on each element alone, so their Jacobians are diagonal, and a tangent passes through as a delta does.
sigma(x) = 1 / (1 + e^-x) never overflows, so formulas are written with it rather than with e^x.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._rule import Rule, choose, in_opmath

FLOAT32 = {"cuda": "float32"}

ALL_OF_MISH = 20.0
"""From here on Mish's w is 1, to the last bit of float64: 1 - w = 2 / (n + 2), n > e^40."""


def refuse_complex(ctx: Any, input: Tensor) -> None:
    """The twin differentiates complex numbers here, these formulas do not."""
    if input.is_complex() and ctx.needs_input_grad[0]:
        raise NotImplementedError(
            f"the backward formula is for real numbers, the input is {input.dtype}: pass real and imaginary parts apart"
        )


class Sigmoid(Rule):
    """y = sigma(x) = 1 / (1 + e^-x), the logistic function

    input, output, delta (*)

    delta_input = y (1 - y) delta

    Source: Rumelhart, Hinton, Williams 1986; Wikipedia, "Logistic function", section Derivative.
    """

    cheap = True
    keeps_input = False

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return torch.sigmoid(input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        refuse_complex(ctx, inputs[0])
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Sigmoid.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, output: Tensor) -> Tensor:
        return delta * (output * (1 - output))

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Sigmoid.delta_input(tangents[0], output)


class LogSigmoid(Rule):
    """y = log sigma(x) = -log(1 + e^-x)

    input, output, delta (*)

    delta_input = sigma(-x) delta

    Source: d log sigma = d sigma / sigma, with sigma' = sigma(x) sigma(-x).
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(LogSigmoid.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        size = torch.where(input < 0, -input, input)  # |x| with a slope at 0
        return torch.where(input < 0, input, 0.0) - torch.log1p(torch.exp(-size))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(LogSigmoid.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta * torch.sigmoid(-input)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return LogSigmoid.delta_input(tangents[0], inputs[0])


class Tanh(Rule):
    """y = tanh(x)

    input, output, delta (*)

    delta_input = (1 - y^2) delta

    Source: Wikipedia, "Hyperbolic functions", section Derivatives.
    """

    cheap = True
    keeps_input = False

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Tanh.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return torch.tanh(input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        refuse_complex(ctx, inputs[0])
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Tanh.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, output: Tensor) -> Tensor:
        return delta * (1 - output * output)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Tanh.delta_input(tangents[0], output)


class Tanhshrink(Rule):
    """y = x - tanh(x)

    input, output, delta (*)

    delta_input = tanh(x)^2 delta

    Source: 1 - (1 - tanh^2), the derivative of each term.
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Tanhshrink.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return input - torch.tanh(input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        refuse_complex(ctx, inputs[0])
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Tanhshrink.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        bent = torch.tanh(input)
        return delta * (bent * bent)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Tanhshrink.delta_input(tangents[0], inputs[0])


class Softplus(Rule):
    """y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold

    input, output, delta (*)   beta, threshold: numbers

    delta_input = sigma(beta x) delta, and delta itself where beta x > threshold

    Source: Dugas, Bengio, Belisle, Nadeau, Garcia 2001, "Incorporating second-order functional knowledge for better
    option pricing".
    """

    cheap = True
    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, beta: float, threshold: float) -> Tensor:
        return in_opmath(choose(Softplus.output), input, beta, threshold)

    @staticmethod
    def output(input: Tensor, beta: float, threshold: float) -> Tensor:
        scaled = input * beta
        bent = torch.log1p(torch.exp(scaled.clamp(max=threshold))) / beta  # no more than what is used: no overflow
        return torch.where(scaled > threshold, input, bent)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.beta, ctx.threshold = inputs
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return in_opmath(choose(Softplus.delta_input), delta, *ctx.saved_tensors, ctx.beta, ctx.threshold), None, None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
        scaled = input * beta
        return torch.where(scaled > threshold, delta, delta * torch.sigmoid(scaled))

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softplus.delta_input(tangents[0], *inputs)


class Softsign(Rule):
    """y = x / (1 + |x|)

    input, output, delta (*)

    delta_input = (1 / s - |x| / s^2) delta = delta / s^2,   s = 1 + |x|      (NaN at +-inf, where y is NaN)

    Source: Turian, Bergstra, Bengio 2009, "Quadratic features and deep architectures for chunking".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Softsign.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return input / (1 + input.abs())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        refuse_complex(ctx, inputs[0])
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Softsign.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        size = input.abs()
        s = 1 + size
        return delta / s - delta * (size / s / s)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softsign.delta_input(tangents[0], inputs[0])


class SiLU(Rule):
    """y = x sigma(x)      (Swish)

    input, output, delta (*)

    delta_input = s (1 + x (1 - s)) delta,   s = sigma(x)

    Source: Elfwing, Uchibe, Doya 2017, "Sigmoid-weighted linear units"; Ramachandran, Zoph, Le 2017, "Swish".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return F.silu(input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        refuse_complex(ctx, inputs[0])
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(SiLU.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        s = torch.sigmoid(input)
        return delta * (s * (1 + input * (1 - s)))

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return SiLU.delta_input(tangents[0], inputs[0])


class Mish(Rule):
    """y = x w,   w = tanh(log(1 + e^x)) = n / (n + 2),   n = e^2x + 2 e^x

    input, output, delta (*)

    delta_input = (w + x w') delta,   w = s (2 - s) / (1 + q^2), w' = 4 s q^2 / (1 + q^2)^2,   s = sigma(x), q = 1 - s

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function"; w by tanh(log z) =
    (z^2 - 1) / (z^2 + 1) with z = 1 + e^x = 1 / q, w' by q' = -s q.
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Mish.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        e = torch.exp(input.clamp(max=ALL_OF_MISH))
        n = e * e + 2 * e
        return input * (n / (n + 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Mish.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        s = torch.sigmoid(input)
        q = 1 - s
        q2 = q * q
        r = s / (1 + q2)
        return delta * (r * (1 + q + input * (4 * q2 / (1 + q2))))

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Mish.delta_input(tangents[0], inputs[0])
