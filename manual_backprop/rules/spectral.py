"""Eigenvalues and singular values.

X^H is X transposed and conjugated. Divisions by differences of eigenvalues or singular values are elementwise.
If two values are equal, the vectors are not differentiable, and the result is not finite, as in torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.torch_private import batched_by_autograd, transforms_active
from .inverses import FLOAT32

PHASE = (
    "The {vectors} in the complex case are specified up to multiplication by e^{{i phi}}. "
    "The specified loss function depends on this quantity, so it is ill-defined. got: a loss that changes by up to "
    "{change:.2g} when that phase of a vector turns. expected: a loss that does not, such as one of absolute values"
)


def diagonal(X: Tensor) -> Tensor:
    """The diagonal of each matrix of a batch."""
    return X.diagonal(0, -2, -1)


def differences(values: Tensor) -> Tensor:
    """E_ij = value_j - value_i, and 1 on the diagonal."""
    E = values.unsqueeze(-2) - values.unsqueeze(-1)
    return E + torch.eye(E.shape[-1], dtype=E.dtype, device=E.device)


def refuse_phase(vectors: str, turned: Tensor) -> None:
    """Raise torch's error, with its tolerance of 1e-2, if the loss changes when a vector is multiplied by e^{i phi}.
    There is no check under transforms of torch.func and torch.compile, where values cannot be read."""
    if torch.compiler.is_compiling() or transforms_active() or batched_by_autograd(turned):
        return
    change = turned.detach().abs().max().item() if turned.numel() else 0.0
    if not change <= 1e-2:
        raise RuntimeError(PHASE.format(vectors=vectors, change=change))


class Eigh(Rule):
    """A V = V diag(L) of a Hermitian A, of which one triangle is read; V^H V = I

    A (*, N, N)   eigenvalues L, delta_L (*, N)   eigenvectors V, delta_V (*, N, N)

    delta_A = V (diag(delta_L) + skew(V^H delta_V) / E) V^H,   E_ij = L_j - L_i,
    skew(X) = (X - X^H) / 2 off the diagonal: of all that have the same effect on Hermitian A, the Hermitian one

    Source: Giles 2008, "Collected matrix derivative results", section 3.1; Seeger, Hetzel, Dai, Meissner, Lawrence
    2017, "Auto-differentiating linear algebra"; Boeddeker et al. 2017, "On the Computation of Complex-valued
    Gradients with Application to Statistically Optimum Beamforming".
    """

    results = "L", "V"
    autocast = FLOAT32

    def forward(A: Tensor, UPLO: str) -> tuple[Tensor, Tensor]:
        L, V = torch.linalg.eigh(A, UPLO)
        return L, V

    def delta_A(delta_L: Tensor | None, delta_V: Tensor | None, L: Tensor, V: Tensor) -> Tensor:
        if delta_V is None:
            assert delta_L is not None
            return (V * delta_L.unsqueeze(-2)) @ V.mH
        inner = V.mH @ delta_V
        if V.is_complex():
            refuse_phase("eigenvectors", diagonal(inner).imag)
        inner = (inner - inner.mH) / 2
        inner = (inner / differences(L)).masked_fill(on_diagonal(inner), 0)
        if delta_L is not None:
            inner = inner + delta_L.diag_embed()
        return V @ inner @ V.mH

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        L, V = output
        inner = V.mH @ tangents[0] @ V
        return diagonal(inner).real, V @ (inner / differences(L)).masked_fill(on_diagonal(inner), 0)


def on_diagonal(X: Tensor) -> Tensor:
    """A mask of the diagonal."""
    return torch.eye(X.shape[-1], dtype=torch.bool, device=X.device)


class Eig(Rule):
    """A V = V diag(L), the columns of V of length 1

    input A (*, N, N)   eigenvalues L, delta_L (*, N)   eigenvectors V, delta_V (*, N, N), complex all of them

    delta_input = V^-H (diag(delta_L) + (V^H delta_V - V^H V diag(Re(V^H delta_V))) / conj(E)) V^H,   E_ij = L_j - L_i,
    and nothing on the diagonal of the quotient; its real part where A is real

    Source: Boeddeker, Hanebrink, Drude, Heymann, Haeb-Umbach 2017, "On the Computation of Complex-valued Gradients with
    Application to Statistically Optimum Beamforming"; the columns' length as torch has it.
    """

    operator = "linalg_eig"
    results = "eigenvalues", "eigenvectors"
    autocast = FLOAT32

    def forward(input: Tensor) -> tuple[Tensor, Tensor]:
        eigenvalues, eigenvectors = torch.linalg.eig(input)
        return eigenvalues, eigenvectors

    def delta_input(
        delta_eigenvalues: Tensor | None,
        delta_eigenvectors: Tensor | None,
        eigenvalues: Tensor,
        eigenvectors: Tensor,
        input_dtype: torch.dtype,
    ) -> Tensor:
        V, inner = eigenvectors, None
        if delta_eigenvectors is not None:
            inner = V.mH @ delta_eigenvectors
            refuse_phase("eigenvectors", diagonal(inner).imag)
            inner = inner - V.mH @ (V * diagonal(inner).real.unsqueeze(-2))
            inner = (inner / differences(eigenvalues).conj()).masked_fill(on_diagonal(inner), 0)
        if delta_eigenvalues is not None:
            values = delta_eigenvalues.diag_embed()
            inner = values if inner is None else inner + values
        assert inner is not None
        delta_input = torch.linalg.solve(V.mH, inner @ V.mH)
        return delta_input if input_dtype.is_complex else delta_input.real

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        L, V = output
        inner = torch.linalg.solve(V, tangents[0].to(V.dtype) @ V)
        t_V = V @ (inner / differences(L)).masked_fill(on_diagonal(inner), 0)
        along = (V.conj() * t_V).sum(-2, keepdim=True).real
        return diagonal(inner), t_V - V * along


class SVD(Rule):
    """A = U diag(S) V^H, U^H U = V^H V = I

    A (*, M, N), k = min(M, N)   U, delta_U (*, M, k)   S, delta_S (*, k), falling   Vh = V^H, delta_Vh (*, k, N)
    (with full_matrices U (*, M, M) and Vh (*, N, N): no derivative for the further columns and rows)

    delta_A = U (diag(delta_S) + (skew(U^H delta_U) S + S skew(V^H delta_V)) / E + i diag(Im(U^H delta_U) / S)) V^H
            + (I - U U^H) delta_U S^-1 V^H + U S^-1 delta_V^H (I - V V^H)
    E_ij = S_j^2 - S_i^2,   skew(X) = X - X^H off the diagonal

    Source: Townsend 2016, "Differentiating the singular value decomposition"; Wan, Zhang 2019, "Automatic
    differentiation for complex valued SVD"; Seeger, Hetzel, Dai, Meissner, Lawrence 2017.
    """

    results = "U", "S", "Vh"
    autocast = FLOAT32

    def forward(A: Tensor, full_matrices: bool, driver: str | None) -> tuple[Tensor, Tensor, Tensor]:
        U, S, Vh = torch.linalg.svd(A, full_matrices, driver=driver)
        return U, S, Vh

    def delta_A(
        delta_U: Tensor | None, delta_S: Tensor | None, delta_Vh: Tensor | None, U: Tensor, S: Tensor, Vh: Tensor
    ) -> Tensor:
        k = S.shape[-1]
        U, Vh = U.narrow(-1, 0, k), Vh.narrow(-2, 0, k)
        if delta_U is None and delta_Vh is None:
            assert delta_S is not None
            return (U * delta_S.unsqueeze(-2)) @ Vh
        delta_U = torch.zeros_like(U) if delta_U is None else delta_U.narrow(-1, 0, k)
        delta_V = torch.zeros_like(Vh).mH if delta_Vh is None else delta_Vh.narrow(-2, 0, k).mH
        column, row = S.unsqueeze(-1), S.unsqueeze(-2)
        left, right = U.mH @ delta_U, Vh @ delta_V
        inner = ((left - left.mH) * row + column * (right - right.mH)) / differences(S * S)
        inner = inner.masked_fill(on_diagonal(inner), 0)
        if U.is_complex():
            refuse_phase("singular vectors", (diagonal(left) + diagonal(right)).imag)
            inner = inner + (1j * diagonal(left).imag / S).diag_embed()
        if delta_S is not None:
            inner = inner + delta_S.diag_embed()
        delta_A = U @ inner @ Vh
        if U.shape[-2] > k:
            delta_A = delta_A + (delta_U - U @ left) / row @ Vh
        if Vh.shape[-1] > k:
            delta_A = delta_A + U @ ((delta_V - Vh.mH @ right) / row).mH
        return delta_A

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        (U, S, Vh), moved = output, tangents[0]
        if inputs[1] and U.shape[-1] != Vh.shape[-1]:
            raise NotImplementedError(
                "forward mode through a singular value decomposition with full_matrices=True of a matrix that is not "
                f"square. got: {U.shape[-1]} rows, {Vh.shape[-1]} columns. expected: full_matrices=False"
            )
        column, row = S.unsqueeze(-1), S.unsqueeze(-2)
        inner = U.mH @ moved @ Vh.mH
        E, eye = differences(S * S), on_diagonal(inner)
        of_U = ((inner * row + column * inner.mH) / E).masked_fill(eye, 0)
        of_V = ((column * inner + inner.mH * row) / E).masked_fill(eye, 0)
        if U.is_complex():
            of_U = of_U + (1j * diagonal(inner).imag / S).diag_embed()
        t_U, t_V = U @ of_U, Vh.mH @ of_V
        t_U = t_U + (moved @ Vh.mH - U @ inner) / row
        t_V = t_V + (moved.mH @ U - Vh.mH @ inner.mH) / row
        return t_U, diagonal(inner).real, t_V.mH
