"""Row-wise formulas as C (rows.c): normalizations, softmax and cross-entropy, in one pass where torch makes several.

Each hands on to its formula what it does not take: other dtypes and layouts, traced or transformed tensors.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..rules import CrossEntropyLoss, GroupNorm, LayerNorm, LogSoftmax, RMSNorm, Softmax, Softmin
from ..rules._rule import KERNELS
from . import native

REAL = {torch.float32: "float", torch.float64: "double"}
WORTHWHILE = 2**14
"""Elements from which RMSNorm's forward gains from one pass; below, ATen's is taken, equal to the last bit."""


def layer_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, shape: torch.Size,
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`LayerNorm.derivatives`."""
    if not (needs[0] or needs[1]) or not takes(delta, input, mean, invstd, weight):
        return LayerNorm.derivatives(delta, input, weight, mean, invstd, shape, needs)
    return _norm(delta, input, weight, mean, invstd, shape, *needs)


def rms_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, invrms: Tensor, shape: torch.Size, needs: tuple[bool, bool]
) -> tuple:
    """`RMSNorm.derivatives`."""
    if not takes(delta, input, invrms, weight):
        return RMSNorm.derivatives(delta, input, weight, invrms, shape, needs)
    return _norm(delta, input, weight, None, invrms, shape, *needs, False)[:2]


def rms_norm_normalized(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> Tensor:
    """`RMSNorm.normalized`."""
    shape = tuple(normalized_shape)
    if (
        input.numel() < WORTHWHILE
        or not shape
        or input.shape[-len(shape) :] != shape
        or (weight is not None and weight.shape != shape)
        or not takes(input, weight)
    ):
        return RMSNorm.normalized(input, shape, weight, eps)
    output = torch.empty_like(input, memory_format=torch.contiguous_format)
    _rms_norm(output, None, input, weight, math.prod(shape), eps)
    return output


def rms_norm_invrms(input: Tensor, shape: torch.Size, eps: float | None) -> Tensor:
    """`RMSNorm.invrms`."""
    if not takes(input):
        return RMSNorm.invrms(input, shape, eps)
    invrms = input.new_empty((*input.shape[: -len(shape)], *[1] * len(shape)))
    _rms_norm(None, invrms, input, None, shape.numel(), eps)
    return invrms


def _rms_norm(
    output: Tensor | None, invrms: Tensor | None, input: Tensor, weight: Tensor | None, n: int, eps: float | None
) -> None:
    input, weight = input.contiguous(), None if weight is None else weight.contiguous()
    number = ctypes.c_double(torch.finfo(input.dtype).eps if eps is None else eps)
    native.call(
        f"rms_norm_{REAL[input.dtype]}", *addresses(output, invrms, input, weight), ctypes.addressof(number),
        input.numel() // n, n,
    )  # fmt: skip


def _norm(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor | None, invstd: Tensor, shape: torch.Size,
    needs_input: bool, needs_weight: bool, needs_bias: bool,
) -> tuple:  # fmt: skip
    delta, input, weight = delta.contiguous(), input.contiguous(), None if weight is None else weight.contiguous()
    delta_input = torch.empty_like(input) if needs_input else None
    grad_weight = input.new_empty(shape) if needs_weight else None
    grad_bias = input.new_empty(shape) if needs_bias else None
    native.call(
        f"norm_derivatives_{REAL[input.dtype]}",
        *addresses(delta_input, grad_bias, grad_weight, delta, input, weight, mean, invstd),
        invstd.numel(), shape.numel(),
    )  # fmt: skip
    return delta_input, grad_weight, grad_bias


def group_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, needs: tuple[bool, bool, bool]
) -> tuple:
    """`GroupNorm.derivatives`."""
    if not (needs[0] or needs[1]) or not takes(delta, input, mean, invstd, weight) or not input.is_contiguous():
        return GroupNorm.derivatives(delta, input, weight, mean, invstd, needs)
    delta, weight = delta.contiguous(), None if weight is None else weight.contiguous()
    batch, channels = input.shape[:2]
    delta_input = torch.empty_like(input) if needs[0] else None
    grad_weight, grad_bias = (input.new_empty(channels) if needed else None for needed in needs[1:])
    native.call(
        f"group_norm_derivatives_{REAL[input.dtype]}",
        *addresses(delta_input, grad_bias, grad_weight, delta, input, weight, mean, invstd),
        batch, channels, input.numel() // (batch * channels), mean.shape[1],
    )  # fmt: skip
    return delta_input, grad_weight, grad_bias


def softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`Softmax.delta_input`."""
    if not _rows(delta, output, dim):
        return Softmax.delta_input(delta, output, dim)
    return _along_rows("softmax_delta_input", delta, output, 1)


def softmin_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`Softmin.delta_input`."""
    if not _rows(delta, output, dim):
        return Softmin.delta_input(delta, output, dim)
    return _along_rows("softmax_delta_input", delta, output, -1)


def log_softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    """`LogSoftmax.delta_input`."""
    if not _rows(delta, output, dim):
        return LogSoftmax.delta_input(delta, output, dim)
    return _along_rows("log_softmax_delta_input", delta, output)


def _rows(delta: Tensor, output: Tensor, dim: int) -> bool:
    """Whether dim is the last axis, of rows that lie dense in memory."""
    rank = output.dim()
    return rank > 0 and dim in (-1, rank - 1) and output.is_contiguous() and takes(delta, output)


def _along_rows(name: str, delta: Tensor, output: Tensor, *options: int) -> Tensor:
    delta, delta_input, n = delta.contiguous(), torch.empty_like(output), output.shape[-1]
    pointers = delta_input.data_ptr(), delta.data_ptr(), output.data_ptr()
    native.call(f"{name}_{REAL[output.dtype]}", *pointers, output.numel() // n, n, *options)
    return delta_input


def cross_entropy_delta_input(
    delta: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    """`CrossEntropyLoss.delta_input`."""
    if not log_probs.is_contiguous() or not takes(delta, log_probs, weight, labels=target):
        return CrossEntropyLoss.delta_input(delta, log_probs, target, weight, ignore_index, reduction, smoothing)
    shape = log_probs.shape if log_probs.dim() > 1 else (1, *log_probs.shape)
    batch, classes = shape[:2]
    each = reduction == "none"
    delta, target = delta.contiguous(), target.to(torch.int64).contiguous()
    weight = None if weight is None else weight.contiguous()
    delta_input, e = torch.empty_like(log_probs), ctypes.c_double(smoothing)
    native.call(
        f"cross_entropy_delta_input_{REAL[log_probs.dtype]}",
        *addresses(delta_input, delta, log_probs, target, weight), ctypes.addressof(e),
        ignore_index, reduction == "mean", each, batch, classes, log_probs.numel() // (batch * classes),
    )  # fmt: skip
    return delta_input


def takes(*tensors: Tensor | None, labels: Tensor | None = None) -> bool:
    """Whether the C can read such tensors: floats or doubles, not empty, where kernels may be called at all."""
    given = [t for t in tensors if t is not None]
    dtype = given[0].dtype
    if dtype not in REAL:
        return False
    for t in given:
        if t.dtype != dtype or not t.numel():
            return False
    return native.serves(*given) if labels is None else native.serves(*given, labels)


def addresses(*tensors: Tensor | None) -> list[int | None]:
    return [None if t is None else t.data_ptr() for t in tensors]


KERNELS.update(
    {
        LayerNorm.derivatives: layer_norm_derivatives,
        RMSNorm.normalized: rms_norm_normalized,
        RMSNorm.invrms: rms_norm_invrms,
        RMSNorm.derivatives: rms_norm_derivatives,
        GroupNorm.derivatives: group_norm_derivatives,
        Softmax.delta_input: softmax_delta_input,
        Softmin.delta_input: softmin_delta_input,
        LogSoftmax.delta_input: log_softmax_delta_input,
        CrossEntropyLoss.delta_input: cross_entropy_delta_input,
    }
)
