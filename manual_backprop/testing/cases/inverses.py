"""Rows of inverses, linear systems and determinants."""

import torch

from ._make import COMPLEX
from ._matrices import conditioned, first, lower, matrices, through, upper, without

C = COMPLEX
REFUSED = without("16 bits are refused, with an error of another type than torch's", "autocast")

CASES = [
    through("linalg_inv_ex", (matrices(3, 3),), conditioned, first),
    through("linalg_inv_ex", (matrices(2, 3, 3, of=True),), conditioned, first, tag="complex", row=C),
    through("linalg_solve", (matrices(3, 3), matrices(3, 2)), conditioned),
    through("linalg_solve", (matrices(2, 3, 3), matrices(2, 3)), conditioned, tag="vectors"),
    through("linalg_solve", (matrices(3, 3), matrices(3)), conditioned, tag="vector"),
    through(
        "linalg_solve",
        (matrices(2, 1, 3, 3), matrices(4, 3, 2)),
        conditioned,
        tag="broadcast",
        row=without("torch's own batching rule fails", "transforms: vmap(grad)"),
    ),
    through("linalg_solve", (matrices(3, 3), matrices(2, 3)), conditioned, left=False),
    through("linalg_solve", (matrices(3, 3, of=True), matrices(3, 2, of=True)), conditioned, tag="complex", row=C),
    through(
        "linalg_solve",
        (matrices(3, 3, of=True), matrices(2, 3, of=True)),
        conditioned,
        left=False,
        tag="complex",
        row=C,
    ),
    *(
        through(
            "linalg_solve_triangular",
            (matrices(3, 3, of=of), matrices(*((3, 2) if left else (2, 3)), of=of)),
            upper if up else lower,
            upper=up,
            left=left,
            unitriangular=ones,
            tag="complex" * of,
            row=C if of else {},
        )
        for up, left, ones, of in (
            (True, True, False, False),
            (False, False, True, False),
            (False, True, False, True),
            (True, False, True, True),
        )
    ),
    through("linalg_solve_triangular", (matrices(2, 1, 3, 3), matrices(4, 3, 2)), upper, upper=True, tag="broadcast"),
    through(
        "linalg_lu_solve",
        (matrices(3, 3), matrices(3, 2)),
        lambda F, X, B: (conditioned(F, X)[0], torch.tensor([2, 3, 3], dtype=torch.int32, device=X.device), B),
    ),
    *(
        through(
            "linalg_lu_solve",
            (matrices(3, 3, of=of), matrices(*((3, 2) if left else (2, 3)), of=of)),
            lambda F, X, B: (conditioned(F, X)[0], torch.tensor([2, 3, 3], dtype=torch.int32, device=X.device), B),
            left=left,
            adjoint=adjoint,
            tag="complex" * of,
            row=C if of else {},
        )
        for left, adjoint, of in (
            (True, True, False),
            (False, False, False),
            (False, True, False),
            (True, False, True),
            (True, True, True),
            (False, True, True),
        )
    ),
    through(
        "linalg_lu_solve",
        (matrices(2, 3, 3), matrices(4, 1, 3, 2)),
        lambda F, X, B: (conditioned(F, X)[0], torch.tensor([[2, 3, 3], [1, 2, 3]], dtype=torch.int32), B),
        tag="broadcast",
    ),
    through("linalg_det", (matrices(3, 3),)),
    through("linalg_det", (matrices(6, 4, 4),), tag="permutations"),
    through("linalg_det", (matrices(2, 3, 3, of=True),), tag="complex", row=C),
    through("linalg_slogdet", (matrices(3, 3),), conditioned, row=REFUSED),
    through("linalg_slogdet", (matrices(2, 3, 3, of=True),), tag="complex", row=C),
]
