"""Operators that torch calls inside of others: derivatives, and special forms of softmax and attention.

`mb.explicit` runs them on rules.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


@stands_for("_safe_softmax")
def _safe_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return call(rules.SafeSoftmax, input, dim, dtype)


@stands_for("_softmax_backward_data")
def _softmax_backward(grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    return call(rules.SoftmaxBackward, grad_output, output, dim, input_dtype)


@stands_for("_log_softmax_backward_data")
def _log_softmax_backward(grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    return call(rules.LogSoftmaxBackward, grad_output, output, dim, input_dtype)


@stands_for("_scaled_dot_product_flash_attention_for_cpu")
def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Output, and the log-sum-exp of each query's scores, for which torch has no derivative."""
    if dropout_p:  # torch refuses it
        return NotImplemented
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return call(rules.ScaledDotProductAttention, query, key, value, attn_mask, 0.0, is_causal, scale, True)[:2]
