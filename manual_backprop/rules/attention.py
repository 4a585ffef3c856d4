"""Attention: the output for each query is a mean of the values, weighted by how well their keys match the query.

The formulas hold the weights of all pairs of query and key in memory. The kernels in kernels/attention.py work block by
block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose
from ..engine.terms import not_differentiated, sum_to, total, widen
from ..engine.torch_private import flash_attention_for_cpu
from .dropout import draw

Wanted = tuple[bool, bool, bool, bool]


class ScaledDotProductAttention(Rule):
    """Y = D(P) V,   P = softmax(S) along the keys,   S = scale Q K^T + mask,   D drops weights with probability p

    query (*, L, E)   key (*, T, E)   value (*, T, F)   mask (*, L, T), broadcast, bool (False: -inf) or added
    is_causal: query l sees the keys t <= l   output, delta (*, L, F)   lse (*, L): log of the sum of e^S
    kept (*, L, T): the weights that dropout keeps

    delta_weights = noise delta V^T,   noise = 1 / (1 - p) where kept, else 0
    delta_scores  = P (delta_weights - sum along the keys of P delta_weights) = P (delta_weights - delta . Y)
    delta_query   = scale delta_scores K
    delta_key     = scale delta_scores^T Q
    delta_value   = (noise P)^T delta
    delta_mask    = delta_scores, summed over broadcast axes

    A query that sees no key has weights 0. The backward recomputes P from the saved Y and lse.

    Source: Vaswani et al. 2017, "Attention is all you need"; delta . Y and lse: Dao 2023, "FlashAttention-2".
    """

    results = "output", "lse", "kept"
    autocast = LOWER
    tangent_reads = (2,)

    def forward(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, is_causal: bool, scale: float,
        fused: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
        kept = draw(query, p, (*query.shape[:-1], key.shape[-2])) if p else None
        attended = ScaledDotProductAttention.fused if fused else choose(ScaledDotProductAttention.attended)
        output, lse = attended(query, key, value, mask, kept, p, is_causal, scale)
        return output, lse, kept

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        query, key, value, mask, ctx.p, ctx.is_causal, ctx.scale, _ = inputs
        y, lse, kept = output
        not_differentiated(ctx, *((lse,) if kept is None else (lse, kept)))
        ctx.wanted = ctx.needs_input_grad[:4]
        if ctx.wanted[0] or ctx.wanted[1] or ctx.wanted[3]:
            ctx.save_for_backward(query, key, value, mask, kept, y, lse)
        else:
            ctx.save_for_backward(query, key, None, mask, kept, None, lse)

    # written by hand, like `setup_context`: one formula gives all deltas, which share the recomputed weights
    def backward(ctx: Any, delta: Tensor, *_: Any) -> tuple:
        query, key, value, mask, *rest = ctx.saved_tensors
        dtypes = query.dtype, key.dtype, delta.dtype, None if mask is None else mask.dtype
        options = ctx.p, ctx.is_causal, ctx.scale, ctx.wanted
        found = choose(ScaledDotProductAttention.deltas)(delta, query, key, value, mask, *rest, *options)
        return (
            *(None if d is None else d.to(dtype) for d, dtype in zip(found, dtypes, strict=True)),
            None,
            None,
            None,
            None,
        )

    def fused(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -math.inf)
        if mask is not None and mask.dim() == 3:
            mask = mask.unsqueeze(0)
        attention = flash_attention_for_cpu
        options = 0.0, is_causal
        if query.dim() == 4:
            return attention(query, key, value, *options, attn_mask=mask, scale=scale)
        q, k, v = (tensor.unsqueeze(0) for tensor in (query, key, value))  # torch also fuses three axes
        output, lse = attention(q, k, v, *options, attn_mask=mask, scale=scale)
        return output[0], lse[0]

    def attended(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        dtype = query.dtype
        query, key, value, mask = widen(query, key, value, mask)
        scores = ScaledDotProductAttention.scores(query, key, mask, is_causal, scale)
        weights, lse = ScaledDotProductAttention.weights(scores)
        output = noisy(weights, kept, p) @ value
        # torch.compile of torch 2.11 gives wrong gradients if .to() returns its input
        return output if output.dtype == dtype else output.to(dtype), lse

    def scores(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
        scores = (scale * query) @ key.mT
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        if is_causal:
            scores = scores.masked_fill(above_diagonal(scores), -math.inf)
        return scores

    def weights(scores: Tensor) -> tuple[Tensor, Tensor]:
        unseen = (scores == -math.inf).all(-1, keepdim=True)  # softmax would be 0 / 0
        scores = scores.masked_fill(unseen, 0)
        lse = scores.logsumexp(-1).masked_fill(unseen.squeeze(-1), 0)
        return scores.softmax(-1).masked_fill(unseen, 0), lse.masked_fill(lse == math.inf, math.nan)

    def deltas(
        delta: Tensor, query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, kept: Tensor | None,
        output: Tensor | None, lse: Tensor, p: float, is_causal: bool, scale: float, wanted: Wanted,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        delta, query, key, value, mask = widen(delta, query, key, value, mask)
        scores = ScaledDotProductAttention.scores(query, key, mask, is_causal, scale)
        weights, _ = ScaledDotProductAttention.weights(scores)  # recomputed without lse, which has no derivative
        delta_value = ScaledDotProductAttention.delta_value(delta, noisy(weights, kept, p)) if wanted[2] else None
        if value is None:
            return None, None, delta_value, None
        delta_weights = noisy(delta @ value.mT, kept, p)
        delta_scores = ScaledDotProductAttention.delta_scores(delta_weights, weights)
        return (
            ScaledDotProductAttention.delta_query(delta_scores, key, scale) if wanted[0] else None,
            ScaledDotProductAttention.delta_key(delta_scores, query, scale) if wanted[1] else None,
            delta_value,
            sum_to(delta_scores, mask.shape) if wanted[3] and mask is not None else None,
        )

    def delta_scores(delta_weights: Tensor, weights: Tensor) -> Tensor:
        return weights * (delta_weights - (weights * delta_weights).sum(-1, keepdim=True))

    def delta_query(delta_scores: Tensor, key: Tensor, scale: float) -> Tensor:
        return scale * (delta_scores @ key)

    def delta_key(delta_scores: Tensor, query: Tensor, scale: float) -> Tensor:
        return scale * (delta_scores.mT @ query)

    def delta_value(delta: Tensor, noisy_weights: Tensor) -> Tensor:
        return noisy_weights.mT @ delta

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        t_query, t_key, t_value, t_mask = widen(*tangents[:4])
        query, key, value, mask = widen(*inputs[:4])
        _, _, _, _, p, is_causal, scale, _ = inputs
        y, _, kept = output
        rule = ScaledDotProductAttention
        weights, _ = rule.weights(rule.scores(query, key, mask, is_causal, scale))
        t_scores = total(
            None if t_query is None else scale * (t_query @ key.mT),
            None if t_key is None else scale * (query @ t_key.mT),
            t_mask,
        )
        moved = total(
            # the Jacobian of a softmax is symmetric
            None if t_scores is None else noisy(rule.delta_scores(t_scores, weights), kept, p) @ value,
            None if t_value is None else noisy(weights, kept, p) @ t_value,
        )
        assert moved is not None
        return moved.to(y.dtype), None, None

    def hints(*args: Any) -> list[str]:
        query, key, value, mask = args[:4]
        pairs = (*query.shape[:-1], key.shape[-2])
        hints = []
        if query.shape[-1] != key.shape[-1]:
            hints.append(f"queries have {query.shape[-1]} features, keys {key.shape[-1]}: the sizes must be equal")
        if key.shape[-2] != value.shape[-2]:
            hints.append(f"there are {key.shape[-2]} keys and {value.shape[-2]} values: each key needs one value")
        if mask is not None and (mask.dim() < 2 or any(m not in (1, n) for m, n in zip(mask.shape[::-1], pairs[::-1]))):  # noqa: B905
            hints.append(f"the mask has shape {tuple(mask.shape)}, which does not broadcast to the scores: {pairs}")
        return hints


def noisy(weights: Tensor, kept: Tensor | None, p: float) -> Tensor:
    """Dropout of the weights: kept weights are divided by 1 - p."""
    return weights if kept is None else weights * (kept * (weights.new_ones(()) / (1 - p) if p < 1 else 0.0))


def above_diagonal(scores: Tensor) -> Tensor:
    """(L, T), True where the key comes after the query."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
