"""Smooth activations."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call, call_in_place


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x), as torch.nn.functional.sigmoid; rule: `mb.rules.Sigmoid`."""
    return call(rules.Sigmoid, input)


def logsigmoid(input: Tensor) -> Tensor:
    """y = -log(1 + e^-x), as torch.nn.functional.logsigmoid; rule: `mb.rules.LogSigmoid`."""
    return call(rules.LogSigmoid, input)


def tanh(input: Tensor) -> Tensor:
    """y = tanh(x), as torch.nn.functional.tanh; rule: `mb.rules.Tanh`."""
    return call(rules.Tanh, input)


def tanhshrink(input: Tensor) -> Tensor:
    """y = x - tanh(x), as torch.nn.functional.tanhshrink; rule: `mb.rules.Tanhshrink`."""
    return call(rules.Tanhshrink, input)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """y = log(1 + e^(beta x)) / beta, as torch.nn.functional.softplus; rule: `mb.rules.Softplus`."""
    return call(rules.Softplus, input, beta, threshold)


def softsign(input: Tensor) -> Tensor:
    """y = x / (1 + |x|), as torch.nn.functional.softsign; rule: `mb.rules.Softsign`."""
    return call(rules.Softsign, input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x sigma(x), as torch.nn.functional.silu; rule: `mb.rules.SiLU`."""
    return (call_in_place if inplace else call)(rules.SiLU, input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x tanh(log(1 + e^x)), as torch.nn.functional.mish; rule: `mb.rules.Mish`."""
    return (call_in_place if inplace else call)(rules.Mish, input)
