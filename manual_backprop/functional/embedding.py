"""Rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of the weight that input names, as torch.nn.functional.embedding; rule: `mb.rules.Embedding`.

    max_norm: rows that are taken and whose norm_type-norm is larger are scaled down first, in place. AssertionError for
    a padding_idx outside of the rows, IndexError for such an index on the CPU, RuntimeError for scale_grad_by_freq with
    sparse, which torch does not have either.
    """
    rows = weight.size(0)
    if padding_idx is not None:
        if padding_idx and not -rows <= padding_idx < rows:
            raise AssertionError(f"Padding_idx must be within num_embeddings: got {padding_idx} for {rows} rows")
        padding_idx += rows if padding_idx < 0 else 0
    if scale_grad_by_freq and sparse:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    if max_norm is not None:
        input = input.contiguous()
        with torch.no_grad():
            torch.embedding_renorm_(weight, input, max_norm, norm_type)
    return call(rules.Embedding, weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse)
