"""Rows of eigenvalues, singular values and matrix functions."""

import torch

from ._make import COMPLEX, function
from ._matrices import both, hermitian, matrices, positive, squares, through, without

C = COMPLEX
PHASE = both(C, without("torch's check of the phase cannot be vmapped", "transforms: vmap(grad)"))
COMPILED = both(C, without("torch.compile's result differs from torch's own", "compiled"))
EXP = without("torch's exponential in bfloat16 is NaN", "bfloat16", "autocast")
REFUSED = without("torch does the decomposition inside in float32; ours refuses 16 bits", "autocast")
VALUES = {"forward": (1e-5, "LAPACK computes values without vectors by another method")}


def turned(F, X, *others):
    """X with well separated eigenvalues, if X is small."""
    return F.add(X, torch.arange(X.shape[-1], device=X.device).to(X.dtype).mul(4).diag_embed()), *others


def small(F, X, *others):
    """(X X^H + I) / 8, whose eigenvalues are below 1."""
    return F.mul(positive(F, X)[0], 0.125), *others


CASES = [
    through("linalg_eigh", (matrices(3, 3),), hermitian),
    through("linalg_eigh", (matrices(2, 3, 3),), hermitian, UPLO="U"),
    through("linalg_eigh", (matrices(3, 3, of=True),), hermitian, squares, tag="complex", row=C),
    through("linalg_eigvalsh", (matrices(3, 3),), hermitian, row=VALUES),
    through("linalg_eigvalsh", (matrices(3, 3, of=True),), hermitian, tag="complex", row={**C, **VALUES}),
    through("linalg_eig", (matrices(3, 3),), turned, squares),
    through("linalg_eig", (matrices(2, 3, 3, of=True),), turned, squares, tag="complex", row=C),
    through("linalg_svd", (matrices(3, 3),)),
    through("linalg_svd", (matrices(4, 2),), full_matrices=False, tag="tall"),
    through("linalg_svd", (matrices(2, 2, 4),), full_matrices=False, tag="wide"),
    through("linalg_svd", (matrices(3, 3, of=True),), after=squares, tag="complex", row=PHASE),
    through(
        "linalg_svd", (matrices(4, 2, of=True),), after=squares, full_matrices=False, tag="tall-complex", row=PHASE
    ),
    through(
        "linalg_svd", (matrices(2, 4, of=True),), after=squares, full_matrices=False, tag="wide-complex", row=PHASE
    ),
    through("linalg_svdvals", (matrices(4, 2),), row=VALUES),
    through("linalg_svdvals", (matrices(2, 4, of=True),), tag="complex", row={**C, **VALUES}),
    function("linalg_matrix_exp", (matrices(3, 3),), row=EXP),
    function("linalg_matrix_exp", (matrices(2, 3, 3, of=True),), tag="complex", row=C),
]

if hasattr(torch.linalg, "matrix_sqrth"):  # new in torch 2.14, polar as well
    CASES += [
        through("linalg_matrix_sqrth", (matrices(3, 3),), positive),
        through("linalg_matrix_sqrth", (matrices(3, 3, scale=0.1),), small, tag="small"),
        through("linalg_matrix_sqrth", (matrices(2, 3, 3, of=True),), positive, tag="complex", row=COMPILED),
        function("linalg_polar", (matrices(3, 3),), row=REFUSED),
        function("linalg_polar", (matrices(4, 2),), tag="tall", row=REFUSED),
        function("linalg_polar", (matrices(2, 4, 3, of=True),), tag="tall-complex", row=COMPILED),
    ]
