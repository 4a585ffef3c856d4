"""Attention by several heads at once: taking the heads apart, and their scores where the weights are asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import LOWER, Rule, choose, sum_to, total
from .attention import ScaledDotProductAttention


class Heads(Rule):
    """y_i = the heads of the i-th part of x

    input (L, N, parts H E)   parts, heads H: int   outputs, deltas: for each part (N, H, L, E)

    delta_input = the deltas beside each other, as x holds their parts

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.2; parts are query, key and value where one
    product has made them all.
    """

    returns_views = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        rows, batch, features = input.shape
        apart = input.reshape(rows, batch, parts, heads, features // (parts * heads))
        return apart.permute(2, 1, 3, 0, 4).unbind()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple:
        return choose(Heads.delta_input)(deltas, ctx.shape), None, None

    @staticmethod
    def delta_input(deltas: tuple[Tensor, ...], shape: torch.Size) -> Tensor:
        return torch.stack([delta.permute(2, 0, 1, 3) for delta in deltas], 2).reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple[Tensor, ...]:
        return Heads.forward(tangents[0], *inputs[1:])


class AttentionScores(Rule):
    """S = scale Q K^T + mask

    query (N, H, L, E)   key (N, H, T, E)   mask (N, H, L, T), broadcast, or None   output, delta (N, H, L, T)

    delta_query = scale delta K
    delta_key   = scale delta^T Q
    delta_mask  = delta, summed over broadcast axes

    For attention that hands out its weights; any other never holds the scores (`ScaledDotProductAttention`).
    Source: Vaswani et al. 2017, "Attention is all you need".
    """

    autocast = LOWER
    tangent_reads = ()

    @staticmethod
    def forward(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        shape = (*query.shape[:-1], key.shape[-2])
        query, key = (query * scale).flatten(0, 1), key.flatten(0, 1).mT
        if mask is None:
            return torch.bmm(query, key).view(shape)
        return torch.baddbmm(mask.expand(shape).flatten(0, 1), query, key).view(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        query, key, mask, ctx.scale = inputs
        ctx.mask = None if mask is None else (mask.shape, mask.dtype)
        ctx.save_for_backward(query if ctx.needs_input_grad[1] else None, key if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        query, key = ctx.saved_tensors
        needs_query, needs_key, needs_mask, _ = ctx.needs_input_grad
        return (
            choose(AttentionScores.delta_query)(delta, key, ctx.scale) if needs_query else None,
            choose(AttentionScores.delta_key)(delta, query, ctx.scale) if needs_key else None,
            choose(AttentionScores.delta_mask)(delta, *ctx.mask) if needs_mask else None,
            None,
        )

    @staticmethod
    def delta_query(delta: Tensor, key: Tensor, scale: float) -> Tensor:
        return ScaledDotProductAttention.delta_query(delta, key, scale)

    @staticmethod
    def delta_key(delta: Tensor, query: Tensor, scale: float) -> Tensor:
        return ScaledDotProductAttention.delta_key(delta, query, scale)

    @staticmethod
    def delta_mask(delta: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return sum_to(delta, shape).to(dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        query, key, _, scale = inputs
        t_query, t_key, t_mask, _ = tangents
        moved = total(
            None if t_query is None else scale * (t_query @ key.mT),
            None if t_key is None else scale * (query @ t_key.mT),
            None if t_mask is None else t_mask.expand_as(output),
        )
        return moved.to(output.dtype)  # type: ignore[union-attr]
