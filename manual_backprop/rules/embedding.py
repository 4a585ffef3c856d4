"""Rows of a table: Embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, choose, in_opmath


class Embedding(Rule):
    """y = the rows of the weight that the indices name

    input (*) of integers   weight (V, I)   output, delta (*, I)   padding_idx: a row without gradient, or -1

    grad_weight = for each row of the weight the sum of delta where it was taken; with scale_grad_by_freq over the
    number of these places; with sparse a sparse tensor of the rows of delta

    Source: a product of one-hot rows with the weight, hence grad_weight = onehot^T delta; Bengio et al. 2003, "A Neural
    Probabilistic Language Model".
    """

    @staticmethod
    def forward(weight: Tensor, input: Tensor, padding_idx: int, scale_grad_by_freq: bool, sparse: bool) -> Tensor:
        return torch.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        weight, input, *ctx.options = inputs
        ctx.rows = weight.shape[0]
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        padding_idx, scale_grad_by_freq, sparse = ctx.options
        facts = *ctx.saved_tensors, ctx.rows, padding_idx
        if sparse:
            grad_weight = Embedding.grad_weight_sparse(delta, *facts)
        else:
            grad_weight = in_opmath(choose(Embedding.grad_weight), delta, *facts, scale_grad_by_freq)
        return grad_weight, None, None, None, None

    @staticmethod
    def grad_weight(delta: Tensor, input: Tensor, rows: int, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
        taken, deltas = input.reshape(-1), delta.reshape(-1, delta.shape[-1])
        if scale_grad_by_freq:
            places = torch.zeros(rows, dtype=delta.dtype, device=delta.device)
            places = places.index_add(0, taken, torch.ones_like(taken, dtype=delta.dtype))
            deltas = deltas / places[taken].unsqueeze(1)
        if padding_idx >= 0:
            deltas = deltas.masked_fill((taken == padding_idx).unsqueeze(1), 0.0)
        return delta.new_zeros(rows, delta.shape[-1]).index_add(0, taken, deltas)

    @staticmethod
    def grad_weight_sparse(delta: Tensor, input: Tensor, rows: int, padding_idx: int) -> Tensor:
        taken, deltas = input.reshape(-1), delta.reshape(-1, delta.shape[-1])
        if padding_idx >= 0:
            kept = taken != padding_idx
            taken, deltas = taken[kept], deltas[kept]
        return torch.sparse_coo_tensor(taken.unsqueeze(0), deltas, (rows, delta.shape[-1]), check_invariants=False)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return torch.embedding(tangents[0], inputs[1])

    @staticmethod
    def hints(*args: Any) -> list[str]:
        weight, input = args[:2]
        if not input.is_cpu or input.is_floating_point() or not input.numel():
            return []
        low, high = int(input.min()), int(input.max())
        if low >= 0 and high < weight.shape[0]:
            return []
        return [f"the indices go from {low} to {high}: the {weight.shape[0]} rows are 0 to {weight.shape[0] - 1}"]
