"""x[i, j, ...] with tensors as indices, read and written.

The number of indices varies, which the parameter names of formulas cannot express. So `setup_context` and `backward`
are written by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import like, sum_to

PROMOTED_ON_GPU = {"cuda": "promote"}


class Index(Rule):
    """y = x[i, j, ...], with None for a whole axis

    input (*)   indices: integers (broadcast), masks or None, one for each axis   output, delta (*)

    delta_input = sum of the deltas of all places that read it

    Source: Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.
    """

    keeps_input = False
    tangent_reads = ()

    def forward(input: Tensor, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index(input, indices)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, *indices = inputs
        ctx.shape = input.shape
        ctx.save_for_backward(*indices)

    def backward(ctx: Any, delta: Tensor) -> tuple:
        indices = ctx.saved_tensors
        return choose(Index.delta_input)(delta, ctx.shape, *indices), *[None] * len(indices)

    def delta_input(delta: Tensor, shape: torch.Size, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index_put(delta.new_zeros(shape), indices, delta, True)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Index.forward(tangents[0], *inputs[1:])


class MaskedIndex(Rule):
    """y = x[i, j, ...] where the mask is true, else a number

    input (*)   mask, indices: integers or None (broadcast)   output, delta (*)

    delta_input = sum of the deltas of all places that read it

    Source: Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.
    """

    keeps_input = False
    tangent_reads = ()

    def forward(input: Tensor, mask: Tensor, fill: float, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index(input, indices).masked_fill(~mask, fill)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, mask, _, *indices = inputs
        ctx.shape = input.shape
        ctx.save_for_backward(mask, *indices)

    def backward(ctx: Any, delta: Tensor) -> tuple:
        mask, *indices = ctx.saved_tensors
        return choose(MaskedIndex.delta_input)(delta, ctx.shape, mask, *indices), None, None, *[None] * len(indices)

    def delta_input(delta: Tensor, shape: torch.Size, mask: Tensor, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index_put(delta.new_zeros(shape), indices, delta.masked_fill(~mask, 0), True)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        _, mask, _, *indices = inputs
        return MaskedIndex.forward(tangents[0], mask, 0, *indices)


class IndexPut(Rule):
    """y = x, with values written (or added) at [i, j, ...], with None for a whole axis

    input, output, delta (*)   values (*, broadcast)   indices: integers (broadcast), masks or None, one for each axis

    delta_input = delta, 0 where values went (or delta)
    delta_values = delta at [i, j, ...], summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.
    """

    keeps_input = False
    tangent_reads = ()
    autocast = PROMOTED_ON_GPU

    def forward(input: Tensor, values: Tensor, accumulate: bool, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index_put(input, indices, values, accumulate)

    def forward_(input: Tensor, values: Tensor, accumulate: bool, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index_put_(input, indices, values, accumulate)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, values, ctx.accumulate, *indices = inputs
        ctx.shape, ctx.dtype = values.shape, values.dtype
        needed = ctx.needs_input_grad[1] or not ctx.accumulate
        ctx.save_for_backward(*indices if needed else ())

    def backward(ctx: Any, delta: Tensor) -> tuple:
        indices, (needs_input, needs_values, *rest) = ctx.saved_tensors, ctx.needs_input_grad
        delta_input = choose(IndexPut.delta_input)(delta, ctx.accumulate, *indices) if needs_input else None
        delta_values = choose(IndexPut.delta_values)(delta, ctx.shape, *indices) if needs_values else None
        return delta_input, None if delta_values is None else delta_values.to(ctx.dtype), *[None] * len(rest)

    def delta_input(delta: Tensor, accumulate: bool, *indices: Tensor | None) -> Tensor:
        return delta if accumulate else torch.ops.aten.index_put(delta, indices, delta.new_zeros(()))

    def delta_values(delta: Tensor, shape: torch.Size, *indices: Tensor | None) -> Tensor:
        return sum_to(torch.ops.aten.index(delta, indices), shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, values, accumulate, *indices = inputs
        moved = [torch.zeros_like(t) if m is None else m for t, m in zip((input, values), tangents[:2], strict=True)]
        return IndexPut.forward(moved[0], moved[1], accumulate, *indices)


class MaskedIndexPut(Rule):
    """y = x, with values added at [i, j, ...] where the mask is true

    input, output, delta (*)   mask, values, indices: integers or None (broadcast)

    delta_input = delta   delta_values = delta at [i, j, ...] where the mask is true, else 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is adding to what was copied.
    """

    keeps_input = False
    tangent_reads = ()

    def forward(input: Tensor, mask: Tensor, values: Tensor, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index_put(input, indices, values.masked_fill(~mask, 0), True)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, mask, values, *indices = inputs
        ctx.shape, ctx.dtype = values.shape, values.dtype
        ctx.save_for_backward(*(mask, *indices) if ctx.needs_input_grad[2] else ())

    def backward(ctx: Any, delta: Tensor) -> tuple:
        needs_input, _, needs_values, *rest = ctx.needs_input_grad
        delta_values = None
        if needs_values:
            delta_values = choose(MaskedIndexPut.delta_values)(delta, *ctx.saved_tensors)
            delta_values = like(delta_values, ctx.shape, ctx.dtype)
        return delta if needs_input else None, None, delta_values, *[None] * len(rest)

    def delta_values(delta: Tensor, mask: Tensor, *indices: Tensor | None) -> Tensor:
        return torch.ops.aten.index(delta, indices).masked_fill(~mask, 0)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, mask, values, *indices = inputs
        moved = torch.zeros_like(input) if tangents[0] is None else tangents[0]
        values = torch.zeros_like(values) if tangents[2] is None else tangents[2]
        return MaskedIndexPut.forward(moved, mask, values, *indices)
