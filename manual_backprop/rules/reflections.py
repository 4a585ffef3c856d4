"""Products of Householder reflections H_i = I - tau_i v_i v_i^H, as QR factorizations return them.

Q = H_1 ... H_k = I - V T V^H,   V = (v_1, ..., v_k),   T = W^-1 D,   W = I + D S,   D = diag(tau),
S = the part of V^H V above the diagonal. So a few matmuls apply all reflections together.

Source: Schreiber, Van Loan 1989, "A storage-efficient WY representation for products of Householder transformations";
Joffrain, Low, Quintana-Ortí, van de Geijn, Van Zee 2006, "Accumulating Householder transformations, revisited", for T.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import total
from .inverses import FLOAT32


def vectors(input: Tensor, tau: Tensor) -> Tensor:
    """V: the part of `input` below the diagonal, with ones on the diagonal."""
    V = input.narrow(-1, 0, tau.shape[-1]).tril(-1)
    return V + torch.eye(V.shape[-2], V.shape[-1], dtype=V.dtype, device=V.device)


def triangles(V: Tensor, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """T, W and S."""
    S = (V.mH @ V).triu(1)
    W = torch.eye(S.shape[-1], dtype=S.dtype, device=S.device) + tau.unsqueeze(-1) * S
    T = torch.linalg.solve_triangular(W, tau.diag_embed(), upper=True, unitriangular=True)
    return T, W, S


def through(V: Tensor, tau: Tensor, forth: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """The deltas of V and tau, from forth = G V and back = G^H V, where G is the delta of Q.

    delta_V = - G V T^H - G^H V T + V (delta_S + delta_S^H)     delta_T = - V^H G V     Y = W^-H delta_T
    delta_S = what is above the diagonal of - D^H Y T^H         delta_tau = the diagonal of Y - Y T^H S^H
    """
    T, W, S = triangles(V, tau)
    Y = torch.linalg.solve_triangular(W.mH, -V.mH @ forth, upper=False, unitriangular=True)
    delta_W = -Y @ T.mH
    delta_S = (tau.conj().unsqueeze(-1) * delta_W).triu(1)
    delta_V = -forth @ T.mH - back @ T + V @ (delta_S + delta_S.mH)
    return delta_V, (Y + delta_W @ S.mH).diagonal(0, -2, -1)


def moved_triangle(V: Tensor, tau: Tensor, t_V: Tensor | None, t_tau: Tensor | None) -> tuple[Tensor, Tensor]:
    """T and its tangent."""
    T, W, S = triangles(V, tau)
    change = torch.zeros_like(T)
    if t_V is not None:
        t_S = (t_V.mH @ V + V.mH @ t_V).triu(1)
        change = change - tau.unsqueeze(-1) * (t_S @ T)
    if t_tau is not None:
        change = change + t_tau.diag_embed() - t_tau.unsqueeze(-1) * (S @ T)
    return T, torch.linalg.solve_triangular(W, change, upper=True, unitriangular=True)


def below(delta_V: Tensor, shape: torch.Size) -> Tensor:
    """The delta of the input from the delta of V. The input holds V below its diagonal, and may have more columns."""
    return torch.nn.functional.pad(delta_V.tril(-1), (0, shape[-1] - delta_V.shape[-1]))


class HouseholderProduct(Rule):
    """Y = the first N columns of Q = H_1 ... H_k

    input (*, M, N), V below its diagonal   tau (*, k)   output, delta (*, M, N)

    delta_input, delta_tau = `through` V and T, where the delta of Q has delta for its first N columns, and zeros

    Source: Schreiber, Van Loan 1989, "A storage-efficient WY representation for products of Householder
    transformations"; the product rule.
    """

    operator = "linalg_householder_product"
    autocast = FLOAT32

    def forward(input: Tensor, tau: Tensor) -> Tensor:
        return torch.linalg.householder_product(input, tau)

    def deltas(delta: Tensor, input: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        V, N = vectors(input, tau), input.shape[-1]
        back = torch.nn.functional.pad(delta.mH @ V, (0, 0, 0, V.shape[-2] - N))
        return through(V, tau, delta @ V.narrow(-2, 0, N), back)

    def delta_input(deltas: tuple, input_shape: torch.Size) -> Tensor:
        return below(deltas[0], input_shape)

    def delta_tau(deltas: tuple) -> Tensor:
        return deltas[1]

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        (input, tau), (moved, t_tau) = inputs, tangents
        V, N = vectors(input, tau), input.shape[-1]
        t_V = None if moved is None else moved.narrow(-1, 0, tau.shape[-1]).tril(-1)
        T, t_T = moved_triangle(V, tau, t_V, t_tau)
        head = V.narrow(-2, 0, N)
        return total(
            -V @ t_T @ head.mH,
            None if t_V is None else -t_V @ T @ head.mH - V @ T @ t_V.narrow(-2, 0, N).mH,
        )


def applied(V: Tensor, tau: Tensor, C: Tensor, left: bool, transpose: bool) -> Tensor:
    """Q C, Q^H C, C Q or C Q^H"""
    T, _, _ = triangles(V, tau)
    T = T.mH if transpose else T
    return C - V @ (T @ (V.mH @ C)) if left else C - (C @ V) @ T @ V.mH


class Ormqr(Rule):
    """Y = Q C,   Q^H C with transpose=True,   C Q or C Q^H with left=False,   Q = H_1 ... H_k

    input (*, M, k), V below its diagonal   input2 tau (*, k)   input3 C (*, M, N), (*, N, M) with left=False
    output Y, delta as C

    delta_input3 = Q^H delta, and so on: the same product with the other transpose
    delta_input, delta_input2 = `through` V and T, where the delta of Q is delta C^H, C delta^H, C^H delta or delta^H C

    Source: Schreiber, Van Loan 1989, "A storage-efficient WY representation for products of Householder
    transformations"; the product rule.
    """

    operator = "ormqr"
    autocast = FLOAT32

    def forward(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
        return torch.ormqr(input, input2, input3, left, transpose)

    def deltas(
        delta: Tensor, input: Tensor, input2: Tensor, input3: Tensor, left: bool, transpose: bool
    ) -> tuple[Tensor, Tensor]:
        V = vectors(input, input2)
        delta, C = (delta, input3) if left else (delta.mH, input3.mH)  # C Q = (Q^H C^H)^H
        one, other = (C, delta) if transpose == left else (delta, C)  # the delta of Q is one other^H
        return through(V, input2, one @ (other.mH @ V), other @ (one.mH @ V))

    def delta_input(deltas: tuple, input_shape: torch.Size) -> Tensor:
        return below(deltas[0], input_shape)

    def delta_input2(deltas: tuple) -> Tensor:
        return deltas[1]

    def delta_input3(delta: Tensor, input: Tensor, input2: Tensor, left: bool, transpose: bool) -> Tensor:
        return applied(vectors(input, input2), input2, delta, left, not transpose)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, tau, C, left, transpose = inputs
        moved, t_tau, t_C, _, _ = tangents
        V = vectors(input, tau)
        t_V = None if moved is None else moved.narrow(-1, 0, tau.shape[-1]).tril(-1)
        T, t_T = moved_triangle(V, tau, t_V, t_tau)
        t_Q = -V @ t_T @ V.mH
        if t_V is not None:
            t_Q = t_Q - t_V @ T @ V.mH - V @ T @ t_V.mH
        t_Q = t_Q.mH if transpose else t_Q
        return total(
            None if t_C is None else applied(V, tau, t_C, left, transpose),
            t_Q @ C if left else C @ t_Q,
        )
