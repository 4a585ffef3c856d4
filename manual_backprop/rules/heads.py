"""Multi-head attention: Heads, which splits the heads, and AttentionScores, for calls that return the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose
from ..engine.terms import sum_to, total
from .attention import ScaledDotProductAttention


class Heads(Rule):
    """y_i = the heads of the i-th part of x

    input (L, N, parts H E)   parts, heads H: int   outputs, deltas: for each part (N, H, L, E)

    delta_input = the deltas next to each other, as x holds their parts

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.2; parts are query, key and value where one
    matmul computes all of them.
    """

    returns_views = True
    tangent_reads = ()

    def forward(input: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        rows, batch, features = input.shape
        apart = input.reshape(rows, batch, parts, heads, features // (parts * heads))
        whole = apart.permute(2, 0, 1, 3, 4)
        # contiguous, N and H of a part are one axis for a matmul; else ATen on the CPU copies it, forward and backward
        return (whole.contiguous() if input.is_cpu else whole).permute(0, 2, 3, 1, 4).unbind()

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.shape = inputs[0].shape
        ctx.set_materialize_grads(False)

    # written by hand, since the number of outputs and deltas is the number of parts
    def backward(ctx: Any, *deltas: Tensor | None) -> tuple:
        some = next(delta for delta in deltas if delta is not None)
        deltas = tuple([torch.zeros_like(some) if delta is None else delta for delta in deltas])
        return choose(Heads.delta_input)(deltas, ctx.shape), None, None

    def delta_input(deltas: tuple[Tensor, ...], shape: torch.Size) -> Tensor:
        return torch.stack([delta.permute(2, 0, 1, 3) for delta in deltas], 2).reshape(shape)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple[Tensor, ...]:
        return Heads.forward(tangents[0], *inputs[1:])


class AttentionScores(Rule):
    """S = scale Q K^T + mask

    query (N, H, L, E)   key (N, H, T, E)   mask (N, H, L, T), broadcast, or None   output, delta (N, H, L, T)

    delta_query = scale delta K
    delta_key   = scale delta^T Q
    delta_mask  = delta, summed over broadcast axes

    For attention that returns its weights. Other calls run `ScaledDotProductAttention`, whose kernels never hold all
    scores.

    Source: Vaswani et al. 2017, "Attention is all you need".
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        shape = (*query.shape[:-1], key.shape[-2])
        query, key = (query * scale).flatten(0, 1), key.flatten(0, 1).mT
        if mask is None:
            return torch.bmm(query, key).view(shape)
        return torch.baddbmm(mask.expand(shape).flatten(0, 1), query, key).view(shape)

    def delta_query(delta: Tensor, key: Tensor, scale: float) -> Tensor:
        return ScaledDotProductAttention.delta_query(delta, key, scale)

    def delta_key(delta: Tensor, query: Tensor, scale: float) -> Tensor:
        return ScaledDotProductAttention.delta_key(delta, query, scale)

    def delta_mask(delta: Tensor, mask_shape: torch.Size, mask_dtype: torch.dtype) -> Tensor:
        return sum_to(delta, mask_shape).to(mask_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        query, key, _, scale = inputs
        t_query, t_key, t_mask, _ = tangents
        moved = total(
            None if t_query is None else scale * (t_query @ key.mT),
            None if t_key is None else scale * (query @ t_key.mT),
            None if t_mask is None else t_mask.expand_as(output),
        )
        return moved.to(output.dtype)  # type: ignore[union-attr]
