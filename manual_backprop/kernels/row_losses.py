"""Margin and cosine losses in C (row_losses.c): each row is read once, where the formulas make a dozen passes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rules import CosineEmbeddingLoss, CosineSimilarity, MultiLabelMarginLoss, MultiMarginLoss
from ..rules.loss import per_loss
from . import native
from .indexed import long
from .native import REAL
from .registry import serves
from .rows import takes

SERVED = "float32, float64; not empty"


def _real(*tensors: Tensor | None, labels: Tensor | None = None) -> bool:
    return tensors[0] is not None and tensors[0].dtype != torch.bfloat16 and takes(*tensors, labels=labels)


def _of_single(delta: Tensor, reduction: str, rows: int) -> Tensor:
    """The delta of each row's loss."""
    return per_loss(delta, reduction, rows).expand(rows).contiguous()


@serves(MultiMarginLoss.delta_input, on="cpu", when=f"{SERVED}; (N, V)")
def multi_margin_delta_input(
    delta: Tensor, input: Tensor, target: Tensor, p: int, margin: float, weight: Tensor | None, reduction: str
) -> Tensor:
    if input.dim() != 2 or target.shape != input.shape[:1] or not _real(input, delta, weight, labels=target):
        return NotImplemented
    out = torch.empty_like(input, memory_format=torch.contiguous_format)
    right = native.call(
        f"multi_margin_delta_input_{REAL[input.dtype]}", out, _of_single(delta, reduction, len(input)),
        input.contiguous(), long(target), None if weight is None else weight.contiguous(), native.number(margin),
        p == 2, *input.shape, checked=True,
    )  # fmt: skip
    return out if right else NotImplemented  # the formula runs and raises the error


@serves(MultiLabelMarginLoss.delta_input, on="cpu", when=f"{SERVED}; (N, V)")
def multilabel_margin_delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    if input.dim() != 2 or target.shape != input.shape or not _real(input, delta, labels=target):
        return NotImplemented
    out = torch.empty_like(input, memory_format=torch.contiguous_format)
    right = native.call(
        f"multilabel_margin_delta_input_{REAL[input.dtype]}", out, _of_single(delta, reduction, len(input)),
        input.contiguous(), long(target), *input.shape, checked=True,
    )  # fmt: skip
    return out if right else NotImplemented  # the formula runs and raises the error


def _cosine(delta: Tensor, x1: Tensor, x2: Tensor, target: Tensor | None, number: float) -> Tensor:
    out = torch.empty_like(x1, memory_format=torch.contiguous_format)
    native.call(
        f"cosine_delta_{REAL[x1.dtype]}", out, delta.contiguous(), x1.contiguous(), x2.contiguous(), target,
        native.number(number), x1.numel() // x1.shape[-1], x1.shape[-1],
    )  # fmt: skip
    return out


@serves(CosineSimilarity.delta_x1, on="cpu", when=f"{SERVED}; of two tensors of one shape, along the last axis")
def cosine_similarity_delta_x1(delta: Tensor, x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
    if x1.shape != x2.shape or not x1.dim() or dim % x1.dim() != x1.dim() - 1 or not _real(x1, x2, delta):
        return NotImplemented
    return _cosine(delta, x1, x2, None, eps)


@serves(CosineSimilarity.delta_x2, on="cpu", when=f"{SERVED}; of two tensors of one shape, along the last axis")
def cosine_similarity_delta_x2(delta: Tensor, x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
    return cosine_similarity_delta_x1(delta, x2, x1, dim, eps)


@serves(CosineEmbeddingLoss.delta_input1, on="cpu", when=f"{SERVED}; (N, D), of one shape")
def cosine_embedding_delta_input1(
    delta: Tensor, input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str
) -> Tensor:
    if (
        input1.shape != input2.shape
        or input1.dim() != 2
        or target.shape != input1.shape[:1]
        or not _real(input1, input2, delta, labels=target)
    ):
        return NotImplemented
    of_single = _of_single(delta, reduction, len(input1))
    return _cosine(of_single, input1, input2, target.to(input1.dtype).contiguous(), margin)


@serves(CosineEmbeddingLoss.delta_input2, on="cpu", when=f"{SERVED}; (N, D), of one shape")
def cosine_embedding_delta_input2(
    delta: Tensor, input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str
) -> Tensor:
    return cosine_embedding_delta_input1(delta, input2, input1, target, margin, reduction)
