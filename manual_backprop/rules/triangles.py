"""Systems of equations with a triangular matrix.

X^H is X transposed and conjugated, A^-H the inverse of A^H. Deltas are summed over broadcast batch axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to, total


class SolveTriangular(Rule):
    """X = A^-1 B,   or B A^-1 with left=False,   of a triangular A

    A (*, N, N)   B (*, N, K), (*, K, N) with left=False   output X, delta as B

    delta_B = A^-H delta                    or delta A^-H
    delta_A = the triangle of - delta_B X^H   or of - X^H delta_B,   without a diagonal of ones

    Source: Giles 2008, "Collected matrix derivative results", section 2.3.1, for the elements of A that are read.
    """

    def forward(A: Tensor, B: Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor:
        return torch.linalg.solve_triangular(A, B, upper=upper, left=left, unitriangular=unitriangular)

    def whole_delta_B(delta: Tensor, A: Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor:
        """The delta of B before the sum over broadcast batch axes."""
        return torch.linalg.solve_triangular(A.mH, delta, upper=not upper, left=left, unitriangular=unitriangular)

    def delta_A(
        whole_delta_B: Tensor, output: Tensor, upper: bool, left: bool, unitriangular: bool, A_shape: torch.Size
    ) -> Tensor:
        delta_A = -whole_delta_B @ output.mH if left else -output.mH @ whole_delta_B
        return sum_to(triangle(delta_A, upper, unitriangular), A_shape)

    def delta_B(whole_delta_B: Tensor, B_shape: torch.Size) -> Tensor:
        return sum_to(whole_delta_B, B_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        A, _, upper, left, unitriangular = inputs
        t_A, t_B, *_ = tangents
        moved = t_B
        if t_A is not None:
            t_A = triangle(t_A, upper, unitriangular)
            moved = total(t_B, -t_A @ output if left else -output @ t_A)
        return torch.linalg.solve_triangular(A, moved, upper=upper, left=left, unitriangular=unitriangular)


def triangle(X: Tensor, upper: bool, unitriangular: bool = False) -> Tensor:
    """The triangle of a matrix that is read. With unitriangular=True the diagonal is taken as ones and not read."""
    return X.triu(int(unitriangular)) if upper else X.tril(-int(unitriangular))


def from_left(L: Tensor, B: Tensor, upper: bool, unitriangular: bool = False) -> Tensor:
    """L^-1 B for a triangular L."""
    return torch.linalg.solve_triangular(L, B, upper=upper, unitriangular=unitriangular)


def from_right(B: Tensor, U: Tensor, upper: bool, unitriangular: bool = False) -> Tensor:
    """B U^-1 for a triangular U."""
    return torch.linalg.solve_triangular(U, B, upper=upper, left=False, unitriangular=unitriangular)


def parted(X: Tensor, k: int, dim: int = -1) -> tuple[Tensor, Tensor]:
    """The first k columns (rows with dim=-2), and the remaining ones."""
    return X.narrow(dim, 0, k), X.narrow(dim, k, X.shape[dim] - k)
