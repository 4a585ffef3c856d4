"""Derivatives that are scattered by an index, in C (indexed.c): Embedding's weight and NLLLoss. Each element of the
result is written once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rules import Embedding, NLLLoss
from . import native
from .memory import on_huge_pages
from .native import REAL, REALS
from .registry import serves
from .rows import takes, vector


@serves(Embedding.grad_weight, on="cpu", when=f"{REALS}; a dense gradient")
def embedding_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: torch.Size, padding_idx: int, scale_grad_by_freq: bool, sparse: bool
) -> Tensor:
    if sparse or not math.prod(weight_shape) or not takes(delta, labels=input):
        return NotImplemented
    rows, n = weight_shape
    grad_weight = on_huge_pages(torch.empty(weight_shape, dtype=delta.dtype, device=delta.device))
    right = native.call(
        f"embedding_grad_weight_{REAL[delta.dtype]}", grad_weight, delta.contiguous(), long(input), padding_idx,
        scale_grad_by_freq, rows, input.numel(), n, checked=True,
    )  # fmt: skip
    return grad_weight if right else NotImplemented  # the formula runs and raises the error


@serves(NLLLoss.delta_input, on="cpu", upcasts=True, when=f"{REALS}; not empty")
def nll_loss_delta_input(
    delta: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, input_shape: torch.Size
) -> Tensor:
    if not math.prod(input_shape) or not takes(delta, weight, labels=target):
        return NotImplemented
    batch, classes = input_shape[:2] if len(input_shape) > 1 else (1, *input_shape)
    # ATen's threads fill large memory faster than those of the C code
    delta_input = on_huge_pages(torch.empty(input_shape, dtype=delta.dtype, device=delta.device)).zero_()
    native.call(
        f"nll_loss_delta_input_{REAL[delta.dtype]}", delta_input, delta.contiguous(), long(target), vector(weight),
        ignore_index, reduction == "mean", reduction == "none", batch, classes,
        math.prod(input_shape) // (batch * classes),
    )  # fmt: skip
    return delta_input


def long(indices: Tensor) -> Tensor:
    """Indices as the C code reads them."""
    return (indices if indices.dtype == torch.int64 else indices.long()).contiguous()
