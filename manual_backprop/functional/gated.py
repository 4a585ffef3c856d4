"""Activations that weight a value by a gate between 0 and 1."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """y = x Phi(x), or its approximation by tanh, as torch.nn.functional.gelu; rule: `mb.rules.GELU`.

    Raises RuntimeError when `approximate` is neither "none" nor "tanh".
    """
    return call(rules.GELU, input, approximate)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """y = a sigma(b) of the two halves along dim, as torch.nn.functional.glu; rule: `mb.rules.GLU`.

    Raises RuntimeError for a scalar and when the size along dim is odd, IndexError when there is no such dim.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    return call(rules.GLU, input, dim)
