"""Conversion between dense and sparse tensors, with the signatures of ATen's operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


@stands_for("_to_sparse.sparse_dim")
def _some_axes(input: Tensor, sparse_dim: int) -> Tensor:
    return call(rules.ToSparse, input, sparse_dim, None, None, None) if _dense(input) else NotImplemented


@stands_for("_to_sparse")
def _to_sparse(input: Tensor, *, layout: Any = None, blocksize: Any = None, dense_dim: int | None = None) -> Tensor:
    return call(rules.ToSparse, input, None, layout, blocksize, dense_dim) if _dense(input) else NotImplemented


@stands_for("_to_dense")
def _to_dense(input: Tensor, dtype: torch.dtype | None = None, masked_grad: bool | None = None) -> Tensor:
    """Left to autograd: layouts other than COO, a change of dtype, and masked_grad=False, which gives a delta also for
    elements that the sparse tensor does not store."""
    if input.layout != torch.sparse_coo or dtype not in (None, input.dtype) or masked_grad is False:
        return NotImplemented
    return call(rules.ToDense, input)


def _dense(input: Tensor) -> bool:
    """Whether the input is dense; one sparse layout is not converted to another here."""
    return input.layout == torch.strided
