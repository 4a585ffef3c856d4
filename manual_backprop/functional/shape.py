"""The same elements in another shape."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import rules
from ._call import call


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """x in another shape, a view where it can be one, as torch.reshape; rule: `mb.rules.Reshape`."""
    return call(rules.Reshape, input, tuple(shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim made one, as torch.flatten; rule: `mb.rules.Flatten`.

    Like the twin returns `input` itself where there is a single axis to flatten.
    """
    rank = input.dim()
    valid = range(-rank, rank)
    if start_dim in valid and end_dim in valid and start_dim % rank == end_dim % rank:
        return input
    return call(rules.Flatten, input, start_dim, end_dim)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The axis dim split into several, as torch.unflatten; rule: `mb.rules.Unflatten`."""
    return call(rules.Unflatten, input, dim, tuple(sizes))


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes in the order of `dims`, a view, as torch.permute; rule: `mb.rules.Permute`."""
    return call(rules.Permute, input, tuple(dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged, a view, as torch.transpose; rule: `mb.rules.Permute`."""
    dims = list(range(input.dim()))
    for dim in (dim0, dim1):
        if not -max(len(dims), 1) <= dim < max(len(dims), 1):
            raise IndexError(f"transpose: dim {dim} is out of range for an input with {len(dims)} axes")
    if dims:
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return permute(input, dims)
