"""Operators that only torch itself calls with these arguments, inside of its functions. `mb.explicit` sees them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""The constants of Klambauer et al. 2017, as torch has them."""


@stands_for("elu")
def _elu(input: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    """ELU, CELU and SELU are one operator in torch, told apart by its constants; others are left to autograd."""
    if (scale, input_scale) == (1, 1):
        return call(rules.ELU, input, alpha)
    if scale == 1 and input_scale * alpha == 1:
        return call(rules.CELU, input, alpha)
    if (alpha, scale, input_scale) == (SELU_ALPHA, SELU_SCALE, 1):
        return call(rules.SELU, input)
    return NotImplemented


@stands_for("_prelu_kernel")
def _prelu_kernel(input: Tensor, weight: Tensor) -> Tensor:
    """PReLU with a weight that is already reshaped to broadcast along the channel axis."""
    return call(rules.PReLU, input, weight.reshape(-1))
