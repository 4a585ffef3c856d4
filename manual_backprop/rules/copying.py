"""Copying values: Copy, Write (in place), Cast (to another dtype).

Write has no tangent: in forward mode, `inplace=True` writes without this rule.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule


class Copy(Rule):
    """y = x, in new memory

    input, output, delta (*)   order: the axes from the outermost in memory to the innermost; None: as those of x

    delta_input = delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.
    """

    cheap = True
    passes_on = 0
    tangent_reads = ()

    def forward(input: Tensor, order: tuple[int, ...] | None) -> Tensor:
        if order is None:
            return input.clone()
        back = [order.index(axis) for axis in range(len(order))]
        return input.permute(order).clone(memory_format=torch.contiguous_format).permute(back)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Copy.forward(tangents[0], *inputs[1:])


class Write(Rule):
    """input := value

    input, value, output, delta (*)

    delta_input = 0 (the old content is gone)   delta_value = delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.
    """

    cheap = True
    passes_on = 1

    def forward(input: Tensor, value: Tensor) -> Tensor:
        return input.copy_(value)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.mark_dirty(inputs[0])
        ctx.view = inputs[0]._is_view()

    def recipe(inputs: tuple, output: Tensor) -> None:
        """None: no recompute, because running `forward` again would write again."""

    # written by hand: zeros as None save memory, but for a view autograd would pass on None as the gradient of its base
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return torch.zeros_like(delta) if ctx.view else None, delta


class Cast(Rule):
    """y = x rounded to another dtype

    input, output, delta (*)

    delta_input = delta, in the dtype of x

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.
    """

    tangent_reads = ()

    def forward(input: Tensor, dtype: torch.dtype) -> Tensor:
        return input.to(dtype)

    def delta_input(delta: Tensor, input_dtype: torch.dtype) -> Tensor:
        return delta.to(input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].to(inputs[1])
