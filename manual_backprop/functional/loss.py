"""Losses of two tensors compared element by element."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import rules
from ._autocast import cast_arguments
from ._call import call
from ._errors import check_tensors
from ._losses import broadcast, check_weight, one_size, over_weights, reduction_of
from .arithmetic import div, mean, mul, sub, sum


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2, as torch.nn.functional.mse_loss; rule: `mb.rules.MSELoss`.

    With a weight of the input's size a mean is the weighted one. Warns where the sizes of input and target differ;
    ValueError for an unknown reduction or a weight of another size, RuntimeError where the sizes cannot be broadcast.
    """
    unexpanded = input
    input, target = one_size("mse_loss", input, target)
    reduction = reduction_of(reduction, size_average, reduce)
    if weight is None:
        return call(rules.MSELoss, input, target, reduction)
    check_weight(weight, unexpanded)
    with torch.autocast("cpu", enabled=False):  # torch composes the weighted loss of arithmetic, which keeps dtypes
        difference = sub(input, target)
        if input.is_cuda and torch.is_autocast_enabled("cuda"):  # CUDA autocast computes the square in float32
            (difference,) = cast_arguments("float32", "cuda", (difference,))
        return over_weights(mul(difference, difference), weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|, as torch.nn.functional.l1_loss; rule: `mb.rules.L1Loss`.

    With a weight of the input's size a mean is the weighted one. Warns where the sizes of input and target differ;
    ValueError for an unknown reduction or a weight of another size, RuntimeError where the sizes cannot be broadcast.
    """
    unexpanded = input
    input, target = one_size("l1_loss", input, target)
    reduction = reduction_of(reduction, size_average, reduce)
    if weight is None:
        return call(rules.L1Loss, input, target, reduction)[0]
    check_weight(weight, unexpanded)
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        losses = call(rules.L1Loss, input, target, "none")[0]
    with torch.autocast("cpu", enabled=False):
        return over_weights(losses, weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """|x - y|, rounded off below beta, as torch.nn.functional.smooth_l1_loss; rule: `mb.rules.SmoothL1Loss`.

    beta = 0 is the L1 loss, a negative one raises RuntimeError. Warns where the sizes of input and target differ;
    ValueError for an unknown reduction, RuntimeError where the sizes cannot be broadcast.
    """
    input, target = one_size("smooth_l1_loss", input, target)
    reduction = reduction_of(reduction, size_average, reduce)
    if beta == 0:
        return call(rules.L1Loss, input, target, reduction)[0]
    return call(rules.SmoothL1Loss, input, target, reduction, beta)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2 / 2, linear beyond delta, as torch.nn.functional.huber_loss; rule: `mb.rules.HuberLoss`.

    delta: where the linear part begins (not an error signal; the rule calls it `bound`). RuntimeError unless it is
    positive, and where the sizes cannot be broadcast. Warns where the sizes of input and target differ. ValueError for
    an unknown reduction or a weight whose size is not that of the input.
    """
    unexpanded = input
    input, target = one_size("huber_loss", input, target)
    reduction = reduction_of(reduction, None, None)
    if weight is None:
        return call(rules.HuberLoss, input, target, reduction, delta)
    check_weight(weight, unexpanded)
    losses = mul(call(rules.HuberLoss, input, target, "none", delta), weight)
    if reduction == "none":
        return losses
    return sum(losses) if reduction == "sum" else mean(losses)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log y - x) for log-probabilities x, as torch.nn.functional.kl_div.

    Rules: `mb.rules.KLDivLoss`, and `mb.rules.KLDivLogTargetLoss` with log_target.

    "batchmean" divides the sum by the size of the first axis, which gives the divergence. "mean" divides by the number
    of elements and warns, as in torch. ValueError for an unknown reduction, RuntimeError for integers and complex
    numbers, and where the sizes cannot be broadcast.
    """
    if size_average is None and reduce is None and reduction == "mean" and not torch.compiler.is_compiling():
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    check_tensors("kl_div", input=input, target=target)
    for name, values in (("input", input), ("target", target)):
        if not values.is_floating_point():
            raise RuntimeError(
                f"kl_div: {'Complex' if values.is_complex() else 'Integral'} inputs not supported: {name} has dtype "
                f"{values.dtype}. expected: floating point, e.g. {name}.float()"
            )
    kind = reduction_of("sum" if reduction == "batchmean" else reduction, size_average, reduce)
    input, target = broadcast("kl_div", input, target)
    if log_target:
        loss = call(rules.KLDivLogTargetLoss, input, target, kind)[0]
    else:
        loss = call(rules.KLDivLoss, input, target, kind)
    return div(loss, input.size(0)) if reduction == "batchmean" and input.dim() else loss
