"""Affine maps."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call
from .shape import flatten, reshape


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b, as torch.nn.functional.linear; rule: `mb.rules.Linear`."""
    return call(rules.Linear, input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T W_o x2 + b_o, as torch.nn.functional.bilinear; rule: `mb.rules.Bilinear`."""
    return call(rules.Bilinear, _in_rows(input1), _in_rows(input2), weight, bias)


def _in_rows(input: Tensor) -> Tensor:
    """A copy of an input that cannot be viewed as a matrix: torch saves a copy there, so users may edit the input."""
    return input if input.dim() < 3 or input.is_contiguous() else reshape(flatten(input, 0, -2), input.shape)
