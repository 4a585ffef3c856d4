"""Functions of a whole matrix: exponential, square root, polar decomposition.

X^H is X transposed and conjugated. Divisions by sums of eigenvalues are elementwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from .inverses import FLOAT32


def moved_exponential(A: Tensor, along: Tensor) -> Tensor:
    """The tangent of e^A for the tangent `along` of A: the block above the diagonal of e^[[A, along], [0, A]]."""
    n = A.shape[-1]
    above = torch.cat([A, along], -1)
    below = torch.cat([torch.zeros_like(A), A], -1)
    return torch.linalg.matrix_exp(torch.cat([above, below], -2))[..., :n, n:]


class MatrixExp(Rule):
    """Y = e^A = I + A + A A / 2 + A A A / 6 + ...

    input A (*, N, N)   output, delta (*, N, N)

    delta_input = the block above the diagonal of e^[[A^H, delta], [0, A^H]]

    Source: Mathias 1996, "A chain rule for matrix functions and applications"; Najfeld, Havel 1995, "Derivatives of the
    matrix exponential and their computation".
    """

    operator = "linalg_matrix_exp"

    def forward(input: Tensor) -> Tensor:
        return torch.linalg.matrix_exp(input)

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return moved_exponential(input.mH, delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return moved_exponential(inputs[0], tangents[0])


class MatrixSqrth(Rule):
    """X X = A, of Hermitian A and X with eigenvalues that are not negative

    input A (*, N, N), of which the lower triangle is read   output X, delta (*, N, N)

    delta_input = K, which solves X K + K X = delta: with A = V diag(s^2) V^H
    K = V ((V^H delta V)_ij / (s_i + s_j)) V^H,   of all that have the same effect on Hermitian A, the Hermitian one

    Source: Higham 2008, "Functions of Matrices", section 6.1.
    """

    operator = "linalg_matrix_sqrth"
    autocast = FLOAT32

    def forward(input: Tensor) -> Tensor:
        return torch.linalg.matrix_sqrth(input)

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        K = moved_root(input, delta)
        return (K + K.mH) / 2

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        K = moved_root(inputs[0], tangents[0])
        return (K + K.mH) / 2


def moved_root(A: Tensor, along: Tensor) -> Tensor:
    """The tangent of the square root of A for the tangent `along` of A."""
    values, V = torch.linalg.eigh(A)
    return divided_by_sums(values.clamp(min=0).sqrt(), V, along)


def divided_by_sums(s: Tensor, V: Tensor, X: Tensor) -> Tensor:
    """The K that solves R K + K R = X with R = V diag(s) V^H."""
    return V @ ((V.mH @ X @ V) / (s.unsqueeze(-1) + s.unsqueeze(-2))) @ V.mH


class PolarDecomposition(Rule):
    """A = U H, U^H U = I, H Hermitian with eigenvalues that are not negative

    A (*, M, N), M >= N   U, delta_U (*, M, N)   H = V diag(s) V^H, delta_H (*, N, N)

    delta_A = U (delta_H + K - K^H) + (I - U U^H) delta_U H^-1
    K = V ((V^H (U^H delta_U - delta_H H) V)_ij / (s_i + s_j)) V^H

    Source: Kenney, Laub 1991, "Polar decomposition and matrix sign function condition estimates"; Higham 2008,
    "Functions of Matrices", section 8.2.
    """

    operator = "linalg_polar"
    results = "U", "H"

    def forward(A: Tensor) -> tuple[Tensor, Tensor]:
        U, H = torch.linalg.polar(A)
        return U, H

    def delta_A(delta_U: Tensor | None, delta_H: Tensor | None, U: Tensor, H: Tensor) -> Tensor:
        s, V = torch.linalg.eigh(H)
        along = torch.zeros_like(H) if delta_U is None else U.mH @ delta_U
        K = divided_by_sums(s, V, along if delta_H is None else along - delta_H @ H)
        delta_A = U @ (K - K.mH if delta_H is None else delta_H + K - K.mH)
        if delta_U is not None and U.shape[-2] > U.shape[-1]:
            delta_A = delta_A + ((delta_U - U @ along) @ V / s.unsqueeze(-2)) @ V.mH
        return delta_A

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        (U, H), moved = output, tangents[0]
        s, V = torch.linalg.eigh(H)
        along = U.mH @ moved
        turn = divided_by_sums(s, V, along - along.mH)
        t_U = U @ turn + ((moved - U @ along) @ V / s.unsqueeze(-2)) @ V.mH
        return t_U, along - turn @ H
