"""What formulas share, and what the source that is derived from them calls: sums, upcasting, refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .torch_private import in_forward_mode

LOW = (torch.bfloat16, torch.float16)


def not_differentiated(ctx: Any, *results: Tensor) -> None:
    """Results that the backward needs and no one differentiates: torch need not make deltas of zeros for them."""
    ctx.mark_non_differentiable(*[result for result in results if result is not None])
    ctx.set_materialize_grads(False)


def constant(ctx: Any, *results: Tensor) -> None:
    """Results that depend on nothing that needs a gradient. In forward mode a tangent may move them all the same."""
    if not in_forward_mode():
        ctx.mark_non_differentiable(*results)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The single losses themselves, their sum or their mean."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def in_opmath(formula: Callable[..., Any], delta: Tensor, *args: Any) -> Any:
    """Run a formula with bfloat16 and float16 tensors widened to float32; the result has the dtype of `delta`.

    Several roundings to 8 bits would add up; ATen's kernels, too, compute such formulas in float32 and round once.
    """
    if not torch.compiler.is_compiling() and hasattr(formula, "rounds_once"):  # a kernel that does so itself
        return formula(delta, *args)
    if delta.dtype not in LOW:
        return formula(delta, *args)
    return formula(*widen(delta, *args)).to(delta.dtype)


def rounds_once(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a kernel that reads 16 bits as they are, computes in float32 and rounds its results once."""
    kernel.rounds_once = True  # type: ignore[attr-defined]
    return kernel


def widened(formula: Callable[..., Any], *args: Any) -> Any:
    """`in_opmath` for a formula with several results, whose dtypes its rule knows: they stay as they come."""
    if not torch.compiler.is_compiling() and hasattr(formula, "rounds_once"):
        return formula(*args)
    return formula(*widen(*args))


def widen(*tensors: Any) -> list[Any]:
    """bfloat16 and float16 tensors as float32; the rest as it is."""
    return [v.float() if isinstance(v, Tensor) and v.dtype in LOW else v for v in tensors]


def flat(tensor: Tensor) -> Tensor:
    """(*, K) as a matrix (product of *, K)."""
    return tensor if tensor.dim() == 2 else tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])


def sum_to(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting: sum over the axes along which a tensor of `shape` was repeated."""
    return tensor.sum_to_size(shape) if tensor.shape != shape else tensor


def like(gradient: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Undo broadcasting and dtype promotion; of a complex gradient a real operand takes the real part."""
    gradient = sum_to(gradient, shape)
    return (gradient.real if gradient.is_complex() and not dtype.is_complex else gradient).to(dtype)


def total(*terms: Tensor | None) -> Tensor | None:
    """Sum of the terms that are there; None when none is."""
    present = [term for term in terms if term is not None]
    return functools.reduce(torch.add, present) if present else None


def refuse_complex(ctx: Any, input: Tensor) -> None:
    """The twin differentiates complex numbers here, these formulas do not."""
    if input.is_complex() and ctx.needs_input_grad[0]:
        raise NotImplementedError(
            f"the backward formula is for real numbers, the input is {input.dtype}: pass real and imaginary parts apart"
        )


def refuse_negative_slope(ctx: Any, slope: float, name: str) -> None:
    """After an in-place call the sign of the input is known from the output only while the slope is not negative."""
    if ctx.in_place and slope < 0:
        raise RuntimeError(
            f"In-place {name} backward calculation is triggered with a negative slope which is not supported. "
            f"The slope is {slope}: the output that overwrote the input does not tell its sign; use inplace=False"
        )
