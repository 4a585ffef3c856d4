"""Factorization into P L U: a permutation, a lower triangular matrix with unit diagonal, an upper triangular matrix.

X^H is X transposed and conjugated, A^-H the inverse of A^H.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to, total
from .triangles import from_left, from_right, parted


class LU(Rule):
    """A = P L U

    A (*, M, N), k = min(M, N)   P (*, M, M)   L, delta_L (*, M, k), ones on its diagonal   U, delta_U (*, k, N)

    L = [L1, L2] one above the other, U = [U1, U2] side by side; L1, U1 (*, k, k); so are their deltas. With
        inner = what is below the diagonal of L1^H delta_L1 - delta_U2 U2^H
              + what is not, of delta_U1 U1^H - L2^H delta_L2
    P^T delta_A = [L1^-H inner U1^-H, delta_L2 U1^-H] one above the other, with L1^-H delta_U2 beside it

    Source: de Hoog, Anderssen, Lukas 2011, "Differentiation of matrix functionals using triangular factorization"; of
    wide and tall matrices by the product rule.
    """

    operator = "linalg_lu"
    results = "P", "L", "U"

    def forward(A: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        P, L, U = torch.linalg.lu(A, pivot=pivot)
        return P, L, U

    def delta_A(delta_L: Tensor | None, delta_U: Tensor | None, P: Tensor, L: Tensor, U: Tensor, pivot: bool) -> Tensor:
        k = min(L.shape[-2], U.shape[-1])
        delta_L = torch.zeros_like(L) if delta_L is None else delta_L
        delta_U = torch.zeros_like(U) if delta_U is None else delta_U
        (L1, L2), (delta_L1, delta_L2) = parted(L, k, -2), parted(delta_L, k, -2)
        (U1, U2), (delta_U1, delta_U2) = parted(U, k), parted(delta_U, k)
        below = L1.mH @ delta_L1 - delta_U2 @ U2.mH
        above = delta_U1 @ U1.mH - L2.mH @ delta_L2
        inner = from_right(below.tril(-1) + above.triu(), U1.mH, upper=False)
        rows = from_left(L1.mH, inner, upper=True, unitriangular=True)
        if L.shape[-2] > k:
            rows = torch.cat([rows, from_right(delta_L2, U1.mH, upper=False)], -2)
        else:
            rows = torch.cat([rows, from_left(L1.mH, delta_U2, upper=True, unitriangular=True)], -1)
        return P @ rows if pivot else rows

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        P, L, U = output
        k, moved = L.shape[-1], P.mT @ tangents[0] if inputs[1] else tangents[0]
        (L1, L2), (U1, U2) = parted(L, k, -2), parted(U, k)
        (corner, right), (down, _) = parted(parted(moved, k, -2)[0], k), parted(parted(moved, k, -2)[1], k)
        inner = from_right(from_left(L1, corner, upper=False, unitriangular=True), U1, upper=True)
        t_L1, t_U1 = L1 @ inner.tril(-1), inner.triu() @ U1
        t_L2 = from_right(down - L2 @ t_U1, U1, upper=True)
        t_U2 = from_left(L1, right - t_L1 @ U2, upper=False, unitriangular=True)
        return None, torch.cat([t_L1, t_L2], -2), torch.cat([t_U1, t_U2], -1)


class LUFactor(Rule):
    """A = P L U, with L (without its diagonal of ones) and U in one matrix

    A (*, M, N)   LU, delta (*, M, N)   pivots (*, min(M, N))   info (*)

    delta_A as of LU, of what is below the diagonal of delta for L, and what is not for U

    Source: de Hoog, Anderssen, Lukas 2011, "Differentiation of matrix functionals using triangular factorization".
    """

    operator = "linalg_lu_factor_ex"
    results = "packed", "pivots", "info"

    def forward(A: Tensor, pivot: bool = True, check_errors: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        packed, pivots, info = torch.linalg.lu_factor_ex(A, pivot=pivot, check_errors=check_errors)
        return packed, pivots, info

    def delta_A(delta: Tensor, packed: Tensor, pivots: Tensor, pivot: bool) -> Tensor:
        P, L, U = torch.lu_unpack(packed, pivots, unpack_pivots=pivot)
        k = L.shape[-1]
        return LU.delta_A(parted(delta, k)[0].tril(-1), parted(delta, k, -2)[0].triu(), P, L, U, pivot)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        A, pivot, _ = inputs
        factors = torch.lu_unpack(output[0], output[1], unpack_pivots=pivot)
        _, t_L, t_U = LU.tangent((A, pivot), tangents, tuple(factors))
        return joined(t_L, t_U, *A.shape[-2:]), None, None


def joined(below: Tensor, above: Tensor, rows: int, columns: int) -> Tensor:
    """One matrix (rows, columns): below its diagonal the elements of `below`, elsewhere those of `above`."""
    k = below.shape[-1]
    below = torch.nn.functional.pad(below.tril(-1), (0, columns - k))
    return below + torch.nn.functional.pad(above.triu(), (0, 0, 0, rows - k))


class LUUnpack(Rule):
    """P, L and U of the one matrix that holds L and U

    LU_data (*, M, N)   LU_pivots (*, k), k = min(M, N)   P (*, M, M)   L, delta_L (*, M, k)
    U, delta_U (*, k, N)

    delta_LU_data = what is below the diagonal of delta_L, and what is not of delta_U

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    operator = "lu_unpack"
    results = "P", "L", "U"

    def forward(
        LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        P, L, U = torch.lu_unpack(LU_data, LU_pivots, unpack_data, unpack_pivots)
        return P, L, U

    def delta_LU_data(
        delta_L: Tensor | None, delta_U: Tensor | None, LU_data_shape: torch.Size, unpack_data: bool
    ) -> Tensor | None:
        rows, columns = LU_data_shape[-2:]
        k, some = min(rows, columns), delta_U if delta_L is None else delta_L
        if not unpack_data or some is None:
            return None
        delta_L = some.new_zeros(*LU_data_shape[:-1], k) if delta_L is None else delta_L
        delta_U = some.new_zeros(*LU_data_shape[:-2], k, columns) if delta_U is None else delta_U
        return joined(delta_L, delta_U, rows, columns)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        moved, (_, L, U) = tangents[0], output
        if not inputs[2]:
            return None, torch.zeros_like(L), torch.zeros_like(U)
        k = L.shape[-1]
        return None, parted(moved, k)[0].tril(-1), parted(moved, k, -2)[0].triu()


class LUSolve(Rule):
    """X = A^-1 B,   or B A^-1 with left=False,   of A = P L U; with `adjoint` A^H in place of A

    LU (*, N, N), L and U in one   pivots (*, N)   B (*, N, K), (*, K, N) with left=False   output X, delta as B

    delta_B = A^-H delta          or delta A^-H
    delta_A = - delta_B X^H       or - X^H delta_B: with `adjoint`, the conjugate transpose of that
    delta_L = what is below the diagonal of P^T delta_A U^H     delta_U = what is not, of L^H P^T delta_A

    Source: Giles 2008, "Collected matrix derivative results", section 2.3.1, and the product rule on A = P L U.
    """

    operator = "linalg_lu_solve"

    def forward(LU: Tensor, pivots: Tensor, B: Tensor, left: bool = True, adjoint: bool = False) -> Tensor:
        return torch.linalg.lu_solve(LU, pivots, B, left=left, adjoint=adjoint)

    def whole_delta_B(delta: Tensor, LU: Tensor, pivots: Tensor, left: bool, adjoint: bool) -> Tensor:
        """The delta of B before the sum over broadcast batch axes."""
        return torch.linalg.lu_solve(LU, pivots, delta, left=left, adjoint=not adjoint)

    def delta_LU(
        whole_delta_B: Tensor, LU: Tensor, pivots: Tensor, output: Tensor, left: bool, adjoint: bool
    ) -> Tensor:
        delta_A = -whole_delta_B @ output.mH if left else -output.mH @ whole_delta_B
        delta_A = sum_to(delta_A.mH if adjoint else delta_A, LU.shape)
        P, L, U = torch.lu_unpack(LU, pivots)
        rows = P.mT @ delta_A
        return (rows @ U.mH).tril(-1) + (L.mH @ rows).triu()

    def delta_B(whole_delta_B: Tensor, B_shape: torch.Size) -> Tensor:
        return sum_to(whole_delta_B, B_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        LU, pivots, _, left, adjoint = inputs
        t_LU, _, t_B, _, _ = tangents
        moved = t_B
        if t_LU is not None:
            P, L, U = torch.lu_unpack(LU, pivots)
            t_A = P @ (t_LU.tril(-1) @ U + L @ t_LU.triu())
            t_A = t_A.mH if adjoint else t_A
            moved = total(t_B, -t_A @ output if left else -output @ t_A)
        return torch.linalg.lu_solve(LU, pivots, moved, left=left, adjoint=adjoint)
