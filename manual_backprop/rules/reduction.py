"""Concatenation and reductions: Cat, Sum, Mean."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import like

Dim = int | tuple[int, ...] | list[int] | None


class Cat(Rule):
    """y = (a1, a2, ...) along one axis

    tensors (*, L1, *), (*, L2, *), ...   output, delta (*, L1 + L2 + ..., *)

    delta_input of each = its part of delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    cheap = True
    keeps_input = False
    autocast = {"cpu": "promote"}  # noqa: RUF012
    tangent_reads = ()

    def forward(dim: int, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, dim)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        dim, *tensors = inputs
        ctx.dim = dim
        # an empty tensor of shape (0,) may be concatenated with tensors of any shape
        ctx.facts = [(t.shape, t.dtype, 0 if t.shape == (0,) else t.shape[dim]) for t in tensors]

    # written by hand, like `setup_context`: parameter names cannot express any number of tensors
    def backward(ctx: Any, delta: Tensor) -> tuple:
        deltas: list[Tensor | None] = []
        start = 0
        for (shape, dtype, length), needed in zip(ctx.facts, ctx.needs_input_grad[1:], strict=True):
            part = choose(Cat.delta_input)(delta, ctx.dim, start, length, shape, dtype) if needed else None
            deltas.append(part)
            start += length
        return None, *deltas

    def delta_input(delta: Tensor, dim: int, start: int, length: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta.narrow(dim, start, length).reshape(shape), shape, dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        pairs = zip(inputs[1:], tangents[1:], strict=True)
        return torch.cat([torch.zeros_like(t) if moved is None else moved for t, moved in pairs], inputs[0])


class Sum(Rule):
    """y = sum of x over some axes

    input (*)   output, delta (*, without the axes, or with size 1 there)

    delta_input = delta, repeated along the axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    autocast = {"cuda": "float32"}  # noqa: RUF012
    tangent_reads = ()

    def forward(input: Tensor, dim: Dim, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        return torch.sum(input, dim=dim, keepdim=keepdim, dtype=dtype)

    def delta_input(
        delta: Tensor, dim: Dim, keepdim: bool, input_shape: torch.Size, input_dtype: torch.dtype
    ) -> Tensor:
        return like(spread(delta, dim, keepdim, input_shape), input_shape, input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.sum(tangents[0], dim=inputs[1], keepdim=inputs[2], dtype=inputs[3])


class Mean(Rule):
    """y = mean of x over some axes, of n elements each

    input (*)   output, delta (*, without the axes, or with size 1 there)

    delta_input = delta / n, repeated along the axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    tangent_reads = ()

    def forward(input: Tensor, dim: Dim, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        return torch.mean(input, dim=dim, keepdim=keepdim, dtype=dtype)

    def delta_input(
        delta: Tensor, dim: Dim, keepdim: bool, input_shape: torch.Size, input_dtype: torch.dtype
    ) -> Tensor:
        count = prod([input_shape[axis] for axis in axes(dim, len(input_shape))])
        share = delta / max(count, 1)  # the mean of an empty tensor has no input to pass its delta to
        return like(spread(share, dim, keepdim, input_shape), input_shape, input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.mean(tangents[0], dim=inputs[1], keepdim=inputs[2], dtype=inputs[3])


def axes(dim: Dim, rank: int) -> list[int]:
    """The axes of a reduction, counted from the front; None and () mean all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return list(range(rank))
    return sorted(axis % rank for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))) if rank else []


def spread(delta: Tensor, dim: Dim, keepdim: bool, shape: torch.Size) -> Tensor:
    """Expand a delta along the axes over which the forward summed."""
    if not keepdim:
        for axis in axes(dim, len(shape)):
            delta = delta.unsqueeze(axis)
    return delta.expand(shape)
