"""Matrix and vector products that are added to another tensor (addmm, ...), and dot and cross products.

For complex numbers the formulas multiply by the conjugate, because torch defines the gradient that way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import LOWER, Rule
from ..engine.terms import like, total
from .arithmetic import conj

SOURCE = 'Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".'

LOWER_ON_CUDA = {"cuda": "lower"}


def scaled(tensor: Tensor, factor: complex) -> Tensor:
    """The tensor times a number."""
    return tensor if factor == 1 else factor * tensor


class Addmm(Rule):
    """y = beta c + alpha A B

    input c (M, N), broadcast   mat1 A (M, K)   mat2 B (K, N)   beta, alpha: numbers   output, delta (M, N)

    delta_input = beta delta     delta_mat1 = alpha delta B^T     delta_mat2 = alpha A^T delta
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    operator = "addmm"
    autocast = LOWER

    def forward(input: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        return torch.addmm(input, mat1, mat2, beta=beta, alpha=alpha)

    def delta_input(delta: Tensor, beta: float, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        return like(scaled(delta, conj(beta)), input_shape, input_dtype)

    def delta_mat1(delta: Tensor, mat2: Tensor, alpha: float) -> Tensor:
        return scaled(delta @ mat2.mH, conj(alpha))

    def delta_mat2(delta: Tensor, mat1: Tensor, alpha: float) -> Tensor:
        return scaled(mat1.mH @ delta, conj(alpha))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        _, mat1, mat2, beta, alpha = inputs
        t_input, t_mat1, t_mat2, _, _ = tangents
        return total(
            None if t_input is None else scaled(t_input, beta).expand_as(output),
            None if t_mat1 is None else scaled(t_mat1 @ mat2, alpha),
            None if t_mat2 is None else scaled(mat1 @ t_mat2, alpha),
        )


class Addmv(Rule):
    """y = beta c + alpha A v

    input c (M,), broadcast   mat A (M, K)   vec v (K,)   beta, alpha: numbers   output, delta (M,)

    delta_input = beta delta     delta_mat = alpha delta v^T     delta_vec = alpha A^T delta
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    operator = "addmv"
    autocast = LOWER_ON_CUDA

    def forward(input: Tensor, mat: Tensor, vec: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        return torch.addmv(input, mat, vec, beta=beta, alpha=alpha)

    def delta_input(delta: Tensor, beta: float, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        return like(scaled(delta, conj(beta)), input_shape, input_dtype)

    def delta_mat(delta: Tensor, vec: Tensor, alpha: float) -> Tensor:
        return scaled(torch.outer(delta, conj(vec)), conj(alpha))

    def delta_vec(delta: Tensor, mat: Tensor, alpha: float) -> Tensor:
        return scaled(mat.mH @ delta, conj(alpha))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        _, mat, vec, beta, alpha = inputs
        t_input, t_mat, t_vec, _, _ = tangents
        return total(
            None if t_input is None else scaled(t_input, beta).expand_as(output),
            None if t_mat is None else scaled(t_mat @ vec, alpha),
            None if t_vec is None else scaled(mat @ t_vec, alpha),
        )


class Addr(Rule):
    """y = beta c + alpha u v^T

    input c (M, N), broadcast   vec1 u (M,)   vec2 v (N,)   beta, alpha: numbers   output, delta (M, N)

    delta_input = beta delta     delta_vec1 = alpha delta v     delta_vec2 = alpha delta^T u
    (times the conjugates, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    operator = "addr"
    autocast = LOWER_ON_CUDA

    def forward(input: Tensor, vec1: Tensor, vec2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        return torch.addr(input, vec1, vec2, beta=beta, alpha=alpha)

    def delta_input(delta: Tensor, beta: float, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        return like(scaled(delta, conj(beta)), input_shape, input_dtype)

    def delta_vec1(delta: Tensor, vec2: Tensor, alpha: float) -> Tensor:
        return scaled(delta @ conj(vec2), conj(alpha))

    def delta_vec2(delta: Tensor, vec1: Tensor, alpha: float) -> Tensor:
        return scaled(delta.mT @ conj(vec1), conj(alpha))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        _, vec1, vec2, beta, alpha = inputs
        t_input, t_vec1, t_vec2, _, _ = tangents
        return total(
            None if t_input is None else scaled(t_input, beta).expand_as(output),
            None if t_vec1 is None else scaled(torch.outer(t_vec1, vec2), alpha),
            None if t_vec2 is None else scaled(torch.outer(vec1, t_vec2), alpha),
        )


class Baddbmm(Rule):
    """Y_i = beta C_i + alpha A_i B_i

    input C (N, M, L), broadcast   batch1 A (N, M, K)   batch2 B (N, K, L)   beta, alpha: numbers
    output, delta (N, M, L)

    delta_input = beta delta     delta_batch1 = alpha delta B^T     delta_batch2 = alpha A^T delta
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    operator = "baddbmm"
    autocast = LOWER

    def forward(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        return torch.baddbmm(input, batch1, batch2, beta=beta, alpha=alpha)

    def delta_input(delta: Tensor, beta: float, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        return like(scaled(delta, conj(beta)), input_shape, input_dtype)

    def delta_batch1(delta: Tensor, batch2: Tensor, alpha: float) -> Tensor:
        return scaled(delta @ batch2.mH, conj(alpha))

    def delta_batch2(delta: Tensor, batch1: Tensor, alpha: float) -> Tensor:
        return scaled(batch1.mH @ delta, conj(alpha))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        _, batch1, batch2, beta, alpha = inputs
        t_input, t_batch1, t_batch2, _, _ = tangents
        return total(
            None if t_input is None else scaled(t_input, beta).expand_as(output),
            None if t_batch1 is None else scaled(t_batch1 @ batch2, alpha),
            None if t_batch2 is None else scaled(batch1 @ t_batch2, alpha),
        )


class Addbmm(Rule):
    """Y = beta C + alpha sum of A_i B_i

    input C (M, L), broadcast   batch1 A (N, M, K)   batch2 B (N, K, L)   beta, alpha: numbers   output, delta (M, L)

    delta_input = beta delta     delta_batch1 = alpha delta B_i^T     delta_batch2 = alpha A_i^T delta, for each i
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    operator = "addbmm"
    autocast = LOWER

    def forward(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        return torch.addbmm(input, batch1, batch2, beta=beta, alpha=alpha)

    def delta_input(delta: Tensor, beta: float, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        return like(scaled(delta, conj(beta)), input_shape, input_dtype)

    def delta_batch1(delta: Tensor, batch2: Tensor, alpha: float) -> Tensor:
        return scaled(delta @ batch2.mH, conj(alpha))

    def delta_batch2(delta: Tensor, batch1: Tensor, alpha: float) -> Tensor:
        return scaled(batch1.mH @ delta, conj(alpha))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        _, batch1, batch2, beta, alpha = inputs
        t_input, t_batch1, t_batch2, _, _ = tangents
        return total(
            None if t_input is None else scaled(t_input, beta).expand_as(output),
            None if t_batch1 is None else scaled((t_batch1 @ batch2).sum(0), alpha),
            None if t_batch2 is None else scaled((batch1 @ t_batch2).sum(0), alpha),
        )


VECTORS = "input, tensor (N,)   output, delta ()"

Dot = rule(
    "dot", "sum of a_i b_i", "delta_input = delta b     delta_tensor = delta a",
    lambda delta, tensor: delta * conj(tensor),
    lambda delta, input: delta * conj(input),
    takes="input, tensor", shapes=VECTORS, multilinear=("input", "tensor"),
)  # fmt: skip
Vdot = rule(
    "vdot", "sum of conj(a_i) b_i", "delta_input = conj(delta) b     delta_other = delta a",
    lambda delta, other: conj(delta) * other,
    lambda delta, input: delta * input,
    takes="input, other", shapes=VECTORS, multilinear=("input", "other"),
)  # fmt: skip


class Cross(Rule):
    """y = a × b, of the vectors along one axis

    input a, other b (*, 3, *), broadcast   dim: the axis   output, delta (*, 3, *)

    delta_input = b × delta     delta_other = delta × a     each summed over broadcast axes
    (of the conjugates of a and b, where complex)

    Source: the triple product, delta · (a × b) = a · (b × delta) = b · (delta × a); Giles 2008 for the method.
    """

    operator = "linalg_cross"
    multilinear = "input", "other"
    broadcasts = True

    def forward(input: Tensor, other: Tensor, dim: int = -1) -> Tensor:
        return torch.linalg.cross(input, other, dim=dim)

    def delta_input(delta: Tensor, other: Tensor, dim: int) -> Tensor:
        return torch.linalg.cross(conj(other), delta, dim=dim)

    def delta_other(delta: Tensor, input: Tensor, dim: int) -> Tensor:
        return torch.linalg.cross(delta, conj(input), dim=dim)
