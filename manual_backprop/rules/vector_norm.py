"""Norms of vectors, distances, and Renorm, which scales vectors down to a largest norm."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from .reduction import Dim, axes


def norm_delta(delta: Tensor, input: Tensor, norm: Tensor, p: float, dim: Dim) -> Tensor:
    """The delta of x from the delta of its norms. `delta` and `norm` have size 1 along the axes of the norm."""
    if p == 0:
        return torch.zeros_like(input)
    if p == 1:
        return input.sgn() * delta
    if p == 2:
        return delta * (input / norm.masked_fill(norm == 0, inf))
    size = input.abs()
    if abs(p) == inf:
        attained = (size == norm) | size.isnan()
        return input.sgn() * (delta / attained.sum(axes(dim, input.dim()), keepdim=True) * attained)
    if p < 1:
        return input.sgn() * size.pow(p - 1).masked_fill(size == 0, 0) * delta * norm.pow(1 - p)
    return input.sgn() * size.pow(p - 1) * (delta / norm.masked_fill(norm == 0, inf).pow(p - 1))


def norm_tangent(tangent: Tensor, input: Tensor, norm: Tensor, p: float, dim: Dim, keepdim: bool) -> Tensor:
    """The sum of tangent times derivative over the elements. The derivative is the delta's formula with delta = 1."""
    slopes = norm_delta(torch.ones_like(norm), input, norm, p, dim)
    moved = (slopes.conj() * tangent).sum(axes(dim, input.dim()), keepdim)
    return moved.real if moved.is_complex() else moved


def restored(value: Tensor, dim: Dim, keepdim: bool, rank: int) -> Tensor:
    """The value with the axes that a reduction has dropped, as axes of size 1."""
    for axis in () if keepdim else axes(dim, rank):
        value = value.unsqueeze(axis)
    return value


class VectorNorm(Rule):
    """y = (sum |x|^p)^(1/p) over some axes;   max |x| for p = inf, min |x| for -inf, how many are not 0 for p = 0

    input (*)   ord p   output, delta (*, without the axes, or with size 1 there)

    delta_input = sgn(x) (|x| / y)^(p-1) delta      and 0 where y = 0, or where x = 0 with p < 1
    p = inf, -inf: sgn(x) delta / (how many |x| are equal to y) where |x| = y, else 0      p = 0: 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; kinks and ties as torch's derivatives.yaml.
    """

    operator = "linalg_vector_norm"
    upcast = True
    autocast = {"cuda": "float32"}  # noqa: RUF012

    def forward(
        input: Tensor, ord: float = 2, dim: Dim = None, keepdim: bool = False, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.linalg.vector_norm(input, ord, dim, keepdim, dtype=dtype)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor, ord: float, dim: Dim, keepdim: bool) -> Tensor:
        delta, norm = [restored(value, dim, keepdim, input.dim()) for value in (delta, output)]
        return norm_delta(delta, input, norm, ord, dim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, ord, dim, keepdim, _ = inputs
        norm = restored(output, dim, keepdim, input.dim())
        return norm_tangent(tangents[0], input, norm, ord, dim, keepdim).to(output.dtype)


class Dist(Rule):
    """y = (sum |a - b|^p)^(1/p) over all elements

    input, other (*, broadcast)   p   output, delta ()

    delta_input = d     delta_other = -d     d = the delta of the norm's argument a - b; summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; kinks and ties as torch's derivatives.yaml.
    """

    operator = "dist"
    broadcasts = True
    autocast = {"cuda": "float32"}  # noqa: RUF012

    def forward(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
        return torch.dist(input, other, p)

    def passed_on(delta: Tensor, input: Tensor, other: Tensor, output: Tensor, p: float) -> Tensor:
        return norm_delta(delta, input - other, output, p, None)

    def delta_input(passed_on: Tensor) -> Tensor:
        return passed_on

    def delta_other(passed_on: Tensor) -> Tensor:
        return -passed_on

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, other, p = inputs
        moved = [torch.zeros_like(t) if m is None else m for t, m in zip((input, other), tangents[:2], strict=True)]
        return norm_tangent(moved[0] - moved[1], input - other, output, p, None, False)


class Renorm(Rule):
    """y_i = f_i x_i,   f_i = m / (norm_i + 1e-7) where norm_i > m, else 1,   norm_i = (sum |x_i|^p)^(1/p)

    input, output, delta (*)   x_i: the slices along the axis dim   maxnorm m

    delta_input_i = f_i delta_i + sgn(x_i) (|x_i| / norm_i)^(p-1) g_i where norm_i > m, else delta_i
    g_i           = -f_i / (norm_i + 1e-7) sum of conj(x_i) delta_i

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; the 1e-7 is ATen's.
    """

    operator = "renorm"
    upcast = True
    autocast = {"cuda": "float32"}  # noqa: RUF012
    tangent_reads = ()

    def forward(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
        return torch.renorm(input, p, dim, maxnorm)

    def norms(input: Tensor, p: float, dim: int) -> Tensor:
        return torch.linalg.vector_norm(input, p, others(input, dim), keepdim=True)

    def delta_input(delta: Tensor, input: Tensor, norms: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
        inner = (input.conj() * delta).sum(others(input, dim), keepdim=True)
        inner = inner.real if inner.is_complex() else inner
        factor = maxnorm / (norms + 1e-7)
        delta_norms = -factor / (norms + 1e-7) * inner
        cut = factor * delta + norm_delta(delta_norms, input, norms, p, others(input, dim))
        return torch.where(norms > maxnorm, cut, delta)

    def tangent(inputs: tuple, tangents: tuple, output: Any) -> Tensor:
        input, p, dim, maxnorm = inputs
        norms = Renorm.norms(input, p, dim)
        moved = norm_tangent(tangents[0], input, norms, p, others(input, dim), True)
        factor = maxnorm / (norms + 1e-7)
        cut = factor * (tangents[0] - moved / (norms + 1e-7) * input)
        return torch.where(norms > maxnorm, cut, tangents[0])


def others(input: Tensor, dim: int) -> list[int]:
    """All axes except `dim`."""
    return [axis for axis in range(input.dim()) if axis != dim % input.dim()]
