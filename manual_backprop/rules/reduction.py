"""Joining and reducing: Cat, Sum, Mean."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, choose
from .arithmetic import facts, like


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

    @staticmethod
    def forward(dim: int, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        dim, *tensors = inputs
        ctx.dim = dim
        # an empty (0,) tensor may stand among others of any shape
        ctx.facts = [(t.shape, t.dtype, 0 if t.shape == (0,) else t.shape[dim]) for t in tensors]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        deltas: list[Tensor | None] = []
        start = 0
        for (shape, dtype, length), needed in zip(ctx.facts, ctx.needs_input_grad[1:], strict=True):
            part = choose(Cat.delta_input)(delta, ctx.dim, start, length, shape, dtype) if needed else None
            deltas.append(part)
            start += length
        return None, *deltas

    @staticmethod
    def delta_input(delta: Tensor, dim: int, start: int, length: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta.narrow(dim, start, length).reshape(shape), shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        pairs = zip(inputs[1:], tangents[1:], strict=True)
        return torch.cat([torch.zeros_like(t) if moved is None else moved for t, moved in pairs], inputs[0])


class Sum(Rule):
    """y = sum of x over some axes

    input (*)   output, delta (*, without the axes, or with size 1 there)

    delta_input = delta, repeated along the axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    keeps_input = False
    autocast = {"cuda": "float32"}  # noqa: RUF012
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, dim: Any, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        return torch.sum(input, dim=dim, keepdim=keepdim, dtype=dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0])
        ctx.dim, ctx.keepdim = inputs[1], inputs[2]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Sum.delta_input)(delta, ctx.dim, ctx.keepdim, *ctx.facts), None, None, None

    @staticmethod
    def delta_input(delta: Tensor, dim: Any, keepdim: bool, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(spread(delta, dim, keepdim, shape), shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.sum(tangents[0], dim=inputs[1], keepdim=inputs[2], dtype=inputs[3])


class Mean(Rule):
    """y = mean of x over some axes, of n elements each

    input (*)   output, delta (*, without the axes, or with size 1 there)

    delta_input = delta / n, repeated along the axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, dim: Any, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        return torch.mean(input, dim=dim, keepdim=keepdim, dtype=dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0])
        ctx.dim, ctx.keepdim = inputs[1], inputs[2]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Mean.delta_input)(delta, ctx.dim, ctx.keepdim, *ctx.facts), None, None, None

    @staticmethod
    def delta_input(delta: Tensor, dim: Any, keepdim: bool, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        count = max(prod([shape[axis] for axis in axes(dim, len(shape))]), 1)  # the delta of a mean of none: to nothing
        return like(spread(delta / count, dim, keepdim, shape), shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.mean(tangents[0], dim=inputs[1], keepdim=inputs[2], dtype=inputs[3])


def axes(dim: Any, rank: int) -> list[int]:
    """The axes of a reduction, counted from the front; None and () mean all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return list(range(rank))
    return sorted(axis % rank for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))) if rank else []


def spread(delta: Tensor, dim: Any, keepdim: bool, shape: torch.Size) -> Tensor:
    """Repeat a delta along the axes over which its input was summed."""
    if not keepdim:
        for axis in axes(dim, len(shape)):
            delta = delta.unsqueeze(axis)
    return delta.expand(shape)
