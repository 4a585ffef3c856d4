"""Matrix inverses, systems of linear equations, determinants.

X^H is X transposed and conjugated; A^-H is the inverse of A^H. Deltas are summed over broadcast batch axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to, total

FLOAT32 = {"cpu": "float32"}
"""The CPU autocast policy of factorizations, which do not support 16-bit floats."""


def upside_down(A: Tensor) -> bool:
    """Whether the matrix is row-major. LAPACK expects columns, so without a copy it factorizes the transpose."""
    return A.is_contiguous() and not A.is_complex()


def factors(A: Tensor) -> tuple[Tensor, Tensor]:
    """LU and pivots of A, or of its transpose if that saves a copy. Both have the same determinant."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(A.mT if upside_down(A) else A)
    return LU, pivots


def times_inverse(number: Tensor, LU: Tensor, pivots: Tensor, A: Tensor) -> Tensor:
    """number A^-H for each matrix, computed from the LU factors."""
    scaled_identity = number.unsqueeze(-1).expand(A.shape[:-1]).diag_embed()
    return torch.linalg.lu_solve(LU, pivots, scaled_identity, adjoint=not upside_down(A))


def parity(pivots: Tensor) -> Tensor:
    """1 if the number of row exchanges is even, else -1."""
    kept = torch.arange(1, pivots.shape[-1] + 1, dtype=pivots.dtype, device=pivots.device)
    return 1 - 2 * ((pivots != kept).sum(-1) % 2)


class Inverse(Rule):
    """Y = A^-1

    A (*, N, N)   inverse, delta (*, N, N)   info (*)

    delta_A = - Y^H delta Y^H

    Source: Giles 2008, "Collected matrix derivative results", section 2.2.3.
    """

    operator = "linalg_inv_ex"
    results = "inverse", "info"
    autocast = FLOAT32

    def forward(A: Tensor, check_errors: bool = False) -> tuple[Tensor, Tensor]:
        inverse, info = torch.linalg.inv_ex(A, check_errors=check_errors)
        return inverse, info

    def delta_A(delta: Tensor, inverse: Tensor) -> Tensor:
        return -inverse.mH @ (delta @ inverse.mH)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return -output[0] @ tangents[0] @ output[0], None


class Solve(Rule):
    """X = A^-1 B,   or B A^-1 with left=False

    A (*, N, N)   B (*, N, K), (*, K, N) with left=False, or a vector (*, N)   output X, delta as B
    LU (*, N, N), pivots (*, N), info (*) of A

    delta_B = A^-H delta          or delta A^-H
    delta_A = - delta_B X^H       or - X^H delta_B

    Source: Giles 2008, "Collected matrix derivative results", section 2.3.1.
    """

    results = "output", "LU", "pivots", "info"
    autocast = FLOAT32

    def forward(A: Tensor, B: Tensor, left: bool, check_errors: bool) -> tuple[Tensor, ...]:
        LU, pivots, info = torch.linalg.lu_factor_ex(A, check_errors=check_errors)
        X = torch.linalg.lu_solve(LU, pivots, columns(B, A), left=left)
        return as_vectors(X) if is_vector(B.shape, A.shape) else X, LU, pivots, info

    def LU(A: Tensor) -> Tensor:
        return torch.linalg.lu_factor_ex(A)[0]

    def pivots(A: Tensor) -> Tensor:
        return torch.linalg.lu_factor_ex(A)[1]

    def delta_columns(delta: Tensor, A: Tensor, LU: Tensor, pivots: Tensor, left: bool, B_shape: torch.Size) -> Tensor:
        """The delta of B as a matrix, before the sum over broadcast batch axes."""
        delta = delta.unsqueeze(-1) if is_vector(B_shape, A.shape) else delta
        return torch.linalg.lu_solve(LU, pivots, delta, left=left, adjoint=True)

    def delta_A(delta_columns: Tensor, output: Tensor, left: bool, A_shape: torch.Size, B_shape: torch.Size) -> Tensor:
        X = output.unsqueeze(-1) if is_vector(B_shape, A_shape) else output
        return sum_to(-delta_columns @ X.mH if left else -X.mH @ delta_columns, A_shape)

    def delta_B(delta_columns: Tensor, A_shape: torch.Size, B_shape: torch.Size) -> Tensor:
        vector = is_vector(B_shape, A_shape)
        return sum_to(delta_columns.squeeze(-1) if vector else delta_columns, B_shape)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        A, B, left, _ = inputs
        t_A, t_B, _, _ = tangents
        X = columns(output[0], A) if is_vector(B.shape, A.shape) else output[0]
        moved = total(
            None if t_B is None else t_B.unsqueeze(-1) if is_vector(B.shape, A.shape) else t_B,
            None if t_A is None else -t_A @ X if left else -X @ t_A,
        )
        t_X = torch.linalg.solve(A, moved, left=left)
        return t_X.squeeze(-1) if is_vector(B.shape, A.shape) else t_X, None, None, None


