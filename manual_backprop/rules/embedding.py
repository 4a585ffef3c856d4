"""Looking rows up in a table: Embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import in_opmath
from ..engine.torch_private import in_forward_mode, transforms_active


class Embedding(Rule):
    """y = W[i], row i of the table for each index i

    input (*), indices   weight (V, D)   output, delta (*, D)   padding_idx: a row that receives no gradient, or -1

    grad_weight[v] = sum over * with i = v of delta     0 for v = padding_idx
    with scale_grad_by_freq divided by the number of times v was looked up

    With sparse=True the gradient is sparse, with one entry for each index. With scale_grad_by_freq a second derivative
    is divided by the number of look-ups only once, as in torch: the backward of grad_weight does not divide again.

    Source: Bengio, Ducharme, Vincent, Jauvin 2003, "A neural probabilistic language model": a product with one-hot
    rows.
    """

    tangent_reads = ()

    def forward(input: Tensor, weight: Tensor, padding_idx: int, scale_grad_by_freq: bool, sparse: bool) -> Tensor:
        return torch.embedding(weight, input, padding_idx)

    def grad_weight(
        delta: Tensor, input: Tensor, weight_shape: torch.Size, padding_idx: int, scale_grad_by_freq: bool, sparse: bool
    ) -> Tensor:
        if sparse:
            return Embedding.sparse_grad_weight(delta, input, weight_shape, padding_idx)
        return in_opmath(Embedding.dense_grad_weight, delta, input, weight_shape, padding_idx, scale_grad_by_freq)

    def dense_grad_weight(
        delta: Tensor, input: Tensor, shape: torch.Size, padding_idx: int, scale_grad_by_freq: bool
    ) -> Tensor:
        index, delta = input.reshape(-1), delta.reshape(input.numel(), delta.shape[-1])
        if scale_grad_by_freq:
            count = added_up(torch.ones_like(index), index, shape[0])
            often = count[index].unsqueeze(1)
            if torch.is_grad_enabled() and not in_forward_mode():
                # a second derivative is divided only once: here the value is divided, its derivative is not
                with torch.no_grad():
                    divided, same = delta / often, delta.clone()
                delta = divided + (delta - same).nan_to_num(0.0)
            else:
                delta = delta / often
        if padding_idx >= 0:
            delta = delta.masked_fill((index == padding_idx).unsqueeze(1), 0)
        return added_up(delta, index, shape[0])

    def sparse_grad_weight(delta: Tensor, input: Tensor, shape: torch.Size, padding_idx: int) -> Tensor:
        index, delta = input.reshape(-1), delta.reshape(input.numel(), delta.shape[-1])
        if padding_idx >= 0:
            kept = index != padding_idx
            index, delta = index[kept], delta[kept]
        return torch.sparse_coo_tensor(index.unsqueeze(0), delta, shape, check_invariants=False)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.embedding(tangents[1], inputs[0])

    def hints(*args: Any) -> list[str]:
        input, weight = args[:2]
        if not isinstance(input, Tensor) or input.is_floating_point() or weight.dim() != 2 or not input.numel():
            return []
        low, high = int(input.min()), int(input.max())
        outside = low < 0 or high >= weight.shape[0]
        return [f"the indices range from {low} to {high}, but the table has rows 0 to {len(weight) - 1}"] * outside


def added_up(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Row v of the result: the sum of the values whose index is v, added in order."""
    zeros = values.new_zeros((rows, *values.shape[1:]))
    if transforms_active():  # under vmap an index with a batch axis cannot write into zeros without one
        return zeros.index_add(0, index, values)
    return zeros.index_add_(0, index, values)
