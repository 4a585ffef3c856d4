"""Softmax, log-softmax and cross-entropy as C (softmax.c), in one pass where torch makes several.

Each leaves to its formula what it does not take: other dtypes and layouts, traced or transformed tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..engine.rule import KERNELS
from ..engine.terms import in_opmath, rounds_once
from ..rules import CrossEntropyLoss, LogSoftmax, Softmax, Softmin
from . import native
from .memory import empty_like
from .native import REAL
from .rows import takes, vector

WORTHWHILE = {torch.float32: 2**20, torch.float64: 2**14}
"""Elements from which a forward gains from its kernel; else ATen's is taken, equal to the last bit."""
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


ACROSS_WORTHWHILE = {torch.float32: 2**17, torch.float64: 2**14}
"""The same along an axis that is not the last."""
LONGEST = 2**12
"""Numbers along an axis that is not the last, of which those of neighbours lie in a cache together."""


def softmax_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    """`Softmax.output`."""
    return _output(input, dim, 1) if _worth(input, dim, dtype) else Softmax.output(input, dim, dtype)


def softmin_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    """`Softmin.output`."""
    return _output(input, dim, -1) if _worth(input, dim, dtype) else Softmin.output(input, dim, dtype)


def log_softmax_output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    """`LogSoftmax.output`."""
    return _output(input, dim, 1, logs=True) if _worth(input, dim, dtype) else LogSoftmax.output(input, dim, dtype)


def _worth(input: Tensor, dim: int, dtype: torch.dtype | None) -> bool:
    if not -input.dim() <= dim < input.dim():
        return False
    last = dim in (-1, input.dim() - 1)
    return (
        input.numel() >= (WORTHWHILE if last else ACROSS_WORTHWHILE).get(input.dtype, math.inf)
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


@rounds_once
def softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`Softmax.delta_input`."""
    if not _dense(delta, output):
        return in_opmath(Softmax.delta_input, delta, output, dim)
    return _along("softmax", delta, output, dim, 1)


@rounds_once
def softmin_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`Softmin.delta_input`."""
    if not _dense(delta, output):
        return in_opmath(Softmin.delta_input, delta, output, dim)
    return _along("softmax", delta, output, dim, -1)


@rounds_once
def log_softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`LogSoftmax.delta_input`."""
    if not _dense(delta, output):
        return in_opmath(LogSoftmax.delta_input, delta, output, dim)
    return _along("log_softmax", delta, output, dim)


def _dense(delta: Tensor, output: Tensor) -> bool:
    return output.dim() > 0 and output.is_contiguous() and takes(delta, output)


def _along(name: str, delta: Tensor, output: Tensor, dim: int, *sign: int) -> Tensor:
    delta, delta_input = delta.contiguous(), empty_like(output)
    given, real = (delta_input, delta, output), REAL[output.dtype]
    outer, n, inner = _sizes(output, dim)
    if inner == 1:
        native.call(f"{name}_delta_input_{real}", *given, outer, n, *sign)
    else:
        native.call(f"softmax_delta_input_across_{real}", *given, outer, n, inner, *sign or (1,), not sign)
    return delta_input


def cross_entropy_output(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
) -> tuple[Tensor, Tensor]:
    """`CrossEntropyLoss.output`."""
    facts = target, weight, ignore_index, reduction, smoothing
    if (
        input.numel() < WORTHWHILE.get(input.dtype, math.inf)
        or input.dim() != 2
        or not input.is_contiguous()
        or target.dtype not in (torch.int64, torch.uint8)
        or target.shape != input.shape[:1]
        or (weight is not None and (weight.shape != input.shape[1:] or weight.dtype != input.dtype))
        or not takes(input, weight, labels=target)
    ):
        return CrossEntropyLoss.output(input, *facts)
    log_probs, loss = empty_like(input), input.new_empty(target.shape if reduction == "none" else ())
    target, weight = target.to(torch.int64).contiguous(), vector(weight)
    right = native.call(
        f"cross_entropy_{REAL[input.dtype]}", log_probs, loss, input, target, weight, native.number(smoothing),
        ignore_index, REDUCTIONS[reduction], *input.shape, checked=True,
    )  # fmt: skip
    return (loss, log_probs) if right else CrossEntropyLoss.output(input, *facts)  # which says what is wrong


@rounds_once
def cross_entropy_delta_input(
    delta: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    """`CrossEntropyLoss.delta_input`."""
    if not log_probs.is_contiguous() or not takes(delta, log_probs, weight, labels=target):
        facts = log_probs, target, weight, ignore_index, reduction, smoothing
        return in_opmath(CrossEntropyLoss.delta_input, delta, *facts)
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


KERNELS.update(
    {
        Softmax.output: softmax_output,
        Softmax.delta_input: softmax_delta_input,
        Softmin.output: softmin_output,
        Softmin.delta_input: softmin_delta_input,
        LogSoftmax.output: log_softmax_output,
        LogSoftmax.delta_input: log_softmax_delta_input,
        CrossEntropyLoss.output: cross_entropy_output,
        CrossEntropyLoss.delta_input: cross_entropy_delta_input,
    }
)
