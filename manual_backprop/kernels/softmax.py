"""Softmax, log-softmax and cross-entropy in C (softmax.c): one pass where torch's operations make several."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rules import CrossEntropyLoss, LogSoftmax, Softmax, Softmin
from . import native
from .memory import empty_like
from .native import REAL, REALS
from .registry import serves
from .rows import takes, vector

WORTHWHILE = {torch.float32: 2**20, torch.float64: 2**14}
"""Elements from which a forward uses its kernel. Below, ATen's function runs, with torch's bits."""
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


ACROSS_WORTHWHILE = {torch.float32: 2**17, torch.float64: 2**14}
"""The same for softmax along an axis that is not the last."""
SHORTEST = {torch.float32: 128, torch.float64: 16}
"""Elements of a row from which a forward uses its kernel. ATen runs shorter rows faster."""
LONGEST = 2**12
"""Most elements along an axis that is not the last: so many of several neighbouring columns fit into a cache."""


FORWARD = (
    "contiguous float32 of 2^20 elements (2^17 if dim is not the last axis) or float64 of 2^14, or more; rows of the "
    "last axis of 128 elements (float64: 16) or more"
)
BACKWARD = f"{REALS}; output contiguous"


@serves(Softmax.output, on="cpu", when=FORWARD)
def softmax_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    return _output(input, dim, 1) if _worth(input, dim, dtype) else NotImplemented


@serves(Softmin.output, on="cpu", when=FORWARD)
def softmin_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    return _output(input, dim, -1) if _worth(input, dim, dtype) else NotImplemented


@serves(LogSoftmax.output, on="cpu", when=FORWARD)
def log_softmax_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    return _output(input, dim, 1, logs=True) if _worth(input, dim, dtype) else NotImplemented


def _worth(input: Tensor, dim: int, dtype: torch.dtype | None) -> bool:
    if not -input.dim() <= dim < input.dim():
        return False
    last = dim in (-1, input.dim() - 1)
    return (
        (not last or input.shape[dim] >= SHORTEST.get(input.dtype, 0))
        and input.numel() >= (WORTHWHILE if last else ACROSS_WORTHWHILE).get(input.dtype, math.inf)
        and (last or input.shape[dim] <= LONGEST)
        and dtype in (None, input.dtype)
        and input.is_contiguous()
        and takes(input)
    )


def _sizes(tensor: Tensor, dim: int) -> tuple[int, int, int]:
    """The numbers of elements before, along and behind an axis."""
    shape = tensor.shape
    n, inner = shape[dim], math.prod(shape[dim % len(shape) + 1 :])
    return tensor.numel() // (n * inner), n, inner


def _output(input: Tensor, dim: int, sign: int, logs: bool = False) -> Tensor:
    output, real = empty_like(input), REAL[input.dtype]
    outer, n, inner = _sizes(input, dim)
    if inner > 1:
        native.call(f"softmax_across_{real}", output, input, outer, n, inner, sign, logs)
    elif logs:
        native.call(f"log_softmax_{real}", output, input, outer, n)
    else:
        native.call(f"softmax_{real}", output, input, outer, n, sign)
    return output


@serves(Softmax.delta_input, on="cpu", upcasts=True, when=BACKWARD)
def softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along("softmax", delta, output, dim, 1)


@serves(Softmin.delta_input, on="cpu", upcasts=True, when=BACKWARD)
def softmin_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along("softmax", delta, output, dim, -1)


@serves(LogSoftmax.delta_input, on="cpu", upcasts=True, when=BACKWARD)
def log_softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along("log_softmax", delta, output, dim)


def _along(name: str, delta: Tensor, output: Tensor, dim: int, *sign: int) -> Tensor:
    if not (output.dim() > 0 and output.is_contiguous() and takes(delta, output)):
        return NotImplemented
    delta, delta_input = delta.contiguous(), empty_like(output)
    given, real = (delta_input, delta, output), REAL[output.dtype]
    outer, n, inner = _sizes(output, dim)
    if inner == 1:
        native.call(f"{name}_delta_input_{real}", *given, outer, n, *sign)
    else:
        native.call(f"softmax_delta_input_across_{real}", *given, outer, n, inner, *sign or (1,), not sign)
    return delta_input


@serves(
    CrossEntropyLoss.output,
    on="cpu",
    when="contiguous (N, C); float32 of 2^20 elements, C from 128, or float64 of 2^14, C from 16",
)
def cross_entropy_output(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
) -> tuple[Tensor, Tensor]:
    if (
        input.numel() < WORTHWHILE.get(input.dtype, math.inf)
        or input.dim() != 2
        or input.shape[1] < SHORTEST.get(input.dtype, 0)
        or not input.is_contiguous()
        or target.dtype not in (torch.int64, torch.uint8)
        or target.shape != input.shape[:1]
        or (weight is not None and (weight.shape != input.shape[1:] or weight.dtype != input.dtype))
        or not takes(input, weight, labels=target)
    ):
        return NotImplemented
    log_probs, loss = empty_like(input), input.new_empty(target.shape if reduction == "none" else ())
    target, weight = target.to(torch.int64).contiguous(), vector(weight)
    right = native.call(
        f"cross_entropy_{REAL[input.dtype]}", log_probs, loss, input, target, weight, native.number(smoothing),
        ignore_index, REDUCTIONS[reduction], *input.shape, checked=True,
    )  # fmt: skip
    return (loss, log_probs) if right else NotImplemented  # the formula runs and raises the error


@serves(CrossEntropyLoss.delta_input, on="cpu", upcasts=True, when=f"{REALS}; log-probabilities contiguous")
def cross_entropy_delta_input(
    delta: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    if not log_probs.is_contiguous() or not takes(delta, log_probs, weight, labels=target):
        return NotImplemented
    shape = log_probs.shape if log_probs.dim() > 1 else (1, *log_probs.shape)
    batch, classes = shape[:2]
    each = reduction == "none"
    delta, target = delta.contiguous(), target.to(torch.int64).contiguous()
    weight = vector(weight)
    delta_input = empty_like(log_probs)
    native.call(
        f"cross_entropy_delta_input_{REAL[log_probs.dtype]}",
        delta_input, delta, log_probs, target, weight, native.number(smoothing),
        ignore_index, reduction == "mean", each, batch, classes, log_probs.numel() // (batch * classes),
    )  # fmt: skip
    return delta_input