def is_vector(B_shape: torch.Size, A_shape: torch.Size) -> bool:
    """Whether B is a vector, or a batch of as many vectors as there are matrices A."""
    return len(B_shape) == 1 or (len(B_shape) == len(A_shape) - 1 and B_shape == A_shape[:-1])


def as_vectors(X: Tensor) -> Tensor:
    """(*, N, 1) as vectors (*, N), with torch's strides: the last batch axis has stride 1."""
    X = X.squeeze(-1)
    return X.mT.contiguous().mT if X.dim() > 1 else X


def columns(B: Tensor, A: Tensor) -> Tensor:
    """B as a matrix; a vector becomes its only column."""
    return B.unsqueeze(-1) if is_vector(B.shape, A.shape) else B


class Det(Rule):
    """y = det A

    A (*, N, N)   output, delta (*)   LU (*, N, N), pivots (*, N) of A

    delta_A = delta conj(det A) A^-H: delta times the cofactors of A, conjugated;
    where A is singular, those of a matrix next to it

    Source: Giles 2008, "Collected matrix derivative results", section 2.2.4 (Jacobi's formula).
    """

    results = "output", "LU", "pivots"

    def forward(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        LU, pivots = factors(A)
        return LU.diagonal(0, -2, -1).prod(-1) * parity(pivots), LU, pivots

    def LU(A: Tensor) -> Tensor:
        return factors(A)[0]

    def pivots(A: Tensor) -> Tensor:
        return factors(A)[1]

    def delta_A(delta: Tensor, A: Tensor, LU: Tensor, pivots: Tensor) -> Tensor:
        LU = LU + without_zeros(LU).diag_embed()
        det = LU.diagonal(0, -2, -1).prod(-1) * parity(pivots)
        return times_inverse(delta * det.conj(), LU, pivots, A)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        A, t_A = inputs[0], tangents[0]
        return (Det.delta_A(torch.ones_like(output[0]), A, *factors(A)).conj() * t_A).sum((-2, -1)), None, None


def without_zeros(LU: Tensor) -> Tensor:
    """What to add to the diagonal of U so that no element of it is zero. It is so small beside the other elements of U
    that rounding does not tell it from zero."""
    size = LU.detach().triu().abs().sum((-2, -1))  # the scale of U only: L always has ones
    little = torch.finfo(LU.dtype).eps * torch.where(size == 0, 1, size)
    return torch.where(LU.diagonal(0, -2, -1) == 0, little.unsqueeze(-1), 0).to(LU.dtype)


class Slogdet(Rule):
    """sign = det A / |det A|,   logabsdet = log |det A|

    A (*, N, N)   sign, logabsdet, deltas (*)   LU (*, N, N), pivots (*, N) of A

    delta_A = (delta_logabsdet - i Im(conj(delta_sign) sign)) A^-H
    (the sign of a real determinant is constant)

    Source: Giles 2008, "Collected matrix derivative results", section 2.2.4; Boeddeker, Hanebrink, Drude, Heymann,
    Haeb-Umbach 2017, "On the Computation of Complex-valued Gradients".
    """

    results = "sign", "logabsdet", "LU", "pivots"

    def forward(A: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        LU, pivots = factors(A)
        diagonal = LU.diagonal(0, -2, -1)
        return diagonal.sgn().prod(-1) * parity(pivots), diagonal.abs().log().sum(-1), LU, pivots

    def LU(A: Tensor) -> Tensor:
        return factors(A)[0]

    def pivots(A: Tensor) -> Tensor:
        return factors(A)[1]

    def delta_A(
        delta_sign: Tensor | None, delta_logabsdet: Tensor | None, A: Tensor, sign: Tensor, LU: Tensor, pivots: Tensor
    ) -> Tensor:
        turn = None
        if delta_sign is not None and A.is_complex():
            turn = -1j * (delta_sign.conj() * sign).imag
        delta = total(delta_logabsdet, turn)
        delta = torch.zeros_like(sign) if delta is None else delta.to(A.dtype)
        return times_inverse(delta, LU, pivots, A)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        trace = torch.linalg.solve(inputs[0], tangents[0]).diagonal(0, -2, -1).sum(-1)
        if not trace.is_complex():
            return torch.zeros_like(output[0]), trace, None, None
        return 1j * trace.imag * output[0], trace.real, None, None
