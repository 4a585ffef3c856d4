"""Pseudo-inverse and least squares.

X^H is X transposed and conjugated. The formulas assume that a small change of the matrix does not change its rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to, total
from .inverses import FLOAT32, columns, is_vector


def moved_pseudo_inverse(A: Tensor, P: Tensor, along: Tensor) -> Tensor:
    """The change of P = A^+ when A moves along another matrix."""
    change = -P @ along @ P
    change = change + P @ (P.mH @ (along.mH - along.mH @ A @ P))
    return change + (along.mH - P @ (A @ along.mH)) @ P.mH @ P


class PseudoInverse(Rule):
    """P = A^+

    input A (*, M, N)   atol, rtol: singular values that count as zero   output P, delta (*, N, M)

    delta_input = - P^H delta P^H + (I - A P) delta^H P P^H + P^H P delta^H (I - P A)

    Source: Golub, Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate".
    """

    operator = "linalg_pinv.atol_rtol_tensor"
    autocast = FLOAT32

    def forward(
        input: Tensor, atol: Tensor | None = None, rtol: Tensor | None = None, hermitian: bool = False
    ) -> Tensor:
        return torch.linalg.pinv(input, atol=atol, rtol=rtol, hermitian=hermitian)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor) -> Tensor:
        A, P = input, output
        right = delta.mH @ P @ P.mH
        left = P.mH @ (P @ delta.mH)
        return -P.mH @ (delta @ P.mH) + (right - A @ (P @ right)) + (left - left @ P @ A)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return moved_pseudo_inverse(inputs[0], output, tangents[0])


class LeastSquares(Rule):
    """X of the smallest |A X - B|: X = A^+ B

    A (*, M, N)   B (*, M, K), or a vector (*, M)   solution, delta as X   residuals (*, K): |A X - B|^2 of each column,
    or none; rank (*)   singular_values (*, min(M, N)), or none

    delta_B = P^H delta - 2 r delta_residuals     P = A^+     r = A X - B
    delta_A = what delta B^H gives as the delta of P, + 2 r delta_residuals X^H

    Source: Golub, Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate".
    """

    operator = "linalg_lstsq"
    results = "solution", "residuals", "rank", "singular_values"
    autocast = FLOAT32

    def forward(A: Tensor, B: Tensor, rcond: float | None = None, driver: str | None = None) -> tuple[Tensor, ...]:
        return tuple(torch.linalg.lstsq(A, B, rcond, driver=driver))

    def pseudo_inverse(delta_solution: Tensor | None, A: Tensor) -> Tensor | None:
        return None if delta_solution is None else torch.linalg.pinv(A)

    def pull(delta_residuals: Tensor | None, A: Tensor, B: Tensor, solution: Tensor) -> Tensor | None:
        """2 r delta_residuals, for each column."""
        if delta_residuals is None or not delta_residuals.numel():
            return None
        vector = is_vector(B.shape, A.shape)
        r = A @ (solution.unsqueeze(-1) if vector else solution) - columns(B, A)
        return 2 * r * delta_residuals.unsqueeze(-2)

    def delta_A(
        delta_solution: Tensor | None,
        pseudo_inverse: Tensor | None,
        pull: Tensor | None,
        A: Tensor,
        B: Tensor,
        solution: Tensor,
    ) -> Tensor:
        vector = is_vector(B.shape, A.shape)
        first = second = None
        if delta_solution is not None and pseudo_inverse is not None:
            delta = delta_solution.unsqueeze(-1) if vector else delta_solution
            first = PseudoInverse.delta_input(delta @ columns(B, A).mH, A, pseudo_inverse)
        if pull is not None:
            second = pull @ (solution.unsqueeze(-1) if vector else solution).mH
        moved = total(first, second)
        return torch.zeros_like(A) if moved is None else sum_to(moved, A.shape)

    def delta_B(
        delta_solution: Tensor | None, pseudo_inverse: Tensor | None, pull: Tensor | None, A: Tensor, B: Tensor
    ) -> Tensor:
        vector = is_vector(B.shape, A.shape)
        first = None
        if delta_solution is not None and pseudo_inverse is not None:
            first = pseudo_inverse.mH @ (delta_solution.unsqueeze(-1) if vector else delta_solution)
        moved = total(first, None if pull is None else -pull)
        if moved is None:
            return torch.zeros_like(B)
        return sum_to(moved.squeeze(-1) if vector else moved, B.shape)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        (A, B, *_), (t_A, t_B, *_) = inputs, tangents
        vector = is_vector(B.shape, A.shape)
        X = output[0].unsqueeze(-1) if vector else output[0]
        t_B = t_B.unsqueeze(-1) if vector and t_B is not None else t_B
        P = torch.linalg.pinv(A)
        t_X = total(
            None if t_B is None else P @ t_B,
            None if t_A is None else moved_pseudo_inverse(A, P, t_A) @ columns(B, A),
        )
        t_residuals = torch.zeros_like(output[1])
        if output[1].numel():
            r = A @ X - columns(B, A)
            change = total(None if t_A is None else t_A @ X, None if t_B is None else -t_B)
            assert change is not None
            t_residuals = 2 * (r.conj() * change).real.sum(-2)
        assert t_X is not None
        return t_X.squeeze(-1) if vector else t_X, t_residuals, None, None
