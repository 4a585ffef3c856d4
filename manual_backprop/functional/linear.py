"""Affine maps."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b, as torch.nn.functional.linear; rule: `mb.rules.Linear`."""
    return call(rules.Linear, input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T W_o x2 + b_o, as torch.nn.functional.bilinear; rule: `mb.rules.Bilinear`."""
    return call(rules.Bilinear, input1, input2, weight, bias)
