"""Dropout's product of delta, mask and noise in one printed loop, equal to the formulas to the last bit.

Masks of whole channels are left to the formulas, which take as long.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ..rules import AlphaDropout, Dropout
from ..rules.dropout import alpha_scale
from . import c, native
from .pointwise import LOOPS, kernel
from .registry import serves

EACH = f"{LOOPS}; a mask of each element"


@serves(Dropout.delta_input, on="cpu", when=EACH)
def dropout_delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
    return NotImplemented if p == 1 else _times(delta, mask, 1 - p, divided=True)


@serves(AlphaDropout.delta_input, on="cpu", when=EACH)
def alpha_dropout_delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
    return _times(delta, mask, alpha_scale(p), divided=False)


def _times(delta: Tensor, mask: Tensor, number: float, divided: bool) -> Tensor:
    """delta mask noise."""
    if mask.shape != delta.shape or delta.dtype not in c.TYPES or not native.plain(delta, mask):
        return NotImplemented
    return _kept(delta, mask, _noise(number, divided, delta.dtype))


@functools.cache
def _noise(number: float, divided: bool, dtype: torch.dtype) -> float:
    """The number, or 1 over it, rounded as the formula's tensor is."""
    one = torch.ones((), dtype=dtype, device="cpu")
    return (one / number if divided else one * number).item()


def _dropped(delta: Tensor, mask: Tensor, noise: float) -> Tensor:
    return delta * mask * noise  # a number times a mask alone would be float32


_kept = kernel(_dropped, like=0)
