"""Matmuls by oneDNN, where it is faster than the BLAS that torch was built with.

For float32 ATen calls MKL, which is tuned for Intel's processors. On AMD processors oneDNN took 0.82 to 0.96 of MKL's
time for x W^T + b and delta W, but more for delta^T x, which therefore stays with ATen (`python -m benchmarks.matmul`).
The sums are added in another order, so results may differ in the last bits.
"""

from __future__ import annotations

import functools
import platform

import torch
from torch import Tensor

from ..engine import compiler
from ..engine.torch_private import linear_pointwise, unsafe_view
from ..rules import Linear
from . import native
from .registry import serves

WORTHWHILE = 2**26
"""Multiplications from which a whole training step gains. Below, the forward is ATen's and gives the same bits."""


SERVED = "float32, contiguous, 2^26 multiplications or more, on AMD processors"


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


def _takes(input: Tensor, weight: Tensor, outputs: int, bias: Tensor | None = None) -> bool:
    """Whether oneDNN serves these. outputs: the axis of the weight that is the result's last axis."""
    return (
        type(input) is Tensor
        and weight.dim() == 2
        and input.numel() * weight.shape[outputs] >= WORTHWHILE
        and input.dtype == weight.dtype == torch.float32
        and input.is_contiguous()
        and weight.is_contiguous()
        and faster()
        and native.plain(input, weight)
        and (bias is None or native.plain(bias))
    )


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
