"""Helpers of the formulas and of the derived source: sums, upcasting, refused arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .torch_private import in_forward_mode

LOW = (torch.bfloat16, torch.float16)


def not_differentiated(ctx: Any, *results: Tensor) -> None:
    """Mark results that only the backward needs: they have no derivative, and torch makes no zero deltas for them."""
    ctx.mark_non_differentiable(*[result for result in results if result is not None])
    ctx.set_materialize_grads(False)


def constant(ctx: Any, *results: Tensor) -> None:
    """Mark results that depend on nothing that needs a gradient. Not in forward mode: there they may have a tangent."""
    if not in_forward_mode():
        ctx.mark_non_differentiable(*results)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses per element as they are, their sum, or their mean."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def in_opmath(formula: Callable[..., Any], delta: Tensor, *args: Any) -> Any:
    """Run a formula with bfloat16 and float16 tensors upcast to float32; the result has the dtype of `delta`.

    The errors of rounding each intermediate result to 16 bits would add up. ATen's kernels also compute such formulas
    in float32 and round once.
    """
    if not torch.compiler.is_compiling() and hasattr(formula, "rounds_once"):  # a kernel that upcasts by itself
        return formula(delta, *args)
    if delta.dtype not in LOW:
        return formula(delta, *args)
    return formula(*widen(delta, *args)).to(delta.dtype)


def rounds_once(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a kernel that reads 16 bits as they are, computes in float32 and rounds its results once."""
    kernel.rounds_once = True  # type: ignore[attr-defined]
    return kernel


def widened(formula: Callable[..., Any], *args: Any) -> Any:
    """`in_opmath` for a formula with several results: they stay in float32, and the rule casts them."""
    if not torch.compiler.is_compiling() and hasattr(formula, "rounds_once"):
        return formula(*args)
    return formula(*widen(*args))


def widen(*tensors: Any) -> list[Any]:
    """bfloat16 and float16 tensors as float32; everything else unchanged."""
    return [v.float() if isinstance(v, Tensor) and v.dtype in LOW else v for v in tensors]


def flat(tensor: Tensor) -> Tensor:
    """(*, K) as a matrix (product of *, K)."""
    return tensor if tensor.dim() == 2 else tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])


def sum_to(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting: sum over the axes along which a tensor of `shape` was repeated."""
    return tensor.sum_to_size(shape) if tensor.shape != shape else tensor


def like(gradient: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Undo broadcasting and dtype promotion; a real operand takes the real part of a complex gradient."""
    gradient = sum_to(gradient, shape)
    return (gradient.real if gradient.is_complex() and not dtype.is_complex else gradient).to(dtype)


def total(*terms: Tensor | None) -> Tensor | None:
    """Sum of the terms that are not None; None where there is none."""
    present = [term for term in terms if term is not None]
    return functools.reduce(torch.add, present) if present else None


def refuse_complex(ctx: Any, input: Tensor) -> None:
    """Refuse a complex input that needs a gradient. torch differentiates it here; these formulas do not."""
    if input.is_complex() and ctx.needs_input_grad[0]:
        raise NotImplementedError(
            f"the backward formula is for real numbers only. got: an input of {input.dtype}. expected: a real dtype; "
            "pass real and imaginary parts separately"
        )


def refuse_negative_slope(ctx: Any, slope: float, name: str) -> None:
    """Refuse a negative slope after an in-place call: the output then does not tell the sign of the input."""
    if ctx.in_place and slope < 0:
        raise RuntimeError(
            f"In-place {name} backward calculation is triggered with a negative slope which is not supported. "
            f"got: slope {slope}. expected: slope >= 0, or inplace=False: the output has overwritten the input, and "
            "with a negative slope it does not tell the sign of the input"
        )
