"""Rows of linear algebra.

Inputs must be symmetric, triangular or well-conditioned, also while finite differences change their elements one by
one. Outputs must not depend on the phase of a vector, which is arbitrary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.operators import torch_function

from ..case import Case, Spec, complex_normal, normal
from ._make import _label

ROUNDED = (1e-5, "sums in another order")

Change = Callable[..., Any]


def through(name: str, inputs: tuple[Spec, ...], before: Change | None = None, after: Change | None = None,
            twin: Callable | None = None, tag: str = "", row: dict | None = None, **kwargs: Any) -> Case:  # fmt: skip
    """A row of `mb.functional.<name>`, with `before` applied to its inputs and `after` to its outputs.

    The first argument of both is the namespace for add, mul and matmul: ours, or torch's for the twin.
    """

    def make(function: Callable[..., Any], namespace: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            given = args if before is None else before(namespace, *args)
            found = function(*given, **kwargs)
            return found if after is None else after(namespace, found)

        return run

    theirs = twin or torch_function(name)
    label = _label(name, (), kwargs) + (f"-{tag}" if tag else "")
    return Case(
        label,
        lambda: make(getattr(mb.functional, name), mb.functional),
        lambda: make(theirs, torch),
        inputs,
        **(row or {}),
    )


def eye(X: Tensor, times: float = 1.0) -> Tensor:
    """The identity, of the size and dtype of X."""
    return times * torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)


def hermitian(F: Any, X: Tensor, *others: Any) -> tuple:
    """X + X^H, with eigenvalues apart from each other."""
    apart = torch.arange(X.shape[-1], device=X.device).to(X.dtype).mul(4).diag_embed()
    return F.add(F.add(X, X.mH), apart), *others


def positive(F: Any, X: Tensor, *others: Any) -> tuple:
    """X X^H + I"""
    return F.add(F.matmul(X, X.mH), eye(X)), *others


def conditioned(F: Any, X: Tensor, *others: Any) -> tuple:
    """X + 3 I"""
    return F.add(X, eye(X, 3.0)), *others


def lower(F: Any, X: Tensor, *others: Any) -> tuple:
    """The lower triangle of X + 3 I."""
    return F.mul(F.add(X, eye(X, 3.0)), torch.ones_like(X).tril()), *others


def lower_last(F: Any, B: Tensor, X: Tensor, *others: Any) -> tuple:
    """`lower` of the second argument."""
    return B, *lower(F, X), *others


def upper(F: Any, X: Tensor, *others: Any) -> tuple:
    """The upper triangle of X + 3 I."""
    return F.mul(F.add(X, eye(X, 3.0)), torch.ones_like(X).triu()), *others


def upper_last(F: Any, B: Tensor, X: Tensor, *others: Any) -> tuple:
    """`upper` of the second argument."""
    return B, *upper(F, X), *others


def cholesky_lower(F: Any, X: Tensor, *others: Any) -> tuple:
    """The lower triangle of X, with 6 + twice the real part of X on its diagonal."""
    L = F.mul(X, torch.ones_like(X).tril(-1))
    return F.add(L, F.mul(F.add(F.add(X, X.conj()), eye(X, 6.0)), eye(X))), *others


def cholesky_upper(F: Any, X: Tensor, *others: Any) -> tuple:
    """The transpose of `cholesky_lower`."""
    return cholesky_lower(F, X)[0].mT, *others


def first(F: Any, found: tuple) -> Tensor:
    """The first result."""
    return found[0]


def squares(F: Any, found: tuple) -> tuple:
    """|z|^2 of the complex results, which does not depend on the phase."""
    return tuple([F.mul(z, z.conj()) if z.is_complex() else z for z in found])


def matrices(*shape: int, of: bool = False, scale: float = 1.0) -> Spec:
    """Gaussian matrices, real or complex, without special values."""
    return complex_normal(*shape) if of else Spec(normal(*shape, scale=scale).make)


def without(reason: str, *checks: str) -> dict:
    """The field of a row to which some checks do not apply."""
    return {"without": dict.fromkeys(checks, reason)}


def both(*rows: dict) -> dict:
    """The fields of several rows, merged."""
    return {"without": {check: reason for row in rows for check, reason in row.get("without", {}).items()}}
