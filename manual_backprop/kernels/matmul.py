"""Matmuls by oneDNN, where it is faster than the BLAS that torch was built with.

For float32 ATen calls MKL, which is tuned for Intel's processors. On AMD processors oneDNN took 0.82 to 0.96 of MKL's
time for x W^T + b and delta W, but more for delta^T x, which therefore stays with ATen. Where the processor has units
for vectors of 512 bits, which MKL does not use there, oneDNN took 0.45 to 0.6 for all three, and gains on smaller
matrices, too (`python -m benchmarks.matmul`). The sums are added in another order, so results may differ in the last
bits.
"""

from __future__ import annotations

import functools
import platform

import torch
from torch import Tensor

from ..engine import compiler
from ..engine.torch_private import linear_pointwise, unsafe_view
from ..rules import Linear
from ..rules.linear import matrix
from . import native
from .registry import serves

WORTHWHILE = 2**26
"""Multiplications from which a whole training step gains. Below, the forward is ATen's and gives the same bits."""

WIDE = 2**22
"""The same with vectors of 512 bits."""

WIDE_FACTORS = 2**24
"""The same for delta^T x, of which one factor is copied first."""

NARROW = 128
"""Fewest columns of both factors of delta^T x: below, copying costs more than oneDNN gains."""

SERVED = "float32, contiguous, 2^26 multiplications or more, on AMD processors; from 2^22 with vectors of 512 bits"


@serves(Linear.output, on="cpu", when=SERVED)
def linear_output(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not _takes(input, weight, 0, bias):
        return NotImplemented
    output = linear_pointwise(input, weight, bias, "none", [], "")
    # torch forbids in-place edits of a view that a Function returns
    return unsafe_view(output, output.shape) if output._is_view() else output


@serves(Linear.delta_input, on="cpu", when=SERVED)
def linear_delta_input(delta: Tensor, weight: Tensor) -> Tensor:
    if not _takes(delta, weight, 1):
        return NotImplemented
    return linear_pointwise(delta, weight.T, None, "none", [], "")


@serves(Linear.grad_weight, on="cpu", when="float32, contiguous, 2^24 multiplications or more, on AMD processors with "
        "vectors of 512 bits")  # fmt: skip
def linear_grad_weight(delta: Tensor, input: Tensor) -> Tensor:
    if not wide() or delta.dim() != input.dim() or not (delta.is_contiguous() and input.is_contiguous()):
        return NotImplemented
    delta, input = matrix(delta), matrix(input)
    columns = delta.shape[1], input.shape[1]
    if min(columns) < NARROW or input.numel() * columns[0] < min(WORTHWHILE, WIDE_FACTORS):
        return NotImplemented
    return factors_product(delta, input) if _takes(delta, input, 1) else NotImplemented


def factors_product(delta: Tensor, input: Tensor) -> Tensor:
    """delta^T x, or the transpose of x^T delta: oneDNN first copies the left factor, so it gets the smaller one."""
    (rows, outputs), inputs = delta.shape, input.shape[1]
    if rows * outputs > (rows + outputs) * inputs:
        return linear_pointwise(input.T, delta.T, None, "none", [], "").T.contiguous()
    return linear_pointwise(delta.T, input.T, None, "none", [], "")


def _takes(input: Tensor, weight: Tensor, outputs: int, bias: Tensor | None = None) -> bool:
    """Whether oneDNN serves these. outputs: the axis of the weight that is the result's last axis."""
    return (
        type(input) is Tensor
        and weight.dim() == 2
        and input.numel() * weight.shape[outputs] >= least()
        and input.dtype == weight.dtype == torch.float32
        and input.is_contiguous()
        and weight.is_contiguous()
        and faster()
        and native.plain(input, weight)
        and (bias is None or native.plain(bias))
    )


def least() -> int:
    """The number of multiplications from which oneDNN serves."""
    return min(WORTHWHILE, WIDE) if wide() else WORTHWHILE


def wide() -> bool:
    """Whether the processor is an AMD that computes vectors of 512 bits in one piece (Zen 5)."""
    return faster() and _wide_vectors()


@functools.cache
def _wide_vectors() -> bool:
    facts = _maker()
    return "AuthenticAMD" in facts and "avx512_vp2intersect" in facts  # no earlier one has this flag


@functools.cache
def faster() -> bool:
    """Whether oneDNN is available and faster than the BLAS that ATen calls: with MKL on AMD processors, as measured."""
    return (
        bool(torch.backends.mkldnn.is_available())
        and bool(torch.backends.mkldnn.enabled)
        and torch.backends.mkl.is_available()
        and linear_pointwise is not None
        and "AuthenticAMD" in _maker()
    )


def _maker() -> str:
    try:
        return compiler.CPUINFO.read_text("utf-8", "replace")
    except OSError:
        return platform.processor()
