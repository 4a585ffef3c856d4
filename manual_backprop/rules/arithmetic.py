"""Arithmetic between layers: Add, Sub, Mul, Div, Matmul. Where paths part, their deltas add up.

Broadcasting is undone once, by `sum_to`: an element that was used many times receives the sum of its deltas. Of complex
numbers, as torch defines the gradient, a delta meets the conjugate of what it is multiplied by.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import LOWER, Rule, choose, flat, sum_to, total


def like(gradient: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Undo broadcasting and dtype promotion; of a complex gradient a real operand takes the real part."""
    gradient = sum_to(gradient, shape)
    return (gradient.real if gradient.is_complex() and not dtype.is_complex else gradient).to(dtype)


def facts(value: Any) -> tuple[torch.Size, torch.dtype] | None:
    """Shape and dtype of a tensor operand, None for a number."""
    return (value.shape, value.dtype) if isinstance(value, Tensor) else None


def conj(value: Any) -> Any:
    """The conjugate of a tensor or number; itself when real."""
    return value.conj() if isinstance(value, Tensor) else value.conjugate()


class Add(Rule):
    """y = a + alpha b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta     delta_other = alpha delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Any, other: Any, alpha: float) -> Tensor:
        return torch.add(input, other, alpha=alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0]), facts(inputs[1])
        ctx.alpha = inputs[2]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return (
            choose(Add.delta_input)(delta, *ctx.facts[0]) if ctx.needs_input_grad[0] else None,
            choose(Add.delta_other)(delta, ctx.alpha, *ctx.facts[1]) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta, shape, dtype)

    @staticmethod
    def delta_other(delta: Tensor, alpha: float, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta if alpha == 1 else conj(alpha) * delta, shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        t_input, t_other = tangents[:2]
        moved = total(t_input, None if t_other is None else inputs[2] * t_other)
        return moved.expand_as(output).to(output.dtype)  # type: ignore[union-attr]


class Sub(Rule):
    """y = a - alpha b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta     delta_other = - alpha delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Any, other: Any, alpha: float) -> Tensor:
        return torch.sub(input, other, alpha=alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0]), facts(inputs[1])
        ctx.alpha = inputs[2]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return (
            choose(Sub.delta_input)(delta, *ctx.facts[0]) if ctx.needs_input_grad[0] else None,
            choose(Sub.delta_other)(delta, ctx.alpha, *ctx.facts[1]) if ctx.needs_input_grad[1] else None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta, shape, dtype)

    @staticmethod
    def delta_other(delta: Tensor, alpha: float, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(-conj(alpha) * delta, shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        t_input, t_other = tangents[:2]
        moved = total(t_input, None if t_other is None else -inputs[2] * t_other)
        return moved.expand_as(output).to(output.dtype)  # type: ignore[union-attr]


class Mul(Rule):
    """y = a b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = b delta     delta_other = a delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    tangent_reads = ()

    @staticmethod
    def forward(input: Any, other: Any) -> Tensor:
        return torch.mul(input, other)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0]), facts(inputs[1])
        ctx.numbers = tuple(None if isinstance(v, Tensor) else v for v in inputs)
        kept = (inputs[0] if ctx.needs_input_grad[1] else None, inputs[1] if ctx.needs_input_grad[0] else None)
        ctx.save_for_backward(*(v if isinstance(v, Tensor) else None for v in kept))

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, other = (n if t is None else t for t, n in zip(ctx.saved_tensors, ctx.numbers, strict=True))
        return (
            choose(Mul.delta_input)(delta, other, *ctx.facts[0]) if ctx.needs_input_grad[0] else None,
            choose(Mul.delta_other)(delta, input, *ctx.facts[1]) if ctx.needs_input_grad[1] else None,
        )

    @staticmethod
    def delta_input(delta: Tensor, other: Any, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta * conj(other), shape, dtype)

    @staticmethod
    def delta_other(delta: Tensor, input: Any, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta * conj(input), shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, other = inputs
        t_input, t_other = tangents
        moved = total(None if t_input is None else t_input * other, None if t_other is None else input * t_other)
        return moved.to(output.dtype)  # type: ignore[union-attr]


class Div(Rule):
    """y = a / b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta / b     delta_other = - delta y / b     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    tangent_reads = ()

    @staticmethod
    def forward(input: Any, other: Any) -> Tensor:
        return torch.div(input, other)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.facts = facts(inputs[0]), facts(inputs[1])
        ctx.numbers = tuple(None if isinstance(v, Tensor) else v for v in inputs)
        kept = (inputs[0] if ctx.needs_input_grad[1] else None, inputs[1])
        ctx.save_for_backward(*(v if isinstance(v, Tensor) else None for v in kept))

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, other = (n if t is None else t for t, n in zip(ctx.saved_tensors, ctx.numbers, strict=True))
        return (
            choose(Div.delta_input)(delta, other, *ctx.facts[0]) if ctx.needs_input_grad[0] else None,
            choose(Div.delta_other)(delta, input, other, *ctx.facts[1]) if ctx.needs_input_grad[1] else None,
        )

    @staticmethod
    def delta_input(delta: Tensor, other: Any, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(delta / conj(other), shape, dtype)

    @staticmethod
    def delta_other(delta: Tensor, input: Any, other: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return like(-delta * conj((input / other) / other), shape, dtype)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, other = inputs
        t_input, t_other = tangents
        moved = total(
            None if t_input is None else t_input / other,
            None if t_other is None else -t_other * ((input / other) / other),
        )
        return moved.expand_as(output).to(output.dtype)  # type: ignore[union-attr]


class Matmul(Rule):
    """Y = A B

    input (*, M, K) or (K,)   other (*, K, N) or (K,)   output, delta (*, M, N), without the axis of a vector operand

    delta_input = delta B^T     delta_other = A^T delta     each summed over broadcast batch axes
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    autocast = LOWER
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, other: Tensor) -> Tensor:
        return torch.matmul(input, other)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, other = inputs
        ctx.shapes = input.shape, other.shape
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, other if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, other = ctx.saved_tensors
        shape_input, shape_other = ctx.shapes
        if len(shape_input) == 1:
            delta = delta.unsqueeze(-1 if len(shape_other) == 1 else -2)
        if len(shape_other) == 1:
            delta = delta.unsqueeze(-1)
        return (
            choose(Matmul.delta_input)(delta, other, shape_input) if ctx.needs_input_grad[0] else None,
            choose(Matmul.delta_other)(delta, input, shape_other) if ctx.needs_input_grad[1] else None,
        )

    @staticmethod
    def delta_input(delta: Tensor, other: Tensor, shape: torch.Size) -> Tensor:
        if len(shape) == 2 and other.dim() > 2:  # one sum over batch and columns, in place of a product for each matrix
            return flat(delta.mT).mT @ flat(other.mH)
        other = other.unsqueeze(-1) if other.dim() == 1 else other
        product = delta @ other.mH
        return sum_to(product, torch.Size((1, *shape)) if len(shape) == 1 else shape).reshape(shape)

    @staticmethod
    def delta_other(delta: Tensor, input: Tensor, shape: torch.Size) -> Tensor:
        if len(shape) == 2 and input.dim() > 2:  # one sum over all rows, in place of a product for each matrix
            return flat(input).mH @ flat(delta)
        input = input.unsqueeze(0) if input.dim() == 1 else input
        product = input.mH @ delta
        return sum_to(product, torch.Size((*shape, 1)) if len(shape) == 1 else shape).reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, other = inputs
        t_input, t_other = tangents
        return total(None if t_input is None else t_input @ other, None if t_other is None else input @ t_other)
