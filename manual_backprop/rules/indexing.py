"""Elements chosen by index: each delta is added to the element it was read from.

An element may be read twice, so its deltas are summed: scatter_add is the adjoint of gather, index_add that of
index_select.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.operators import linear
from ..engine.rule import Rule
from ..engine.terms import sum_to

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.'

IndexSelect = linear(
    "index_select", "the slices x[.., index, ..] along an axis", "sum of the deltas of each slice",
    lambda delta, dim, index, input_shape: delta.new_zeros(input_shape).index_add(dim, index, delta),
    takes="input, dim: int, index", shapes="input (*, L, *)   index (K,)   output, delta (*, K, *)",
)  # fmt: skip
Take = linear(
    "take", "x[index], with x as one row", "sum of the deltas of all places that read it",
    lambda delta, index, input_shape:
        delta.new_zeros(input_shape.numel()).index_put((index,), delta, True).reshape(input_shape),
    takes="input, index", shapes="input (*)   index, output, delta (K)",
)  # fmt: skip


class Gather(Rule):
    """y = x[.., index, ..] along an axis, with an index for each element of y

    input (*, L, *)   index, output, delta (*, K, *)

    delta_input = sum of the deltas of all places that read it

    Source: Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.
    """

    linear = ("input",)

    def forward(input: Tensor, dim: int, index: Tensor) -> Tensor:
        return torch.gather(input, dim, index)

    def delta_input(delta: Tensor, dim: int, index: Tensor, input_shape: torch.Size) -> Tensor:
        return delta.new_zeros(input_shape).scatter_add(dim, index, delta)


class MaskedSelect(Rule):
    """y = the x where the mask is true, as one row

    input, mask (*, broadcast)   output, delta (K,)

    delta_input = delta, in order, where the mask is true, else 0; summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    operator = "masked_select"
    linear = ("input",)

    def forward(input: Tensor, mask: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(input.shape, mask.shape)
        return torch.masked_select(input.expand(shape), mask)  # torch.compile assumes: K <= input's size

    def delta_input(delta: Tensor, mask: Tensor, input_shape: torch.Size) -> Tensor:
        shape = torch.broadcast_shapes(input_shape, mask.shape, (1,))
        return sum_to(delta.new_zeros(shape).index_put((mask.expand(shape),), delta), input_shape)
