"""Losses of classification."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._errors import check_tensors
from .loss import reduction_of, refuse_gradient


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of logits, as torch.nn.functional.cross_entropy.

    Rules: `mb.rules.CrossEntropyLoss` for class indices; `mb.rules.SoftCrossEntropyLoss` for class probabilities, that
    is where target has the shape of input. Labels out of range: IndexError on the CPU, a failed assertion on CUDA;
    ValueError for sizes that do not fit or an unknown reduction; RuntimeError for dtypes that do not fit, a label
    smoothing above 1, or ignore_index >= 0 with probabilities.
    """
    check_tensors("cross_entropy", input=input, target=target)
    reduction = reduction_of(reduction, size_average, reduce)
    smoothing = max(label_smoothing, 0.0)
    probabilities = input.shape == target.shape
    if probabilities and not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}: a target of the "
            f"shape of input, {tuple(input.shape)}, holds probabilities; class indices have no axis of classes"
        )
    if probabilities and ignore_index >= 0:
        raise RuntimeError(
            f"ignore_index is not supported for floating point target, got {ignore_index}: it is expected to be "
            "negative there; rows of zero probability add nothing to the loss"
        )
    if smoothing > 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    if probabilities:
        return call(rules.SoftCrossEntropyLoss, input, target, weight, reduction, smoothing)[0]
    refuse_gradient("weight", weight)
    return call(rules.CrossEntropyLoss, input, target, weight, ignore_index, reduction, smoothing)[0]


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-x at the label, for log-probabilities x, as torch.nn.functional.nll_loss; rule: `mb.rules.NLLLoss`.

    Labels out of range: IndexError on the CPU, a failed assertion on CUDA; ValueError for sizes that do not fit or an
    unknown reduction; RuntimeError for a target that is not int64 or uint8.
    """
    check_tensors("nll_loss", input=input, target=target)
    reduction = reduction_of(reduction, size_average, reduce)
    refuse_gradient("weight", weight)
    return call(rules.NLLLoss, input, target, weight, ignore_index, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities of yes, as torch.nn.functional.binary_cross_entropy; rule: `mb.rules.BCELoss`.

    RuntimeError for values outside [0, 1] and, as in torch, under CUDA autocast; ValueError where target has not the
    size of input, and for an unknown reduction.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if input.is_cuda and torch.is_autocast_enabled("cuda"):
        raise RuntimeError(
            "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast: the logarithm of a "
            "probability that float16 rounds to 0 or 1 is lost. Combine the sigmoid before it with the loss in "
            "binary_cross_entropy_with_logits or BCEWithLogitsLoss, which are safe to autocast"
        )
    refuse_gradient("weight", weight)
    return call(rules.BCELoss, input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of logits of yes, as torch's function of that name; rule: `mb.rules.BCEWithLogitsLoss`.

    ValueError where target has not the size of input, and for an unknown reduction; RuntimeError for an integer target.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    refuse_gradient("weight", weight)
    refuse_gradient("pos_weight", pos_weight)
    return call(rules.BCEWithLogitsLoss, input, target, weight, pos_weight, reduction)
