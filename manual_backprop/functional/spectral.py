"""Eigenvalues and singular values with torch.linalg's signatures."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from ._results import named


def linalg_eigh(A: Tensor, UPLO: str = "L") -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a Hermitian matrix, as torch.linalg.eigh; rule: `mb.rules.Eigh`."""
    return named("linalg_eigh", call(rules.Eigh, A, UPLO))


def linalg_eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of a Hermitian matrix, as torch.linalg.eigvalsh; rule: `mb.rules.Eigh`."""
    return call(rules.Eigh, A, UPLO)[0]


def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V^H of A = U S V^H, as torch.linalg.svd; rule: `mb.rules.SVD`."""
    return named("linalg_svd", call(rules.SVD, A, full_matrices, driver))


def linalg_svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, as torch.linalg.svdvals; rule: `mb.rules.SVD`."""
    return call(rules.SVD, A, False, driver)[1]


@stands_for("_linalg_eigh")
def _eigh(A: Tensor, UPLO: str = "L", compute_v: bool = True) -> tuple[Tensor, Tensor]:
    """Without vectors they are computed all the same: the backward needs them."""
    L, V = call(rules.Eigh, A, UPLO)
    return L, V if compute_v else V.new_empty(0)


@stands_for("_linalg_eigvals")
def _eigvals(A: Tensor) -> Tensor:
    return call(rules.Eig, A)[0]


@stands_for("_linalg_svd")
def _svd(
    A: Tensor, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Without vectors they are computed all the same: the backward needs them."""
    U, S, Vh = call(rules.SVD, A, full_matrices and compute_uv, driver)
    return (U, S, Vh) if compute_uv else (U.new_empty(0), S, Vh.new_empty(0))
