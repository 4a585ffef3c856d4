"""Products and norms with torch's signatures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """The product of all, or along an axis, as torch.prod; rules: `mb.rules.Prod`, `mb.rules.ProdAlong`."""
    return call(rules.Prod, input, dtype) if dim is None else call(rules.ProdAlong, input, dim, keepdim, dtype)


@stands_for("norm.Scalar")
def _norm(input: Tensor, p: Any = 2) -> Tensor:
    return call(rules.VectorNorm, input, p, None, False, None)


@stands_for("norm.ScalarOpt_dim")
def _norm_along(input: Tensor, p: Any, dim: Any, keepdim: bool = False) -> Tensor:
    return call(rules.VectorNorm, input, 2 if p is None else p, dim, keepdim, None)


@stands_for("norm.ScalarOpt_dtype")
def _norm_in(input: Tensor, p: Any, *, dtype: torch.dtype) -> Tensor:
    return call(rules.VectorNorm, input, 2 if p is None else p, None, False, dtype)


@stands_for("norm.ScalarOpt_dim_dtype")
def _norm_along_in(input: Tensor, p: Any, dim: Any, keepdim: bool, *, dtype: torch.dtype) -> Tensor:
    return call(rules.VectorNorm, input, 2 if p is None else p, dim, keepdim, dtype)
