"""Attention over sequences of various lengths, concatenated in one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .arithmetic import cat
from .attention import scaled_dot_product_attention
from .shape import permute


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor:
    """Attention within each sequence, as torch.nn.attention.varlen.varlen_attn, but on any device and in any dtype;
    rule: `mb.rules.ScaledDotProductAttention`.

    query (T, H, D), key and value (S, H, D): all sequences concatenated. cu_seq_q, cu_seq_k (N + 1): where each begins,
    and where the last one ends. window_size: how many keys before and after its own position a query sees, -1 for all.
    Where a sequence has more keys than queries, or fewer, the last query has the position of the last key. max_q, max_k
    and num_splits are hints. NotImplementedError for return_aux (the log-sum-exp) and for seqused_k and block_table,
    which torch has for inference only; ValueError for numbers of heads that do not fit.
    """
    refused = {"return_aux": return_aux, "seqused_k": seqused_k, "block_table": block_table, "cu_seq_k": cu_seq_k}
    for name, given in refused.items():
        if (given is None) is (name == "cu_seq_k"):
            raise NotImplementedError(
                f"varlen_attn: {name} has no derivative here. got: {given}, expected: "
                f"{'a tensor' if given is None else None}; torch.nn.attention.varlen.varlen_attn takes it for inference"
            )
    heads, served = key.shape[1], query.shape[1]
    if heads != served and not (enable_gqa and heads and served % heads == 0):
        raise ValueError(
            f"varlen_attn: numbers of heads do not fit. got: {served} in query, {heads} in key and value. expected: "
            "equal numbers, or with enable_gqa=True a multiple in query"
        )
    assert cu_seq_k is not None
    lengths_q, lengths_k = (ends.diff().tolist() for ends in (cu_seq_q, cu_seq_k))
    queries, keys, values = query.split(lengths_q), key.split(lengths_k), value.split(lengths_k)
    parts = []
    for each in zip(queries, keys, values, strict=True):
        q, k, v = (permute(part, (1, 0, 2)).unsqueeze(0) for part in each)
        seen = _window(q.shape[2], k.shape[2], window_size, query.device)
        attended = scaled_dot_product_attention(q, k, v, seen, scale=scale, enable_gqa=heads != served)
        parts.append(permute(attended.squeeze(0), (1, 0, 2)))
    return cat(parts)


def _window(queries: int, keys: int, size: tuple[int, int], device: torch.device) -> Tensor | None:
    """A mask (L, S), True where a query sees a key; None where each sees all."""
    before, behind = size
    if before < 0 and behind < 0:
        return None
    own = torch.arange(queries, device=device).unsqueeze(1) + (keys - queries)
    place = torch.arange(keys, device=device)
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if before >= 0:
        seen = seen & (place >= own - before)
    return seen & (place <= own + behind) if behind >= 0 else seen
