"""What losses share: reductions, sizes, weights."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ._call import expand
from .arithmetic import div, mul, sum

REDUCTIONS = "none", "mean", "sum"


def reduction_of(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction: "none", "mean" or "sum". torch's deprecated arguments, where given, decide, with a warning.

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
    """RuntimeError, as in torch, where this argument requires a gradient: the loss has no derivative by it."""
    if tensor is not None and tensor.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"the loss is not differentiable with respect to argument '{name}': pass {name}.detach(), or freeze it "
            f"with {name}.requires_grad_(False)"
        )


def broadcast(function: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to their common shape; RuntimeError where there is none."""
    if input.shape == target.shape:
        return input, target
    try:
        shape = torch.broadcast_shapes(input.shape, target.shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"{function}: input and target cannot be broadcast. got: a target of shape {tuple(target.shape)} for an "
            f"input of shape {tuple(input.shape)}. expected: a target of the input's shape"
        ) from error
    return (
        input if input.shape == shape else expand(input, shape),
        target if target.shape == shape else expand(target, shape),
    )


def common_shape(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All broadcast to their common shape; RuntimeError where there is none."""
    shape = torch.broadcast_shapes(*[tensor.shape for tensor in tensors])
    return tuple([tensor if tensor.shape == shape else expand(tensor, shape) for tensor in tensors])


def one_size(function: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to their common shape, with torch's warning where they differ."""
    if target.size() != input.size() and not torch.compiler.is_compiling():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )
    return broadcast(function, input, target)


def check_weight(weight: Tensor, input: Tensor) -> None:
    """ValueError, as in torch, for a weight whose size is not that of the input."""
    if weight.size() != input.size():
        raise ValueError(
            "Weights and input must have the same size: "
            f"weight has shape {tuple(weight.shape)}, input {tuple(input.shape)}"
        )


def over_weights(losses: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """The weighted losses w l, their sum, or their sum divided by the sum of the weights."""
    losses = mul(losses, weight)
    if reduction == "none":
        return losses
    return sum(losses) if reduction == "sum" else div(sum(losses), sum(weight))
