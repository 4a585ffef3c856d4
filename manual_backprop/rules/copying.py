"""Moving values about: Copy, Write (in place), Cast (to another dtype).

Write has no tangent: under forward mode `inplace=True` writes without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule


class Copy(Rule):
    """y = x, in new memory

    input, output, delta (*)   order: the axes from the outermost in memory to the innermost; None: as those of x

    delta_input = delta
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, order: tuple[int, ...] | None) -> Tensor:
        if order is None:
            return input.clone()
        back = [order.index(axis) for axis in range(len(order))]
        return input.permute(order).clone(memory_format=torch.contiguous_format).permute(back)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None: ...

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return delta, None

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Copy.forward(tangents[0], *inputs[1:])


class Write(Rule):
    """input := value

    input, value, output, delta (*)

    delta_input = 0 (the old content is gone)   delta_value = delta
    """

    # None stands for that zero, but where the input is a view the engine would take it for the gradient of the base

    @staticmethod
    def forward(input: Tensor, value: Tensor) -> Tensor:
        return input.copy_(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.mark_dirty(inputs[0])
        ctx.view = inputs[0]._is_view()

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return torch.zeros_like(delta) if ctx.view else None, delta


class Cast(Rule):
    """y = x rounded to another dtype

    input, output, delta (*)

    delta_input = delta, in the dtype of x
    """

    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, dtype: torch.dtype) -> Tensor:
        return input.to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return delta.to(ctx.dtype), None

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].to(inputs[1])
