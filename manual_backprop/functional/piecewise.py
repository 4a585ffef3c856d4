"""Hardtanh and ReLU6; the other functions of this family are generated from their rules."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call, call_in_place


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """y = min(max(x, min_val), max_val), as torch.nn.functional.hardtanh; rule: `mb.rules.Hardtanh`.

    Raises ValueError when min_val > max_val.
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return (call_in_place if inplace else call)(rules.Hardtanh, input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, written over the input, as torch.nn.functional.hardtanh_."""
    return call_in_place(rules.Hardtanh, input, min_val, max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """y = min(max(x, 0), 6), as torch.nn.functional.relu6; rule: `mb.rules.Hardtanh`."""
    return hardtanh(input, 0.0, 6.0, inplace)
