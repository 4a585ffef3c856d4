"""Losses of two tensors compared element by element."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import rules
from ._autocast import cast_arguments
from ._call import call, expand
from ._errors import check_tensors
from .arithmetic import div, mean, mul, sub, sum

REDUCTIONS = "none", "mean", "sum"


def reduction_of(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """ "none", "mean" or "sum"; torch's deprecated arguments decide where given, and warn as there.

    ValueError for another name.
    """
    if size_average is None and reduce is None and reduction in REDUCTIONS:
        return reduction
    if size_average is not None or reduce is not None:
        summed, averaged = reduce is None or reduce, size_average is None or size_average
        reduction = ("mean" if averaged else "sum") if summed else "none"
        if not torch.compiler.is_compiling():
            warnings.warn(
                f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
                stacklevel=2,
            )
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=2)
        return "mean"
    if reduction not in REDUCTIONS:
        raise ValueError(f'{reduction!r} is not a valid value for reduction, expected "none", "mean" or "sum"')
    return reduction


def refuse_gradient(name: str, tensor: Tensor | None) -> None:
    """The twin has no derivative by this argument; RuntimeError as there."""
    if tensor is not None and tensor.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"the loss is not differentiable with respect to argument '{name}': pass {name}.detach(), or freeze it "
            f"with {name}.requires_grad_(False)"
        )


def broadcast(function: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in their common shape; RuntimeError where there is none."""
    if input.shape == target.shape:
        return input, target
    try:
        shape = torch.broadcast_shapes(input.shape, target.shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"{function}: the target has shape {tuple(target.shape)}, the input {tuple(input.shape)}, and neither can "
            f"be broadcast to the other: expected is a target of the shape of the input"
        ) from error
    return (
        input if input.shape == shape else expand(input, shape),
        target if target.shape == shape else expand(target, shape),
    )


def one_size(function: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in their common shape, with the twin's warning where they differ."""
    if target.size() != input.size() and not torch.compiler.is_compiling():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )
    return broadcast(function, input, target)


def check_weight(weight: Tensor, input: Tensor) -> None:
    """ValueError as in the twin where a weight has not the size of the input."""
    if weight.size() != input.size():
        raise ValueError(
            "Weights and input must have the same size: "
            f"weight has shape {tuple(weight.shape)}, input {tuple(input.shape)}"
        )


def over_weights(losses: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """w l, its sum, or its sum divided by that of the weights."""
    losses = mul(losses, weight)
    if reduction == "none":
        return losses
    return sum(losses) if reduction == "sum" else div(sum(losses), sum(weight))


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
    with torch.autocast("cpu", enabled=False):  # made of arithmetic, the weighted twin keeps its dtypes there
        difference = sub(input, target)
        if input.is_cuda and torch.is_autocast_enabled("cuda"):  # which squares in float32
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

    delta: where the linear part begins (no derivative; the rule calls it bound), RuntimeError unless positive. Warns
    where the sizes of input and target differ; ValueError for an unknown reduction or a weight of another size than
    the input, RuntimeError where the sizes cannot be broadcast.
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

    "batchmean" divides the sum by the size of the first axis: that is the divergence; "mean" divides by the number of
    elements and warns, as in torch. ValueError for an unknown reduction,
    RuntimeError for integers and complex numbers, and where the sizes cannot be broadcast.
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
                f"{values.dtype}, floating point expected, e.g. {name}.float()"
            )
    kind = reduction_of("sum" if reduction == "batchmean" else reduction, size_average, reduce)
    input, target = broadcast("kl_div", input, target)
    if log_target:
        loss = call(rules.KLDivLogTargetLoss, input, target, kind)[0]
    else:
        loss = call(rules.KLDivLoss, input, target, kind)
    return div(loss, input.size(0)) if reduction == "batchmean" and input.dim() else loss
