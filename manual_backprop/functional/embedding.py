"""Lookup of rows in a table."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._errors import check_tensors


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of weight at the indices input, as torch.nn.functional.embedding; rule: `mb.rules.Embedding`.

    With `max_norm`, rows with a larger norm are first scaled down in place. Raises AssertionError for a padding_idx
    outside of the table, RuntimeError for scale_grad_by_freq with sparse gradients, which torch does not support
    either.
    """
    check_tensors("embedding", input=input, weight=weight)
    if padding_idx is None:
        padding_idx = -1
    elif not -(rows := weight.shape[0]) <= padding_idx < rows:
        raise AssertionError(f"Padding_idx must be within num_embeddings: got {padding_idx} for a table of {rows} rows")
    elif padding_idx < 0:
        padding_idx += rows
    if sparse and scale_grad_by_freq and weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            "embedding: scale_grad_by_freq is not supported with sparse gradients. Set one of scale_grad_by_freq and "
            "sparse to False"
        )
    if max_norm is not None:
        _shortened(weight, input, max_norm, norm_type)
    return call(rules.Embedding, input, weight, padding_idx, scale_grad_by_freq, sparse)


def _shortened(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up down to the norm max_norm, in place."""
    with torch.no_grad():
        table = weight.detach()
        if table.shape[0] > 1 and table.stride(0) == 0:  # all rows are one in memory
            table, input = table[:1], torch.zeros_like(input)
        packed = table.contiguous()  # torch's CUDA kernel ignores strides
        torch.embedding_renorm_(packed, input.contiguous(), max_norm, norm_type)
        if packed is not table:
            table.copy_(packed)
