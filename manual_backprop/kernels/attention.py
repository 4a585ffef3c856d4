"""Attention on the CPU: torch's blocked forward, and the backward in runs of queries that stay in the cache.

The formulas of rules/attention.py, with results written over what is not needed again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..rules import ScaledDotProductAttention
from ..rules._rule import KERNELS
from ..rules.attention import runs
from . import native

CAUSAL = 128
"""Queries in a causal run: keys behind them are skipped, and shorter runs skip more."""


def _served(*tensors: Tensor | None) -> bool:
    given = [t for t in tensors if t is not None]
    return (
        native.serves(*given)
        and all([t.dtype in (torch.float32, torch.float64) and t.dtype == given[0].dtype for t in given])
        and all([t.numel() for t in given])
    )


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """`ScaledDotProductAttention.attend`."""
    fits = query.dim() == 4 and query.shape[-1] == value.shape[-1] and not (is_causal and query.shape != key.shape)
    if mask is not None or not fits or not _served(query, key, value):
        return ScaledDotProductAttention.attend(query, key, value, mask, is_causal, scale)
    forward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, sums = forward(query, key, value, 0.0, is_causal, scale=scale)
    return output, sums.unsqueeze(-1)


def derivatives(
    delta: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, output: Tensor, sums: Tensor,
    is_causal: bool, scale: float, needs_mask: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """`ScaledDotProductAttention.derivatives`."""
    if mask is not None or query.dim() < 3 or sums.dtype != query.dtype or not _served(delta, query, key, value):
        arguments = delta, query, key, value, mask, output, sums, is_causal, scale, needs_mask
        return ScaledDotProductAttention.derivatives(*arguments)
    shape, queries, keys = query.shape, query.shape[-2], key.shape[-2]
    q, k, v, error = (t.reshape(-1, *t.shape[-2:]) for t in (query, key, value, delta))
    means = (delta * output).sum(-1, keepdim=True).reshape(len(q), queries, 1)
    sums = sums.reshape(len(q), queries, 1)
    delta_q, delta_k, delta_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    k_across, v_across = k.mT, v.mT
    length = CAUSAL if is_causal else next(runs(queries, keys, len(q)))[1]
    for begin in range(0, queries, length):
        end = min(begin + length, queries)
        seen = min(end, keys) if is_causal else keys
        part, d = q[:, begin:end], error[:, begin:end]
        weights = torch.baddbmm(sums[:, begin:end], part, k_across[..., :seen], beta=-1, alpha=scale)
        if is_causal:
            hidden = torch.ones(end - begin, seen, dtype=torch.bool).triu_(begin + 1)
            weights.masked_fill_(hidden, float("-inf"))
        weights.exp_()
        delta_v[:, :seen].baddbmm_(weights.mT, d)
        change = torch.baddbmm(means[:, begin:end], d, v_across[..., :seen], beta=-1)
        weights.mul_(change)
        torch.baddbmm(delta_q[:, begin:end], weights, k[:, :seen], beta=0, alpha=scale, out=delta_q[:, begin:end])
        delta_k[:, :seen].baddbmm_(weights.mT, part, alpha=scale)
    return delta_q.reshape(shape), delta_k.reshape(key.shape), delta_v.reshape(value.shape), None


KERNELS.update(
    {
        ScaledDotProductAttention.attend: attend,
        ScaledDotProductAttention.derivatives: derivatives,
    }
)
