"""Factorizations into triangular and orthogonal matrices: Cholesky and QR; solving and inverting by Cholesky factors.

X^H is X transposed and conjugated, A^-H the inverse of A^H.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to, total
from .inverses import FLOAT32
from .triangles import from_left, from_right, parted


class Cholesky(Rule):
    """A = L L^H,   or U^H U with upper=True

    input A (*, N, N), Hermitian   factor L or U, delta (*, N, N)   info (*)

    delta_input = 1/2 L^-H sym(L^H delta) L^-1,   delta^H in place of delta for U
    sym(X): the lower triangle of X, mirrored and conjugated above the diagonal

    Source: Murray 2016, "Differentiation of the Cholesky decomposition"; Walter 2011, "Algorithmic differentiation of
    the QR decomposition", for the method.
    """

    operator = "linalg_cholesky_ex"
    results = "factor", "info"
    autocast = FLOAT32

    def forward(input: Tensor, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
        factor, info = torch.linalg.cholesky_ex(input, upper=upper, check_errors=check_errors)
        return factor, info

    def delta_input(delta: Tensor, factor: Tensor, upper: bool) -> Tensor:
        L, delta_L = (factor.mH, delta.mH) if upper else (factor, delta)
        inner = L.mH @ delta_L
        inner = inner.tril() + inner.tril(-1).mH
        return from_right(from_left(L.mH, inner, upper=True), L, upper=False) / 2

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        upper, factor, moved = inputs[1], output[0], tangents[0]
        L = factor.mH if upper else factor
        inner = from_right(from_left(L, moved, upper=False), L.mH, upper=True)
        half = inner.tril(-1) + inner.diagonal(0, -2, -1).diag_embed() / 2
        t_L = L @ half
        return t_L.mH if upper else t_L, None


class CholeskySolve(Rule):
    """X = (L L^H)^-1 B,   or (U^H U)^-1 B with upper=True

    input B (*, N, K)   input2 L or U (*, N, N)   output X, delta (*, N, K)

    delta_input = (L L^H)^-1 delta     delta_input2 = - (M + M^H) L, or - U (M + M^H),   M = delta_input X^H

    Source: Giles 2008, "Collected matrix derivative results", section 2.3.1, with A = L L^H.
    """

    operator = "cholesky_solve"
    autocast = FLOAT32

    def forward(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
        return torch.cholesky_solve(input, input2, upper=upper)

    def whole_delta_input(delta: Tensor, input2: Tensor, upper: bool) -> Tensor:
        """The delta of B before the sum over broadcast batch axes."""
        return torch.cholesky_solve(delta, input2, upper=upper)

    def delta_input(whole_delta_input: Tensor, input_shape: torch.Size) -> Tensor:
        return sum_to(whole_delta_input, input_shape)

    def delta_input2(whole_delta_input: Tensor, input2: Tensor, output: Tensor, upper: bool) -> Tensor:
        M = sum_to(whole_delta_input @ output.mH, input2.shape)
        return -input2 @ (M + M.mH) if upper else -(M + M.mH) @ input2

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        _, L, upper = inputs
        moved, t_L, _ = tangents
        if t_L is not None:
            t_A = t_L.mH @ L if upper else t_L @ L.mH
            moved = total(moved, -(t_A + t_A.mH) @ output)
        return torch.cholesky_solve(moved, L, upper=upper)


class CholeskyInverse(Rule):
    """Y = (L L^H)^-1,   or (U^H U)^-1 with upper=True

    input L or U (*, N, N)   output Y, delta (*, N, N)

    delta_input = - M L, or - U M,   M = Y (delta + delta^H) Y

    Source: Giles 2008, "Collected matrix derivative results", section 2.2.3, with A = L L^H.
    """

    operator = "cholesky_inverse"
    autocast = FLOAT32

    def forward(input: Tensor, upper: bool = False) -> Tensor:
        return torch.cholesky_inverse(input, upper=upper)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor, upper: bool) -> Tensor:
        M = output @ (delta + delta.mH) @ output
        return -input @ M if upper else -M @ input

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        L, upper, t_L = inputs[0], inputs[1], tangents[0]
        t_A = t_L.mH @ L if upper else t_L @ L.mH
        return -output @ (t_A + t_A.mH) @ output


class QR(Rule):
    """A = Q R

    A (*, M, N), k = min(M, N)   Q, delta_Q (*, M, k), orthonormal columns
    R, delta_R (*, k, N), upper triangle

    R = [R1, R2] side by side, R1 (*, k, k); so is its delta. With
        G = delta_Q + Q R2 delta_R2^H     M = delta_R1 R1^H - Q^H G
        sym(M): the upper triangle of M, mirrored and conjugated below the diagonal, of which it takes the real part
    delta_A = [(G + Q sym(M)) R1^-H, Q delta_R2] side by side

    Source: Walter, Lehmann 2018, "Algorithmic differentiation of linear algebra functions with application in optimum
    experimental design"; of wide matrices Roberts, Roberts 2020, "QR and LQ decomposition matrix backpropagation
    algorithms for square, wide, and deep matrices"; Seeger, Hetzel, Dai, Meissner, Lawrence 2017,
    "Auto-differentiating linear algebra".
    """

    operator = "linalg_qr"
    results = "Q", "R"
    autocast = FLOAT32

    def forward(A: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
        Q, R = torch.linalg.qr(A, mode)
        return Q, R

    def delta_A(delta_Q: Tensor | None, delta_R: Tensor | None, Q: Tensor, R: Tensor, mode: str) -> Tensor:
        refuse_mode(mode, Q, R)
        k = R.shape[-2]
        delta_Q = torch.zeros_like(Q) if delta_Q is None else delta_Q
        delta_R = torch.zeros_like(R) if delta_R is None else delta_R
        (R1, R2), (delta_R1, delta_R2) = parted(R, k), parted(delta_R, k)
        delta_Q = delta_Q + Q @ (R2 @ delta_R2.mH)
        M = delta_R1 @ R1.mH - Q.mH @ delta_Q
        left = from_right(delta_Q + Q @ hermitian(M), R1.mH, upper=False)
        return torch.cat([left, Q @ delta_R2], -1)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        (Q, R), moved = output, tangents[0]
        refuse_mode(inputs[1], Q, R)
        k = R.shape[-2]
        t_Q = from_right(parted(moved, k)[0], parted(R, k)[0], upper=True)
        inner = Q.mH @ t_Q
        t_Q = t_Q - Q @ upper_half(inner)
        return t_Q, (Q.mH @ (moved - t_Q @ R)).triu()


def hermitian(M: Tensor) -> Tensor:
    """The upper triangle of M, mirrored and conjugated below the diagonal, of which it takes the real part."""
    above = M.triu(1)
    return above + above.mH + real_diagonal(M)


def upper_half(X: Tensor) -> Tensor:
    """The upper triangular T with T + T^H = X + X^H and a real diagonal."""
    return (X + X.mH).triu(1) + real_diagonal(X)


def real_diagonal(X: Tensor) -> Tensor:
    """The real part of the diagonal, as a matrix."""
    return X.diagonal(0, -2, -1).real.to(X.dtype).diag_embed()


def refuse_mode(mode: str, Q: Tensor, R: Tensor) -> None:
    """Raise RuntimeError for modes without a derivative: Q was not computed, or has more columns than A."""
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
            "got: mode='r'. expected: mode='reduced', even if Q is not used"
        )
    if mode == "complete" and R.shape[-2] > R.shape[-1]:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols. "
            f"got: {R.shape[-2]} rows, {R.shape[-1]} columns. expected: mode='reduced'"
        )
