"""Attention: a mean of values, weighted by the softmax of scaled products of queries and keys.

The weights P are (Tq, Tk); they are made for a run of queries at a time, in the forward and again in the backward, so
that nothing of that size is ever whole. Kept are the inputs, the output and the logarithm of each softmax's sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._rule import LOWER, Rule, choose, differentiated_again, sum_to, widen

ELEMENTS = 2**21
"""Weights that are in memory at a time (8 MiB of float32), at least those of MINIMUM queries."""

MINIMUM = 16
INFINITY = float("inf")


def runs(queries: int, keys: int, batch: int) -> Iterator[tuple[int, int]]:
    """Begin and end of runs of queries, of equal length but the last."""
    length = max(MINIMUM, ELEMENTS // max(keys * batch, 1))
    return ((begin, min(begin + length, queries)) for begin in range(0, queries, length))


def rows(tensor: Tensor, begin: int, end: int) -> Tensor:
    """(*, T, E) from T = begin to end, or to where it ends."""
    return tensor.narrow(-2, begin, min(end, tensor.shape[-2]) - begin)


def scores(
    query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float, begin: int, end: int
) -> Tensor:
    """scale q k^T + mask for the queries from begin to end, -inf where a key is hidden; causal: of the keys to end."""
    hidden: Tensor | None = None
    found = (rows(query, begin, end) * scale) @ (rows(key, 0, end) if is_causal else key).mT
    if is_causal:
        queries, keys = found.shape[-2:]
        places = torch.arange(keys, device=found.device)
        hidden = places > places.new_tensor(range(begin, begin + queries)).unsqueeze(1)
    if mask is not None:
        part = rows(mask, begin, end) if mask.shape[-2] > 1 else mask
        if part.dtype != torch.bool:
            return found + part
        hidden = ~part
    return found if hidden is None else found.masked_fill(hidden, -INFINITY)


def log_sums(found: Tensor) -> Tensor:
    """log of the sum of e^score over the keys; 0 for a query that sees none, whose weights are then 0."""
    sums = found.logsumexp(-1, keepdim=True)
    return torch.where(sums == -INFINITY, 0.0, sums)


class ScaledDotProductAttention(Rule):
    """y = P v,   P = softmax(scale q k^T + mask) over the keys

    query (*, Tq, E)   key (*, Tk, E)   value (*, Tk, Ev)   mask broadcast to (*, Tq, Tk), added, or bool: False hides;
    is_causal: query i sees keys 0 .. i   output, delta (*, Tq, Ev)   sums (*, Tq, 1), the logarithms of the softmax's

    delta_value = P^T delta
    delta_query = scale D k     delta_key = scale D^T q     grad_mask = D
    with D = P (delta v^T - sum over Ev of delta y), and P = e^(scale q k^T + mask - sums)

    Source: Vaswani et al. 2017, "Attention is all you need"; the backward: Dao et al. 2022, "FlashAttention".
    """

    autocast = LOWER

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        fast = choose(ScaledDotProductAttention.attend)
        return fast(query, key, value, mask, is_causal, scale)

    @staticmethod
    def attend(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The output and the logarithms of the sums, a run of queries at a time."""
        dtype = query.dtype
        query, key, value, mask = widen(query, key, value, mask)
        outputs, sums = [], []
        if not query.numel() or not value.numel():
            shape = query.shape[:-1]
            return value.new_zeros(*shape, value.shape[-1]).to(dtype), query.new_zeros(*shape, 1)
        for begin, end in runs(query.shape[-2], key.shape[-2], query.shape[:-2].numel()):
            found = scores(query, key, mask, is_causal, scale, begin, end)
            sums.append(log_sums(found))
            outputs.append(torch.exp(found - sums[-1]) @ (rows(value, 0, end) if is_causal else value))
        return torch.cat(outputs, -2).to(dtype), torch.cat(sums, -2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        query, key, value, mask, ctx.is_causal, ctx.scale = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(query, key, value, mask, *output)

    @staticmethod
    def backward(ctx: Any, delta: Tensor, _: Any) -> tuple:
        formula = choose(ScaledDotProductAttention.derivatives)
        results = formula(delta, *ctx.saved_tensors, ctx.is_causal, ctx.scale, ctx.needs_input_grad[3])
        kept = [r if needed else None for r, needed in zip(results, ctx.needs_input_grad[:4], strict=True)]
        return *kept, None, None

    @staticmethod
    def derivatives(
        delta: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, output: Tensor, sums: Tensor,
        is_causal: bool, scale: float, needs_mask: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
        """delta_query, delta_key, delta_value, grad_mask: all are made of the same P and D."""
        dtypes = query.dtype, key.dtype, value.dtype
        shape, mask_dtype = (None, None) if mask is None else (mask.shape, mask.dtype)
        delta, query, key, value, mask, output = widen(delta, query, key, value, mask, output)
        if not query.numel() or not value.numel():
            zeros = [torch.zeros_like(t) for t in (query, key, value)]
            return *zeros, None if mask is None else torch.zeros_like(mask)  # type: ignore[return-value]
        again = differentiated_again()
        means = (delta * output).sum(-1, keepdim=True)
        delta_queries, grad_masks = [rows(query, 0, 0)], []
        delta_key, delta_value = torch.zeros_like(key), torch.zeros_like(value)
        for begin, end in runs(query.shape[-2], key.shape[-2], query.shape[:-2].numel()):
            found = scores(query, key, mask, is_causal, scale, begin, end)
            seen = found.shape[-1]
            rest = (0, 0, 0, key.shape[-2] - seen)  # keys behind those that a causal run sees
            weights = torch.exp(found - (log_sums(found) if again else rows(sums, begin, end)))
            error = rows(delta, begin, end)
            d = weights * (error @ rows(value, 0, seen).mT - rows(means, begin, end))
            delta_queries.append((d @ rows(key, 0, seen)) * scale)
            delta_key = delta_key + F.pad(d.mT @ (rows(query, begin, end) * scale), rest)
            delta_value = delta_value + F.pad(weights.mT @ error, rest)
            if needs_mask:
                grad_masks.append(F.pad(d, (0, rest[-1])))
        grad_mask = sum_to(torch.cat(grad_masks, -2), shape).to(mask_dtype) if grad_masks and shape else None
        delta_query = torch.cat(delta_queries, -2)
        return delta_query.to(dtypes[0]), delta_key.to(dtypes[1]), delta_value.to(dtypes[2]), grad_mask

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        query, key, value, mask, is_causal, scale = inputs
        t_query, t_key, t_value, t_mask = tangents[:4]
        keys = min(query.shape[-2], key.shape[-2]) if is_causal else key.shape[-2]
        key, value = key[..., :keys, :], value[..., :keys, :]
        found = scores(query, key, mask, is_causal, scale, 0, query.shape[-2])
        weights, moved = torch.exp(found - log_sums(found)), torch.zeros_like(found)
        if t_query is not None:
            moved = moved + (t_query * scale) @ key.mT
        if t_key is not None:
            moved = moved + (query * scale) @ t_key[..., :keys, :].mT
        if t_mask is not None:
            moved = moved + t_mask
        moved = weights * (moved - (weights * moved).sum(-1, keepdim=True))
        t_output = moved @ value
        return t_output if t_value is None else t_output + weights @ t_value[..., :keys, :], None
