"""Activations that weight a value by a gate between 0 and 1: GELU by a normal distribution, GLU by a sigmoid."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import in_opmath

SQRT_HALF = math.sqrt(0.5)
NORMAL = 1 / math.sqrt(2 * math.pi)
BETA = math.sqrt(2 / math.pi)
KAPPA = 0.044715


class GELU(Rule):
    """y = x Phi(x), Phi the normal distribution; with approximate="tanh" y = x (1 + tanh u) / 2 = x sigma(2 u)

    input, output, delta (*)   approximate: "none" or "tanh"

    delta_input = (Phi(x) + x phi(x)) delta,   Phi(x) = erfc(-x / sqrt 2) / 2, phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
    with "tanh"   (s + x s (1 - s) 2 u') delta,   s = sigma(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)

    Source: Hendrycks, Gimpel 2016, "Gaussian error linear units".
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor, approximate: str) -> Tensor:
        if approximate == "tanh":
            return in_opmath(choose(GELU.output_tanh), input)
        return F.gelu(input, approximate=approximate)

    def output_tanh(input: Tensor) -> Tensor:
        return input * torch.sigmoid(2 * BETA * input * (1 + KAPPA * (input * input)))

    def delta_input(delta: Tensor, input: Tensor, approximate: str) -> Tensor:
        return GELU.by_tanh(delta, input) if approximate == "tanh" else GELU.by_erf(delta, input)

    def by_erf(delta: Tensor, input: Tensor) -> Tensor:
        z = SQRT_HALF * input
        distribution = 0.5 * torch.erfc(-z)
        density = NORMAL * torch.exp(-(z * z))
        return delta * (distribution + input * density)

    def by_tanh(delta: Tensor, input: Tensor) -> Tensor:
        square = input * input
        s = torch.sigmoid(2 * BETA * input * (1 + KAPPA * square))
        return delta * (s + input * s * (1 - s) * (2 * BETA * (1 + 3 * KAPPA * square)))


class GLU(Rule):
    """y = a sigma(b), a and b the two halves of the input along dim

    input (*, 2K, *)   output, delta (*, K, *)   dim: int

    delta_input = [s delta, a s (1 - s) delta],   s = sigma(b)

    Source: Dauphin, Fan, Auli, Grangier 2017, "Language modeling with gated convolutional networks".
    """

    upcast = True
    cheap = True
    tangent_reads = ()

    def forward(input: Tensor, dim: int) -> Tensor:
        return F.glu(input, dim)

    def delta_input(delta: Tensor, input: Tensor, dim: int) -> Tensor:
        a, b = input.chunk(2, dim)
        return torch.cat(GLU.delta_halves(delta, a, b), dim)

    def delta_halves(delta: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(b)
        delta_a = delta * s
        return delta_a, delta_a * a * (1 - s)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, dim = inputs
        a, b = input.chunk(2, dim)
        t_a, t_b = tangents[0].chunk(2, dim)
        s = torch.sigmoid(b)
        return t_a * s + a * s * (1 - s) * t_b
