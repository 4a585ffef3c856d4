"""Attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ..rules.shape import Expand
from ._call import call
from .arithmetic import add, matmul, mul
from .dropout import dropout
from .shape import reshape
from .softmax import softmax


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale q k^T + mask) v, as torch.nn.functional.scaled_dot_product_attention.

    Rule: `mb.rules.ScaledDotProductAttention`, which never holds all weights. With dropout_p the weights are dropped by
    `mb.rules.Dropout`, and are whole. RuntimeError for shapes and dtypes that do not fit, and a mask with is_causal.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention: attn_mask should not be set when is_causal=True")
    if not query.dtype == key.dtype == value.dtype and not torch.is_autocast_enabled(query.device.type):
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, "
            f"but got query.dtype: {query.dtype}, key.dtype: {key.dtype}, and value.dtype: {value.dtype} instead."
        )
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be at least 2 dimensional, "
            f"but got {query.dim()}, {key.dim()} and {value.dim()} dimensions"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} do not fit: expected (*, Tq, E), (*, Tk, E) and (*, Tk, Ev)"
        )
    if enable_gqa:
        key, value = _repeated(key, query), _repeated(value, query)
    batch = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    query, key, value = _expanded(query, batch), _expanded(key, batch), _expanded(value, batch)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None and query.shape[-1] else scale or 1.0
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, query.dtype) and not _autocast(query):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, "
            f"but got attn_mask.dtype: {attn_mask.dtype} and query.dtype: {query.dtype} instead."
        )
    if dropout_p > 0.0:
        return _dropped(query, key, value, attn_mask, dropout_p, is_causal, scale)
    return call(rules.ScaledDotProductAttention, query, key, value, attn_mask, is_causal, scale)[0]


def _autocast(tensor: Tensor) -> bool:
    device = tensor.device.type
    return device != "meta" and torch.is_autocast_enabled(device)


def _repeated(tensor: Tensor, query: Tensor) -> Tensor:
    """(*, G, T, E) with every head of a group repeated: (*, H, T, E)."""
    heads, groups = query.shape[-3], tensor.shape[-3]
    if groups == heads:
        return tensor
    if not groups or heads % groups:
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query for enable_gqa, "
            f"but got {groups} and {heads}"
        )
    *batch, _, tokens, size = tensor.shape
    spread = call(
        Expand, reshape(tensor, (*batch, groups, 1, tokens, size)), (*batch, groups, heads // groups, tokens, size)
    )
    return reshape(spread, (*batch, heads, tokens, size))


def _expanded(tensor: Tensor, batch: Any) -> Tensor:
    shape = (*batch, *tensor.shape[-2:])
    return tensor if tensor.shape == shape else call(Expand, tensor, shape)


def _dropped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, is_causal: bool, scale: float
) -> Tensor:
    scores = matmul(mul(query, scale), key.mT)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        hidden = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device)
        mask = hidden.masked_fill(~mask, float("-inf"))
    weights = softmax(scores if mask is None else add(scores, mask), -1)
    return matmul(dropout(weights, p), value)
