"""Division by the mean square of neighbouring channels: LocalResponseNorm, and CrossMapLRN, its older form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule


class LocalResponseNorm(Rule):
    """y = x / s^beta,   s[c] = k + alpha / n sum of x[j]² over the n channels j from c - n // 2 to c + (n - 1) // 2

    input, output, delta, s (N, C, *)   n: size, including channels that do not exist

    delta_input[c] = delta[c] / s[c]^beta - 2 alpha beta / n x[c] sum of delta[j] x[j] / s[j]^(beta + 1)
                     over the channels j from c - (n - 1) // 2 to c + n // 2

    Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    section 3.3.
    """

    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        return F.local_response_norm(input, size, alpha, beta, k)

    def s(input: Tensor, size: int, alpha: float, k: float) -> Tensor:
        return k + alpha * neighbours(input * input, size, size // 2)

    def delta_input(delta: Tensor, input: Tensor, s: Tensor, size: int, alpha: float, beta: float) -> Tensor:
        share = delta * s.pow(-beta)
        return share - 2 * alpha * beta * input * neighbours(share * input / s, size, (size - 1) // 2)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, size, alpha, beta, k = inputs
        s = LocalResponseNorm.s(input, size, alpha, k)
        t_s = 2 * alpha * neighbours(input * tangents[0], size, size // 2)
        return tangents[0] * s.pow(-beta) - beta * input * s.pow(-beta - 1) * t_s


def neighbours(values: Tensor, size: int, before: int) -> Tensor:
    """The mean over `size` channels, `before` of them before each channel; channels that do not exist count as 0."""
    batch, channels, *positions = values.shape
    plane = values.reshape(batch, 1, channels, torch.Size(positions).numel())
    plane = F.pad(plane, (0, 0, before, size - 1 - before))
    return F.avg_pool2d(plane, (size, 1), stride=1).reshape(values.shape)


class CrossMapLRN(Rule):
    """y = x / s^beta,   s[c] = k + alpha / n sum over j of W[c, j] x[j]²

    input, output, delta, s (N, C, H, W)   n: size   W (C, C): W[c, j] is 1 for |c - j| <= (n - 1) // 2, else 0

    delta_input[c] = delta[c] / s[c]^beta - 2 alpha beta / n x[c] sum over j of W[j, c] delta[j] x[j] / s[j]^(beta + 1)

    As in torch.nn.CrossMapLRN2d, channel 0 stays in the window: W[c, 0] is also 1 for all larger c.

    Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    section 3.3.
    """

    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        return input * CrossMapLRN.s(input, size, alpha, k).pow(-beta)

    def s(input: Tensor, size: int, alpha: float, k: float) -> Tensor:
        return k + alpha / size * over_channels(CrossMapLRN.window(input, size), input * input)

    def window(input: Tensor, size: int) -> Tensor:
        """W."""
        channel = torch.arange(input.shape[1], device=input.device)
        reach = (size - 1) // 2
        near = (channel.unsqueeze(1) - channel).abs() <= reach
        stays = (channel == 0) & (channel.unsqueeze(1) > reach)
        return (near | stays).to(input.dtype)

    def delta_input(delta: Tensor, input: Tensor, s: Tensor, size: int, alpha: float, beta: float) -> Tensor:
        share = delta * s.pow(-beta)
        along = over_channels(CrossMapLRN.window(input, size).mT, share * input / s)
        return share - 2 * alpha * beta / size * input * along

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, size, alpha, beta, k = inputs
        s = CrossMapLRN.s(input, size, alpha, k)
        t_s = 2 * alpha / size * over_channels(CrossMapLRN.window(input, size), input * tangents[0])
        return tangents[0] * s.pow(-beta) - beta * input * s.pow(-beta - 1) * t_s


def over_channels(matrix: Tensor, values: Tensor) -> Tensor:
    """The matmul of a matrix (C, C) with the channel axis of (N, C, H, W)."""
    batch, channels, *positions = values.shape
    return (matrix @ values.reshape(batch, channels, torch.Size(positions).numel())).reshape(values.shape)
