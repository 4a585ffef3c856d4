"""EmbeddingBag: the sum, mean or maximum of the table rows of each bag of indices."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import in_opmath, total
from .embedding import Embedding

SUM, MEAN, MAX = 0, 1, 2


class EmbeddingBag(Rule):
    """y_b = sum, mean or largest over the entries i of bag b of W[i], with per_sample_weights a the sum of a_i W[i]

    input (n), indices   offsets (B), where each bag begins, with include_last_offset (B + 1)   weight (V, D)
    mode: 0 sum, 1 mean, 2 max   per_sample_weights (n) or None, for a sum   output, delta (B, D)
    padding_idx: a row that counts as no entry, or -1   largest (B, D): of a maximum, the row that it is of

    grad_weight[v] = sum over the entries i with index v of a_i delta of the bag     for a mean: / entries in the bag
    for a maximum: the sum of the delta of the bags whose largest number it holds
    grad_per_sample_weights[i] = sum over D of W[i] delta of the bag                 0 for padding_idx

    With scale_grad_by_freq grad_weight[v] is divided by the number of times v was looked up. With sparse=True it is
    sparse, with one entry for each index.

    Source: Mikolov, Chen, Corrado, Dean 2013, "Efficient estimation of word representations in vector space", bag of
    words; the maximum: Griewank, Walther 2008, "Evaluating Derivatives", section 14.
    """

    results = ("output", "bag", "size", "largest")
    tangent_reads = (3,)

    def forward(
        weight: Tensor, input: Tensor, offsets: Tensor, scale_grad_by_freq: bool, mode: int, sparse: bool,
        per_sample_weights: Tensor | None, include_last_offset: bool, padding_idx: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        padding = None if padding_idx < 0 else padding_idx
        return torch.embedding_bag(
            weight,
            input.contiguous(),
            offsets.contiguous(),
            False,
            mode,
            False,
            per_sample_weights,
            include_last_offset,
            padding,
        )

    def bags(input: Tensor, offsets: Tensor, include_last_offset: bool) -> Tensor:
        """(n): the bag of each entry; an entry after the last offset belongs to the last bag."""
        place = torch.arange(len(input), dtype=offsets.dtype, device=offsets.device)
        found = torch.searchsorted(offsets.contiguous(), place, right=True) - 1
        return found.clamp(max=len(offsets) - include_last_offset - 1)

    def counted(input: Tensor, padding_idx: int) -> Tensor:
        """(n): False for entries at padding_idx, which do not count."""
        return input != padding_idx

    def filled(bags: Tensor, counted: Tensor, offsets: Tensor, include_last_offset: bool) -> Tensor:
        """(B): the number of entries in each bag."""
        zeros = torch.zeros(len(offsets) - include_last_offset, dtype=bags.dtype, device=bags.device)
        return zeros.index_add(0, bags, counted.to(bags.dtype))

    def grad_weight(
        delta: Tensor, input: Tensor, bags: Tensor, filled: Tensor, largest: Tensor,
        per_sample_weights: Tensor | None, weight_shape: torch.Size, scale_grad_by_freq: bool, mode: int, sparse: bool,
        padding_idx: int,
    ) -> Tensor:  # fmt: skip
        if mode == MAX:
            delta = delta * (filled > 0).unsqueeze(1)
            return torch.zeros(weight_shape, dtype=delta.dtype, device=delta.device).scatter_add(
                0, largest.clamp(min=0).long(), delta
            )
        if mode == MEAN:
            delta = delta / filled.clamp(min=1).unsqueeze(1)
        entries = delta[bags]
        if per_sample_weights is not None:
            entries = entries * per_sample_weights.unsqueeze(1)
        if sparse:
            return Embedding.sparse_grad_weight(entries, input, weight_shape, padding_idx)
        return in_opmath(Embedding.dense_grad_weight, entries, input, weight_shape, padding_idx, scale_grad_by_freq)

    def grad_per_sample_weights(delta: Tensor, weight: Tensor, input: Tensor, bags: Tensor, counted: Tensor) -> Tensor:
        return torch.where(counted, (delta[bags] * weight[input]).sum(1), 0)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        weight, input, offsets, _, mode, _, per_sample_weights, include_last_offset, padding_idx = inputs
        t_weight, t_samples = tangents[0], tangents[6]
        rest = input, offsets, False, mode, False
        if mode == MAX:
            bags = EmbeddingBag.bags(input, offsets, include_last_offset)
            counted = EmbeddingBag.counted(input, padding_idx)
            filled = EmbeddingBag.filled(bags, counted, offsets, include_last_offset)
            moved = t_weight.gather(0, output[3].clamp(min=0).long()) * (filled > 0).unsqueeze(1)
        else:
            ends = include_last_offset, padding_idx
            moved = total(
                None if t_weight is None else EmbeddingBag.forward(t_weight, *rest, per_sample_weights, *ends)[0],
                None if t_samples is None else EmbeddingBag.forward(weight, *rest, t_samples, *ends)[0],
            )
        return moved, None, None, None
