"""Rows of eigenvalues and singular values, and of functions of whole matrices."""

import torch

from ._make import function
from ._matrices import complex_row, hermitian, matrices, positive, squares, through

C = complex_row()


def turned(F, X, *others):
    """X with eigenvalues apart from each other."""
    return F.add(X, torch.arange(X.shape[-1], dtype=X.dtype).mul(4).diag_embed()), *others


CASES = [
    through("linalg_eigh", (matrices(3, 3),), hermitian),
    through("linalg_eigh", (matrices(2, 3, 3),), hermitian, UPLO="U"),
    through("linalg_eigh", (matrices(3, 3, of=True),), hermitian, squares, tag="complex", row=C),
    through("linalg_eigvalsh", (matrices(3, 3),), hermitian),
    through("linalg_eigvalsh", (matrices(3, 3, of=True),), hermitian, tag="complex", row=C),
    through("linalg_eig", (matrices(3, 3),), turned, squares),
    through("linalg_eig", (matrices(2, 3, 3, of=True),), turned, squares, tag="complex", row=C),
    through("linalg_svd", (matrices(3, 3),)),
    through("linalg_svd", (matrices(4, 2),), full_matrices=False, tag="tall"),
    through("linalg_svd", (matrices(2, 2, 4),), full_matrices=False, tag="wide"),
    through("linalg_svd", (matrices(3, 3, of=True),), after=squares, tag="complex", row=C),
    through("linalg_svd", (matrices(4, 2, of=True),), after=squares, full_matrices=False, tag="tall-complex", row=C),
    through("linalg_svd", (matrices(2, 4, of=True),), after=squares, full_matrices=False, tag="wide-complex", row=C),
    through("linalg_svdvals", (matrices(4, 2),)),
    through("linalg_svdvals", (matrices(2, 4, of=True),), tag="complex", row=C),
    function("linalg_matrix_exp", (matrices(3, 3),)),
    function("linalg_matrix_exp", (matrices(2, 3, 3, of=True),), tag="complex", row=C),
    through("linalg_matrix_sqrth", (matrices(3, 3),), positive),
    through("linalg_matrix_sqrth", (matrices(2, 3, 3, of=True),), positive, tag="complex", row=C),
    function("linalg_polar", (matrices(3, 3),)),
    function("linalg_polar", (matrices(4, 2),), tag="tall"),
    function("linalg_polar", (matrices(2, 4, 3, of=True),), tag="tall-complex", row=C),
]
