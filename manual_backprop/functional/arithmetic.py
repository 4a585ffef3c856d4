"""Arithmetic with torch's signatures, for residual connections, shared weights and your own losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call

Operand = Tensor | float | int | bool


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """input + alpha other, as torch.add; rule: `mb.rules.Add`."""
    return call(rules.Add, input, other, alpha)


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """input - alpha other, as torch.sub; rule: `mb.rules.Sub`."""
    return call(rules.Sub, input, other, alpha)


def mul(input: Operand, other: Operand) -> Tensor:
    """input other, element by element, as torch.mul; rule: `mb.rules.Mul`."""
    return call(rules.Mul, input, other)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, as torch.div; rule: `mb.rules.Div`, with a rounding mode `mb.rules.DivRounded` (gradients 0)."""
    if rounding_mode is None:
        return call(rules.Div, input, other)
    return call(rules.DivRounded, input, other, rounding_mode)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product, as torch.matmul; rule: `mb.rules.Matmul`."""
    return call(rules.Matmul, input, other)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenation along an axis, as torch.cat; rule: `mb.rules.Cat`."""
    if torch.compiler.is_compiling():
        # where nothing requires a gradient, torch.compile mistakes the first argument of a forward(*tensors) for ctx
        recorded = False
        for tensor in tensors:
            recorded = recorded or tensor.requires_grad
        if not (recorded and torch.is_grad_enabled()):
            return torch.cat(list(tensors), dim)
    return call(rules.Cat, dim, *tensors)


def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """Sum over axes (default: all), as torch.sum; rule: `mb.rules.Sum`."""
    return call(rules.Sum, input, dim, keepdim, dtype)


def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """Mean over axes (default: all), as torch.mean; rule: `mb.rules.Mean`."""
    return call(rules.Mean, input, dim, keepdim, dtype)
