"""Matmuls by oneDNN in place of the BLAS that torch was built with, where that one is the slower.

MKL, which ATen calls for float32, does not know the processors of every maker as well as its own. On AMD's oneDNN took
0.82 to 0.96 of its time for x W^T + b and for delta W, and more for delta^T x, which therefore stays with ATen
(`python -m benchmarks.matmul`). The sums are the same, in another order.
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
"""Multiplications from which whole training steps gain; below, the forward is ATen's to the last bit."""


SERVED = "float32, contiguous, 2^26 multiplications or more, on AMD's processors"


@serves(Linear.output, on="cpu", when=SERVED)
def linear_output(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not _takes(input, weight, 0, bias):
        return NotImplemented
    output = linear_pointwise(input, weight, bias, "none", [], "")
    # in a view that a rule returns no one may write
    return unsafe_view(output, output.shape) if output._is_view() else output


@serves(Linear.delta_input, on="cpu", when=SERVED)
def linear_delta_input(delta: Tensor, weight: Tensor) -> Tensor:
    if not _takes(delta, weight, 1):
        return NotImplemented
    return linear_pointwise(delta, weight.T, None, "none", [], "")


def _takes(input: Tensor, weight: Tensor, outputs: int, bias: Tensor | None = None) -> bool:
    """outputs: which axis of the weight they are."""
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
    """Whether oneDNN is here, and multiplies faster than the BLAS that ATen calls: measured on AMD's processors."""
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
