"""Reading and writing by index with torch's signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call, call_in_place
from ._overloads import stands_for

Indices = Sequence[Tensor | None]


@stands_for("gather")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """One element along an axis for each index, as torch.gather; rule: `mb.rules.Gather`.

    With `sparse_grad=True`, this is torch's own function.
    """
    if sparse_grad:
        return torch.gather(input, dim, index, sparse_grad=True)
    return call(rules.Gather, input, dim, index)


@stands_for("index", "_unsafe_index.Tensor")
def index(input: Tensor, indices: Indices) -> Tensor:
    """input[i, j, ...], where an index is a tensor, or None for a whole axis; rule: `mb.rules.Index`."""
    return call(rules.Index, input, *indices)


@stands_for("index_put", "_unsafe_index_put.default")
def index_put(input: Tensor, indices: Indices, values: Tensor, accumulate: bool = False) -> Tensor:
    """The input with values written or added at [i, j, ...], as torch.index_put; rule: `mb.rules.IndexPut`."""
    return call(rules.IndexPut, input, values, accumulate, *indices)


@stands_for("index_put_", "_index_put_impl_.default")
def _index_put_(
    input: Tensor, indices: Indices, values: Tensor, accumulate: bool = False, unsafe: bool = False
) -> Tensor:
    return call_in_place(rules.IndexPut, input, values, accumulate, *indices)


@stands_for("_unsafe_masked_index.default")
def _masked_index(input: Tensor, mask: Tensor, indices: Indices, fill: float) -> Tensor:
    return call(rules.MaskedIndex, input, mask, fill, *_within(input, indices))


@stands_for("_unsafe_masked_index_put_accumulate.default")
def _masked_index_put(input: Tensor, mask: Tensor, indices: Indices, values: Tensor) -> Tensor:
    return call(rules.MaskedIndexPut, input, mask, values, *_within(input, indices))


def _within(input: Tensor, indices: Indices) -> list[Tensor | None]:
    """The indices, clamped to the valid range: where the mask is false they may be out of range."""
    sizes = input.shape[: len(indices)]
    return [None if i is None else i.clamp(-size, size - 1) for i, size in zip(indices, sizes, strict=True)]


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """The input with src, or one number, written at index, as torch.scatter; rules: `mb.rules.Scatter`,
    `mb.rules.ScatterValue`. With `reduce`, this is torch's own function, which then has no derivative."""
    what = value if src is None else src
    if reduce is not None:
        return torch.scatter(input, dim, index, what, reduce=reduce)
    return call(rules.Scatter if isinstance(what, Tensor) else rules.ScatterValue, input, dim, index, what)
