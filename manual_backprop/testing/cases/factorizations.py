"""Rows of Cholesky, LU and QR, and of solvers that use Cholesky or LU."""

import torch

from ._make import COMPLEX
from ._matrices import (
    cholesky_lower,
    cholesky_upper,
    conditioned,
    first,
    lower_last,
    matrices,
    positive,
    through,
    upper_last,
    without,
)

C = COMPLEX
HESSIAN = without("torch's result is wrong: it differs from torch's own double backward", "transforms: hessian")
PIVOTS = torch.tensor([2, 3, 3], dtype=torch.int32)


def factors(F, found):
    """L and U."""
    return found[1:]


def middle(F, found):
    """L alone."""
    return found[1]


def last(F, found):
    """U alone."""
    return found[2]


CASES = [
    through("linalg_cholesky_ex", (matrices(3, 3),), positive, first),
    through("linalg_cholesky_ex", (matrices(2, 3, 3),), positive, first, upper=True),
    through("linalg_cholesky_ex", (matrices(3, 3, of=True),), positive, first, tag="complex", row=C),
    through("linalg_cholesky_ex", (matrices(3, 3, of=True),), positive, first, upper=True, tag="complex", row=C),
    through("cholesky_solve", (matrices(3, 2), matrices(3, 3)), lower_last),
    through("cholesky_solve", (matrices(3, 2), matrices(3, 3)), upper_last, upper=True),
    through("cholesky_solve", (matrices(4, 1, 3, 2), matrices(2, 3, 3)), lower_last, tag="broadcast"),
    through("cholesky_solve", (matrices(3, 2, of=True), matrices(3, 3, of=True)), lower_last, tag="complex", row=C),
    through(
        "cholesky_solve",
        (matrices(3, 2, of=True), matrices(3, 3, of=True)),
        upper_last,
        upper=True,
        tag="complex",
        row=C,
    ),
    through("cholesky_inverse", (matrices(3, 3),), cholesky_lower, row=HESSIAN),
    through("cholesky_inverse", (matrices(2, 3, 3),), cholesky_upper, upper=True, row=HESSIAN),
    through("cholesky_inverse", (matrices(3, 3, of=True),), cholesky_lower, tag="complex", row=C),
    through("cholesky_inverse", (matrices(3, 3, of=True),), cholesky_upper, upper=True, tag="complex", row=C),
    through("linalg_lu", (matrices(3, 3),), after=factors),
    through("linalg_lu", (matrices(4, 5, 5),), after=factors, tag="permutations"),
    through("linalg_lu", (matrices(2, 4),), after=factors, tag="wide"),
    through("linalg_lu", (matrices(4, 2),), after=factors, tag="tall"),
    through("linalg_lu", (matrices(2, 3, 3, of=True),), after=factors, tag="complex", row=C),
    through("linalg_lu_factor_ex", (matrices(3, 3),), after=first),
    through("linalg_lu_factor_ex", (matrices(2, 2, 4, of=True),), after=first, tag="wide-complex", row=C),
    through("linalg_lu_factor_ex", (matrices(4, 2),), after=first, tag="tall"),
    through("lu_unpack", (matrices(3, 3),), lambda F, X: (X, PIVOTS), factors),
    through("lu_unpack", (matrices(3, 4),), lambda F, X: (X, PIVOTS), factors, tag="wide"),
    through("lu_unpack", (matrices(4, 3),), lambda F, X: (X, PIVOTS), factors, tag="tall"),
    through("lu_unpack", (matrices(2, 3, 4),), lambda F, X: (X, PIVOTS.expand(2, 3)), last, tag="upper"),
    through("lu_unpack", (matrices(2, 4, 3),), lambda F, X: (X, PIVOTS.expand(2, 3)), middle, tag="lower"),
    through("lu_unpack", (matrices(3, 3),), lambda F, X: (X, PIVOTS), factors, unpack_pivots=False),
    through("linalg_qr", (matrices(3, 3),), conditioned),
    through("linalg_qr", (matrices(4, 2),), tag="tall"),
    through("linalg_qr", (matrices(2, 2, 4),), tag="wide"),
    through("linalg_qr", (matrices(2, 3),), mode="complete"),
    through("linalg_qr", (matrices(3, 3),), conditioned, mode="complete", tag="square"),
    through("linalg_qr", (matrices(4, 2, of=True),), tag="tall-complex", row=C),
    through("linalg_qr", (matrices(2, 4, of=True),), tag="wide-complex", row=C),
]
