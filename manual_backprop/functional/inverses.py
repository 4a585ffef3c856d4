"""Linear systems and determinants with torch.linalg's signatures."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from ._results import named


def linalg_solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """A^-1 B, or B A^-1, as torch.linalg.solve; rule: `mb.rules.Solve`."""
    return call(rules.Solve, A, B, left, True)[0]


def linalg_solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """A^-1 B, or B A^-1, of a triangular A, as torch.linalg.solve_triangular; rule: `mb.rules.SolveTriangular`."""
    return call(rules.SolveTriangular, A, B, upper, left, unitriangular)


def linalg_det(A: Tensor) -> Tensor:
    """The determinant, as torch.linalg.det; rule: `mb.rules.Det`."""
    return call(rules.Det, A)[0]


def linalg_slogdet(A: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the determinant, as torch.linalg.slogdet; rule: `mb.rules.Slogdet`."""
    return named("linalg_slogdet", call(rules.Slogdet, A)[:2])


@stands_for("_linalg_solve_ex")
def _solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> tuple[Tensor, ...]:
    return call(rules.Solve, A, B, left, check_errors)


@stands_for("linalg_solve_triangular")
def _solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    return call(rules.SolveTriangular, A, B, upper, left, unitriangular)


@stands_for("_linalg_det")
def _det(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return call(rules.Det, A)


@stands_for("_linalg_slogdet")
def _slogdet(A: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return call(rules.Slogdet, A)


@stands_for("triangular_solve")
def _triangular_solve(
    B: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """Solution, and a copy of A."""
    matrix = A.mT if transpose else A
    solution = call(rules.SolveTriangular, matrix, B, upper != transpose, True, unitriangular)
    return solution, torch.clone(A)
