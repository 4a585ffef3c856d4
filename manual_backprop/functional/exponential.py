"""Exponential linear units."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call, call_in_place


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1), as torch.nn.functional.elu; rule: `mb.rules.ELU`.

    After an in-place call with a negative alpha, backward raises RuntimeError, as torch's does.
    """
    return (call_in_place if inplace else call)(rules.ELU, input, alpha)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, written over the input, as torch.nn.functional.elu_."""
    return elu(input, alpha, inplace=True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1), as torch.nn.functional.celu; rule: `mb.rules.CELU`.

    Raises RuntimeError when alpha is 0. After an in-place call with a negative alpha, so does backward, as torch's.
    """
    return (call_in_place if inplace else call)(rules.CELU, input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, written over the input, as torch.nn.functional.celu_."""
    return celu(input, alpha, inplace=True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1), as torch.nn.functional.selu; rule: `mb.rules.SELU`."""
    return (call_in_place if inplace else call)(rules.SELU, input)


def selu_(input: Tensor) -> Tensor:
    """`selu`, written over the input, as torch.nn.functional.selu_."""
    return selu(input, inplace=True)
