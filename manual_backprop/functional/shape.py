"""The same elements in another shape: torch's own views. A view carries no arithmetic, so it needs no rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """x in another shape, a view where it can be one: torch.reshape itself."""
    return torch.reshape(input, tuple(shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim merged into one: torch.flatten itself."""
    return torch.flatten(input, start_dim, end_dim)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The axis dim split into several: torch.unflatten itself."""
    return torch.unflatten(input, dim, tuple(sizes))


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes in the order of `dims`, a view: torch.permute itself."""
    return torch.permute(input, tuple(dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped, a view: torch.transpose itself."""
    return torch.transpose(input, dim0, dim1)
