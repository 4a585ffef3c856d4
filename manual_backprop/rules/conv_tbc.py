"""Convolution of sequences that have time as their first axis: ConvTBC."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import LOWER, Rule
from ..engine.terms import flat, total


class ConvTBC(Rule):
    """y[t, n] = bias + sum over k of x[t + k - pad, n] W[k], zeros beyond the ends of x

    input (T, N, C)   weight (K, C, O)   bias (O)   pad: int   output, delta (T + 2 pad - K + 1, N, O)

    delta_input[t, n] = sum over k of delta[t - k + pad, n] W[k]^T
    grad_weight[k] = sum over t, n of x[t + k - pad, n]^T delta[t, n]     grad_bias = sum over t, n of delta

    Source: Gehring, Auli, Grangier, Yarats, Dauphin 2017, "Convolutional sequence to sequence learning"; the adjoint of
    a convolution is a correlation: Goodfellow, Bengio, Courville 2016, "Deep Learning", section 9.5.
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(input: Tensor, weight: Tensor, bias: Tensor, pad: int) -> Tensor:
        return torch.conv_tbc(input, weight, bias, pad)

    def delta_input(delta: Tensor, weight: Tensor, input_shape: torch.Size, pad: int) -> Tensor:
        last = len(weight) - 1
        # add the product of each tap at its place in the padded x
        taps = [along_time(delta @ tap.mT, k, last - k) for k, tap in enumerate(weight.unbind())]
        return torch.stack(taps).sum(0).narrow(0, pad, input_shape[0])

    def grad_weight(delta: Tensor, input: Tensor, weight_shape: torch.Size, pad: int) -> Tensor:
        padded = along_time(input, pad, pad)
        taps = [flat(padded.narrow(0, k, len(delta))).mT @ flat(delta) for k in range(weight_shape[0])]
        return torch.stack(taps)

    def grad_bias(delta: Tensor) -> Tensor:
        return delta.sum((0, 1))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight, bias, pad = inputs
        t_input, t_weight, t_bias = tangents[:3]
        zeros = torch.zeros_like(bias)
        return total(
            None if t_input is None else torch.conv_tbc(t_input, weight, zeros, pad),
            None if t_weight is None else torch.conv_tbc(input, t_weight, zeros, pad),
            None if t_bias is None else t_bias.expand(output.shape),
        )


def along_time(values: Tensor, before: int, behind: int) -> Tensor:
    """`values` with zeros before and after them along the time axis."""
    return torch.nn.functional.pad(values, (0, 0, 0, 0, before, behind))
