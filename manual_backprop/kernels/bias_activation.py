"""A bias and the activation after it as printed loops over rows, in one pass each way.

The backward pass also sums delta_input over the rows, which gives the gradient of the bias. Small forwards are ATen's
and give the same bits as torch's layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, get_num_threads

from ..rules import BiasActivation
from ..rules.bias_activation import ACTIVATIONS
from . import c, native
from .memory import empty_like
from .native import REALS
from .pointwise import compiled
from .registry import serves

WORTHWHILE = 2**14
"""Elements from which a forward gains."""

ATEN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu_tanh": functools.partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def forward_formula(activation: str) -> Callable[..., Tensor]:
    """The formula of y, as it is printed."""
    f = ACTIVATIONS[activation].output

    def output(input: Tensor, bias: Tensor) -> Tensor:
        return f(input + bias)

    output.__qualname__ = f"bias_{activation}"
    return output


def backward_formula(activation: str) -> Callable[..., Tensor]:
    """The formula of delta_input, as it is printed."""
    f, by_output = ACTIVATIONS[activation].delta_input, ACTIVATIONS[activation].by_output

    def by_y(delta: Tensor, output: Tensor) -> Tensor:
        return f(delta, output)

    def by_x(delta: Tensor, input: Tensor, bias: Tensor) -> Tensor:
        return f(delta, input + bias)

    formula = by_y if by_output else by_x
    formula.__qualname__ = f"delta_bias_{activation}"
    return formula


@functools.cache
def _forward(activation: str, dtype: torch.dtype) -> Any:
    return compiled(forward_formula(activation), dtype, rows=True)


@functools.cache
def _backward(activation: str, dtype: torch.dtype, sums: bool) -> Any:
    return compiled(backward_formula(activation), dtype, rows=True, sums=sums)


def _takes(input: Tensor, *others: Tensor | None) -> bool:
    """Whether the loops serve these tensors: plain, contiguous, not empty, of one dtype."""
    if input.dtype not in c.TYPES or not input.numel() or not input.is_contiguous():
        return False
    given = [t for t in others if t is not None]
    return all(t.dtype is input.dtype and t.is_contiguous() for t in given) and native.plain(input, *given)


@serves(BiasActivation.output, on="cpu", when=f"{REALS} of one dtype, contiguous, 2^14 elements or more; else ATen")
def output(input: Tensor, bias: Tensor, activation: str) -> Tensor:
    if (
        input.numel() < WORTHWHILE
        or bias.shape != input.shape[-1:]
        or not _takes(input, bias)
        or (function := _forward(activation, input.dtype)) is None
    ):
        return ATEN[activation](input + bias)
    result, n = empty_like(input), bias.numel()
    native.run(function, result, input, bias, input.numel() // n, n, get_num_threads(), n, n, 0)
    return result


@serves(BiasActivation.derivatives, on="cpu", upcasts=True, when=f"{REALS} of one dtype; saved tensor contiguous")
def derivatives(
    delta: Tensor, kept: Tensor, bias: Tensor | None, activation: str, shape: torch.Size, needs: tuple[bool, bool]
) -> tuple:
    delta = delta.contiguous()
    if (
        shape != kept.shape[-1:]
        or not _takes(kept, delta, bias)
        or (function := _backward(activation, kept.dtype, needs[1])) is None
    ):
        return NotImplemented
    delta_input, n = empty_like(kept), shape.numel()
    real = torch.float32 if kept.dtype == torch.bfloat16 else kept.dtype
    grad_bias = kept.new_empty(shape, dtype=real) if needs[1] else None
    results = [delta_input] if grad_bias is None else [delta_input, grad_bias]
    tensors, steps = ([delta, kept], [n] * 3) if bias is None else ([delta, kept, bias], [n, n, n, 0])
    native.run(function, *results, *tensors, kept.numel() // n, n, get_num_threads(), *steps)
    return delta_input if needs[0] else None, grad_bias
