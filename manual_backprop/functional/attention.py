"""Attention, with torch's signature."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from .. import rules
from ..engine.terms import LOW
from ..engine.torch_private import attention_backend, flash_attention_for_cpu, in_forward_mode, transforms_active
from ._autocast import cast_arguments
from ._call import call, expand
from ._errors import check_tensors

FLASH, MATH = SDPBackend.FLASH_ATTENTION.value, SDPBackend.MATH.value
"""torch's numbers for two of its implementations. Constants, because torch.compile cannot read the enumeration."""


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
    """softmax(scale Q K^T + mask) V, as torch.nn.functional.scaled_dot_product_attention.

    Rule: `mb.rules.ScaledDotProductAttention`. Without `scale`, 1 / sqrt(E). With `enable_gqa`, several neighbouring
    heads of the query share one head of key and value. With `dropout_p`, one byte per pair of query and key is saved.
    Raises RuntimeError for a mask together with is_causal, for fewer than two axes and for dtypes that differ;
    TypeError for nested tensors.
    """
    check_tensors("scaled_dot_product_attention", query=query, key=key, value=value)
    return _attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float, is_causal: bool,
    scale: float | None = None, enable_gqa: bool = False, seen: bool = True,
) -> Tensor:  # fmt: skip
    """`scaled_dot_product_attention`. seen: whether users can reach these tensors and so edit them in place."""
    _check(query, key, value, attn_mask, is_causal)
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if not query.dtype == key.dtype == value.dtype:  # autocast casts to one dtype before torch picks a fused kernel
        query, key, value = cast_arguments("lower", query.device.type, (query, key, value))
    backend = _torchs_choice(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    fused = query.device.type == "cpu" and backend == FLASH and flash_attention_for_cpu is not None
    if enable_gqa:
        key, value = (_repeated(tensor, query) for tensor in (key, value))
    query, key, value = _batched_alike(query, key, value)
    if not query.shape[:-1].numel() or not value.numel():  # torch draws nothing then, and gives a mask no gradient
        attn_mask, dropout_p = None, 0.0
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    apart = backend == MATH and torch.is_grad_enabled()
    if apart and seen:
        query, key, value = _copies(query, key, value)
    if attn_mask is not None and (apart or _cannot_be_saved(attn_mask)):
        attn_mask = call(rules.Copy, attn_mask, None)
    output = call(rules.ScaledDotProductAttention, query, key, value, attn_mask, dropout_p, is_causal, scale, fused)[0]
    if apart:
        return call(rules.Copy, output, None) if seen else output
    order = _order(query, output, backend)
    return output if order is None else call(rules.Copy, output, order)


def _torchs_choice(query: Tensor, key: Tensor, *args: Any) -> int | None:
    """Which of its implementations torch would run; None where that does not matter."""
    if torch.compiler.is_compiling() or query.device.type not in ("cpu", "cuda"):
        return None
    if transforms_active() or in_forward_mode():
        return MATH  # torch cannot be asked under vmap, and its fused forward has no tangent
    if not query.numel() or not key.numel():
        return MATH
    *positional, scale, enable_gqa = args
    return attention_backend(query, key, *positional, scale=scale, enable_gqa=enable_gqa)


def _copies(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Copies of query and key. Without a fused forward torch saves scaled copies of both, so that a user may edit the
    originals in place. (It does not save the mask.)"""
    if value.dtype in LOW or not query.numel() or not key.numel():  # torch saves it in float32, or not at all
        value = call(rules.Copy, value, None)
    return call(rules.Copy, query, None), call(rules.Copy, key, None), value


def _cannot_be_saved(mask: Tensor) -> bool:
    """Whether the mask was made in inference mode, where gradients are recorded. (torch.compile cannot read that.)"""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and mask.is_inference()


def _order(query: Tensor, output: Tensor, backend: int | None) -> tuple[int, ...] | None:
    """The memory order, outermost axis first, in which torch's fused forwards return (N, H, L, E). With it, heads that
    were views of one tensor can be joined as a view again. None for the contiguous order, which ours has."""
    if query.device.type == "cuda" and backend not in (None, MATH) and query.dim() == 4:
        return 0, 2, 1, 3
    if query.device.type == "meta" and query.shape == output.shape:  # the query's order, as on the CPU
        order = tuple(sorted(range(query.dim()), key=query.stride().__getitem__, reverse=True))
        return None if order == tuple(range(query.dim())) else order
    return None


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
    if query.is_nested or key.is_nested or value.is_nested:
        raise TypeError(
            "scaled_dot_product_attention has a rule for plain tensors only, got nested ones: pass them padded, "
            "by torch.nested.to_padded_tensor, with an attn_mask"
        )
    ranks = query.dim(), key.dim(), value.dim()
    if min(ranks) < 2:
        raise RuntimeError(
            f"Expected query, key, and value to all be at least 2 dimensional, (L, E), (T, E) and (T, F), but got "
            f"{ranks[0]}, {ranks[1]} and {ranks[2]} axes: unsqueeze what is missing"
        )
    if not query.dtype == key.dtype == value.dtype and not torch.is_autocast_enabled(query.device.type):
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got {query.dtype}, {key.dtype} and "
            f"{value.dtype}: cast them to one"
        )
    if mask is None:
        return
    if is_causal:
        raise RuntimeError("Explicit attn_mask should not be set when is_causal=True: put causality into the mask")
    if mask.dtype not in (torch.bool, torch.float32, query.dtype):
        raise RuntimeError(
            f"Expected attn_mask dtype to be bool or float or to match query dtype, but got {mask.dtype} for "
            f"{query.dtype}: cast it"
        )


def _repeated(tensor: Tensor, query: Tensor) -> Tensor:
    """A key or value with each head repeated for all heads of the query that share it."""
    if query.dim() < 3 or tensor.dim() < 3:
        raise IndexError(f"enable_gqa needs an axis of heads, (*, H, L, E), but got {query.dim()} axes")
    heads, served = tensor.shape[-3], query.shape[-3]
    if heads == served:
        return tensor
    if not heads or served % heads:
        raise RuntimeError(
            f"Number of heads in key and value must divide the number of heads in query: {served}, {heads}"
        )
    *batch, rows, features = tensor.shape
    apart = tensor.unsqueeze(-3)
    repeated = expand(apart, (*batch, served // heads, rows, features))
    return repeated.flatten(-4, -3)


def _batched_alike(*tensors: Tensor) -> list[Tensor]:
    shapes = [tensor.shape[:-2] for tensor in tensors]
    if shapes[0] == shapes[1] == shapes[2]:
        return list(tensors)
    batch = torch.broadcast_shapes(*shapes)
    return [
        tensor if tensor.shape[:-2] == batch else expand(tensor, (*batch, *tensor.shape[-2:])) for tensor in tensors
    ]
