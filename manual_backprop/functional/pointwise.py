"""Pointwise operators whose arguments are not those of a rule; all others are generated from the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call, call_in_place
from ._overloads import stands_for
from .arithmetic import div, mul, sub


@stands_for("div.Tensor_mode", "div.Scalar_mode")
def _divided(input: Any, other: Any, *, rounding_mode: str | None) -> Tensor:
    return div(input, other, rounding_mode=rounding_mode)


@stands_for("rsub.Tensor", "rsub.Scalar")
def _subtracted_from(input: Tensor, other: Any, alpha: Any = 1) -> Tensor:
    return sub(other, input, alpha=alpha)


@stands_for("floor_divide")
def floor_divide(input: Any, other: Any) -> Tensor:
    """floor(input / other), as torch.floor_divide; rule: `mb.rules.DivRounded`. The gradients are zeros here; torch
    gives none."""
    return div(input, other, rounding_mode="floor")


@stands_for("round")
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with the given decimals, as torch.round; rule: `mb.rules.Round`."""
    return call(rules.Round, input, decimals)


@stands_for("round_")
def _round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    return call_in_place(rules.Round, input, decimals)


def _bounded(input: Tensor, min: Any, max: Any) -> tuple[Any, ...]:
    """The rule of a clamp, and its arguments."""
    if not (isinstance(min, Tensor) or isinstance(max, Tensor)):
        return rules.Clamp, input, min, max
    if max is None:
        return rules.ClampMin, input, min
    return (rules.ClampMax, input, max) if min is None else (rules.Clamp, input, min, max)


@stands_for("clamp.Tensor")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """The input limited to the bounds, as torch.clamp; rule: `mb.rules.Clamp`, or, with a tensor as the only bound,
    `ClampMin` or `ClampMax`."""
    return call(*_bounded(input, min, max))


@stands_for("clamp_.Tensor")
def _clamp_(input: Tensor, min: Any = None, max: Any = None) -> Any:
    for bound in (min, max):
        if bound is not None and not _fits(bound, input):
            return NotImplemented
    return call_in_place(*_bounded(input, min, max))


def _fits(value: Tensor, input: Tensor) -> bool:
    """Whether torch can write the result over the input: its dtype and shape must fit."""
    return torch.can_cast(value.dtype, input.dtype) and torch.broadcast_shapes(value.shape, input.shape) == input.shape


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value tensor1 tensor2, as torch.addcmul; rule: `mb.rules.AddCMul`."""
    return call(rules.AddCMul, input, tensor1, tensor2, value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value tensor1 / tensor2, as torch.addcdiv; rule: `mb.rules.AddCDiv`."""
    return call(rules.AddCDiv, input, tensor1, tensor2, value)


@stands_for("conj_physical")
def conj_physical(input: Tensor) -> Tensor:
    """The conjugate, as torch.conj_physical; rule: `mb.rules.Conj`. A real input is returned as it is."""
    return call(rules.Conj, input) if input.is_complex() else input


@stands_for("polygamma")
def polygamma(n: Any, input: Any) -> Tensor:
    """The n-th derivative of digamma, as torch.polygamma; rule: `mb.rules.Polygamma`. The tensor may come first, as
    in torch.Tensor.polygamma."""
    if isinstance(n, Tensor):
        n, input = input, n
    return call(rules.Polygamma, input, n)


@stands_for("polygamma_")
def _polygamma_(input: Tensor, n: int) -> Tensor:
    return call_in_place(rules.Polygamma, input, n)


@stands_for("abs_")
def _abs_(input: Tensor) -> Any:
    return NotImplemented if input.is_complex() else call_in_place(rules.Abs, input)


@stands_for("log_sigmoid_forward")
def _log_sigmoid_forward(input: Tensor) -> tuple[Tensor, Tensor]:
    return call(rules.LogSigmoid, input), input.new_empty(0)


@stands_for("native_dropout_backward")
def _native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    return mul(mul(grad_output, mask), scale)


def bernoulli(input: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """1 with the probability given, else 0, as torch.bernoulli; rule: `mb.rules.Bernoulli`."""
    return call(rules.Bernoulli, input, generator)


def normal(mean: Any, std: Any = 1.0, *, generator: torch.Generator | None = None) -> Tensor:
    """Draws of normal distributions, as torch.normal of tensors; rule: `mb.rules.Normal`."""
    return call(rules.Normal, mean, std, generator)


def _drawn_over(draw: Callable[..., Tensor], input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return call_in_place(rules.Overwritten, input, partial(_draw, draw, args, kwargs))


def _draw(draw: Callable[..., Tensor], args: tuple, kwargs: dict[str, Any], input: Tensor) -> Tensor:
    return draw(input, *args, **kwargs)


@stands_for("uniform_")
def uniform_(input: Tensor, low: float = 0.0, high: float = 1.0, *, generator: torch.Generator | None = None) -> Tensor:
    """Fills the tensor with uniform random numbers, as torch.Tensor.uniform_; rule: `mb.rules.Overwritten`."""
    return _drawn_over(Tensor.uniform_, input, low, high, generator=generator)


for _name in ("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_"):
    stands_for(_name)(partial(_drawn_over, getattr(Tensor, _name)))
