"""Losses of classification."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import rules
from ..engine.torch_private import transforms_active
from ..rules.cross_entropy import class_axis
from ._call import call
from ._errors import check_tensors
from ._losses import reduction_of, refuse_gradient
from .linear import linear
from .shape import reshape


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

    Rules: `mb.rules.CrossEntropyLoss` for class indices. For class probabilities, where target has the shape of input,
    `mb.rules.LabelSmoothing` and then `mb.rules.SoftCrossEntropyLoss`.

    Labels out of range: IndexError on the CPU, a failed assertion on CUDA. ValueError for sizes that do not fit or an
    unknown reduction. RuntimeError for dtypes that do not fit, a label smoothing above 1, or ignore_index >= 0 with
    probabilities.
    """
    check_tensors("cross_entropy", input=input, target=target)
    reduction = reduction_of(reduction, size_average, reduce)
    smoothing = max(label_smoothing, 0.0)
    probabilities = input.shape == target.shape
    if probabilities and not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}. A target with the "
            f"shape of input, {tuple(input.shape)}, holds probabilities; a target of class indices has no class axis"
        )
    if probabilities and ignore_index >= 0:
        raise RuntimeError(
            f"ignore_index is not supported for floating point target. got: {ignore_index}. expected: a negative "
            "number; to ignore a row, set its probabilities to zero"
        )
    if smoothing > 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    if probabilities:
        if smoothing:
            target = call(rules.LabelSmoothing, target, smoothing, class_axis(input.dim()))
        return call(rules.SoftCrossEntropyLoss, input, target, weight, reduction)[0]
    refuse_gradient("weight", weight)
    return call(rules.CrossEntropyLoss, input, target, weight, ignore_index, reduction, smoothing)[0]


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Cross-entropy of the logits x W^T + b, as torch.nn.functional.linear_cross_entropy (torch 2.13 and newer).

    Inputs (N, I) and weights (V, I) with class indices run on `mb.rules.LinearCrossEntropyLoss`. It never holds all
    logits at once, in any mode of differentiation. torch's function needs `options` for that; here they change nothing.
    Other shapes and class probabilities run on the rules of `linear` and `cross_entropy`. RuntimeError for shapes that
    do not fit, a label smoothing outside of [0, 1], or an ignore_index with probabilities.
    """
    check_tensors("linear_cross_entropy", input=input, linear_weight=linear_weight, target=target)
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    if input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {input.shape[-1]} and {linear_weight.shape[-1]}, respectively"
        )
    logits_shape = *input.shape[:-1], *linear_weight.shape[:-1]
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise RuntimeError(
            f"expected linear_bias shape {tuple(linear_weight.shape[:-1])}, got {tuple(linear_bias.shape)}"
        )
    if linear_weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {input.shape[-1]}), got unbatched input with shape {tuple(input.shape)}"
        )
    probabilities = target.shape == logits_shape
    if probabilities and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    ignored = -100 if ignore_index is None else ignore_index
    if input.dim() == 2 and linear_weight.dim() == 2 and target.dim() == 1:
        refuse_gradient("weight", weight)
        if len(target) != len(input):
            raise ValueError(f"Expected input batch_size ({len(input)}) to match target batch_size ({len(target)}).")
        reduction = reduction_of(reduction, None, None)
        device = input.device.type
        float32 = device != "meta" and torch.is_autocast_enabled(device)  # torch's autocast runs the loss in float32
        facts = target, weight, ignored, reduction, label_smoothing, torch.float32 if float32 else None
        return call(rules.LinearCrossEntropyLoss, input, linear_weight, linear_bias, *facts)
    matrix = reshape(linear_weight, (-1, input.shape[-1]))
    bias = None if linear_bias is None else reshape(linear_bias, (-1,))
    logits = reshape(linear(input, matrix, bias), logits_shape)
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


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
    """Binary cross-entropy of probabilities, as torch.nn.functional.binary_cross_entropy; rule: `mb.rules.BCELoss`.

    RuntimeError for values outside [0, 1] and, as in torch, under CUDA autocast; ValueError for a target whose size is
    not that of input, and for an unknown reduction.
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
    """Binary cross-entropy of logits, as torch's function of that name; rule: `mb.rules.BCEWithLogitsLoss`.

    ValueError for a target whose size is not that of input, and for an unknown reduction; RuntimeError for an integer
    target.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    refuse_gradient("weight", weight)
    refuse_gradient("pos_weight", pos_weight)
    if not torch.compiler.is_compiling() and transforms_active():
        # here torch composes the loss of smaller operators that do not save these: copies, so users may edit them
        input, target = call(rules.Copy, input, None), call(rules.Copy, target, None)
        pos_weight = None if pos_weight is None else call(rules.Copy, pos_weight, None)
    return call(rules.BCEWithLogitsLoss, input, target, weight, pos_weight, reduction)
