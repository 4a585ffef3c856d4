"""Bags of rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from .embedding import _shortened

MODES = ("sum", "mean", "max")
"""In the order of the numbers that torch's operator takes."""


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Bags of rows of weight at the indices input, as torch.nn.functional.embedding_bag; rule: `mb.rules.EmbeddingBag`.

    input (B, n) without offsets, or (n) with offsets: the positions at which its bags begin. With `max_norm`, rows with
    a larger norm are first scaled down in place. ValueError for shapes, modes and offsets that do not fit together,
    NotImplementedError for per_sample_weights in a mode other than "sum", RuntimeError for a padding_idx outside of
    the table.
    """
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
            f"then it must have the same shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated as a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        offsets = torch.arange(0, input.numel(), input.size(1), dtype=input.dtype, device=input.device)
        include_last_offset = False
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    elif offsets is None or offsets.dim() != 1:
        raise ValueError(f"offsets has to be a 1D Tensor, but got {None if offsets is None else tuple(offsets.shape)}")
    if mode not in MODES:
        raise ValueError(f"mode has to be one of sum, mean or max, but got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError("max mode does not support scaling the gradient by the frequency, nor sparse weights")
    if max_norm is not None:
        _shortened(weight, input, max_norm, norm_type)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights is only supported for mode='sum' (got mode={mode!r})"
        )
    number, last = MODES.index(mode), include_last_offset
    return _bags(weight, input, offsets, scale_grad_by_freq, number, sparse, per_sample_weights, last, padding_idx)[0]


@stands_for("embedding_bag", "_embedding_bag")
def _bags(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """torch's operators of that name: the bags, and the bookkeeping that torch returns with them."""
    rows = len(weight)
    if padding_idx is None or padding_idx == -rows - 1:
        padding_idx = -1
    elif not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, but got {padding_idx}"
        )
    elif padding_idx < 0:
        padding_idx += rows
    return call(
        rules.EmbeddingBag, weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights,
        include_last_offset, padding_idx,
    )  # fmt: skip
