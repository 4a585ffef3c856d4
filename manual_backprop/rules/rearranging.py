"""Operators that move elements to other places: each delta goes back to the place its element came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.operators import linear
from ..engine.rule import Rule, choose
from ..engine.terms import like

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a permutation is its inverse.'

Roll = linear(
    "roll", "x moved along axes, around their ends", "delta, moved back",
    lambda delta, shifts, dims: delta.roll([-shift for shift in shifts], dims),
    takes="input, shifts: list, dims: list",
)  # fmt: skip
Flip = linear(
    "flip", "x with axes reversed", "delta with the same axes reversed",
    lambda delta, dims: delta.flip(dims), takes="input, dims: list",
)  # fmt: skip
Rot90 = linear(
    "rot90", "x turned k times by 90 degrees in the plane of two axes", "delta, turned back",
    lambda delta, k, dims: delta.rot90(-k, dims), takes="input, k: int, dims: list",
)  # fmt: skip
Tril = linear(
    "tril", "x on and below a diagonal, else 0", "delta on and below it, else 0",
    lambda delta, diagonal: delta.tril(diagonal), takes="input, diagonal: int = 0",
    shapes="input, output, delta (*, M, N)",
)  # fmt: skip
Triu = linear(
    "triu", "x on and above a diagonal, else 0", "delta on and above it, else 0",
    lambda delta, diagonal: delta.triu(diagonal), takes="input, diagonal: int = 0",
    shapes="input, output, delta (*, M, N)",
)  # fmt: skip
DiagEmbed = linear(
    "diag_embed", "x on a diagonal of two axes, else 0", "that diagonal of delta",
    lambda delta, offset, dim1, dim2: delta.diagonal(offset, dim1, dim2),
    takes="input, offset: int = 0, dim1: int = -2, dim2: int = -1", shapes="input (*, K)   output, delta (*, M, M)",
)  # fmt: skip
Repeat = linear(
    "repeat", "x, so many times along each axis, and along new ones in front", "sum of the deltas of all copies",
    lambda delta, repeats, input_shape: sum_of_copies(delta, repeats, input_shape),
    takes="input, repeats: list", shapes="input (S)   output, delta (repeats S)",
    source='Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.',
)  # fmt: skip


def sum_of_copies(delta: Tensor, repeats: list, shape: torch.Size) -> Tensor:
    """Split each axis of the delta into copies and elements, and sum over the copies."""
    sizes = [1] * (len(repeats) - len(shape)) + list(shape)
    pairs = [size for pair in zip(repeats, sizes, strict=True) for size in pair]
    if not pairs:
        return delta
    return delta.reshape(pairs).sum(list(range(0, len(pairs), 2))).reshape(shape)


class BlockDiag(Rule):
    """Y = the matrices A1, A2, ... along the diagonal, else 0

    tensors (M1, N1), (M2, N2), ..., one of them also (N,) or ()   output, delta (M1 + M2 + ..., N1 + N2 + ...)

    delta_input of each = its block of delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    keeps_input = False
    tangent_reads = ()

    def forward(*tensors: Tensor) -> Tensor:
        return torch.block_diag(*tensors)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = [(tensor.shape, tensor.dtype) for tensor in inputs]

    # written by hand, like `setup_context`: parameter names cannot express any number of tensors
    def backward(ctx: Any, delta: Tensor) -> tuple:
        deltas: list[Tensor | None] = []
        row = column = 0
        for (shape, dtype), needed in zip(ctx.facts, ctx.needs_input_grad, strict=True):
            height, width = (1,) * (2 - len(shape)) + tuple(shape)
            part = choose(BlockDiag.delta_input)(delta, row, column, height, width, shape) if needed else None
            deltas.append(None if part is None else like(part, shape, dtype))
            row, column = row + height, column + width
        return tuple(deltas)

    def delta_input(delta: Tensor, row: int, column: int, height: int, width: int, shape: torch.Size) -> Tensor:
        return delta[row : row + height, column : column + width].reshape(shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.block_diag(
            *[torch.zeros_like(t) if m is None else m for t, m in zip(inputs, tangents, strict=True)]
        )
