"""A residual connection and the normalization after it, as one rule: AddLayerNorm, AddRMSNorm.

One rule needs only one pass over memory: the forward normalizes the sum while it is in the cache. In the backward, the
sum has two deltas: its own, from the next residual connection, and that of the norm. They are added in the same pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule, choose, differentiated_again
from ..engine.terms import like, not_differentiated, total, widen, widened
from .normalization import LayerNorm, RMSNorm, dtype_of, statistics


class AddLayerNorm(Rule):
    """y = w ŝ + b,   s = x + r,   ŝ = (s - mean) invstd,   invstd = 1 / sqrt(var + eps), over the last axes; y and s

    input, other (*, normalized_shape), broadcast to the same   outputs y, s and their deltas (*, normalized_shape)
    weight, bias (normalized_shape) or None   mean, invstd (*, 1, ...)

    delta_sum    = delta_s + invstd (w delta_y - mean(w delta_y) - ŝ mean(w delta_y ŝ))
    delta_input  = delta_sum     delta_other = delta_sum     each summed over broadcast axes
    grad_weight  = sum over * of delta_y ŝ
    grad_bias    = sum over * of delta_y

    Source: `Add` and `LayerNorm`; where s is used twice, its deltas add up (Griewank, Walther 2008).
    """

    cheap = True
    tangent_reads = (1,)

    def forward(
        input: Tensor, other: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        return choose(AddLayerNorm.outputs)(input, other, normalized_shape, weight, bias, eps)

    def outputs(
        input: Tensor, other: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        summed = input + other
        output, mean, invstd = AddLayerNorm.normalized(summed, normalized_shape, weight, bias, eps)
        return output, summed, mean, invstd

    def normalized(
        summed: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_layer_norm(summed, normalized_shape, weight, bias, eps)

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        return AddLayerNorm.normalized, (output[1], *inputs[2:])

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, other, ctx.normalized_shape, weight, bias, ctx.eps = inputs
        _, summed, mean, invstd = output
        not_differentiated(ctx, mean, invstd)
        ctx.facts = (input.shape, input.dtype), (other.shape, other.dtype)
        ctx.dtype = dtype_of(weight, bias)
        needs_sum = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        kept = (summed, mean, invstd) if needs_sum or ctx.needs_input_grad[3] else (None, None, None)
        ctx.save_for_backward(*kept, weight if needs_sum else None)

    # written by hand, like `setup_context`: the kernel adds the sum's own delta in the pass of the norm
    def backward(ctx: Any, delta: Tensor | None, delta_sum: Tensor | None, *_: Any) -> tuple:
        summed, mean, invstd, weight = ctx.saved_tensors
        needs_input, needs_other, _, needs_weight, needs_bias, _ = ctx.needs_input_grad
        if delta is None:  # only the sum was used
            return *both(ctx, delta_sum), None, None, None, None
        shape = torch.Size(ctx.normalized_shape)
        if summed is not None and differentiated_again():
            mean, invstd = statistics(widen(summed)[0], tuple(range(-len(shape), 0)), ctx.eps)
        needs, derivatives = (needs_input or needs_other, needs_weight, needs_bias), choose(AddLayerNorm.derivatives)
        found = widened(derivatives, delta, delta_sum, summed, weight, mean, invstd, shape, needs)
        delta_sum, grad_weight, grad_bias = found
        return (
            *both(ctx, delta_sum),
            None,
            grad_weight.to(ctx.dtype) if needs_weight else None,
            grad_bias.to(ctx.dtype) if needs_bias else None,
            None,
        )

    def derivatives(
        delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
        shape: torch.Size, needs: tuple[bool, bool, bool],
    ) -> tuple:  # fmt: skip
        """delta_sum, grad_weight and grad_bias, each None where it is not needed."""
        needs_sum, needs_weight, needs_bias = needs
        return (
            AddLayerNorm.delta_sum(delta, delta_sum, summed, weight, mean, invstd, shape) if needs_sum else None,
            LayerNorm.grad_weight(delta, summed, mean, invstd, shape) if needs_weight else None,
            LayerNorm.grad_bias(delta, shape) if needs_bias else None,
        )

    def delta_sum(
        delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
        shape: torch.Size,
    ) -> Tensor:  # fmt: skip
        through_norm = LayerNorm.delta_input(delta, summed, weight, mean, invstd, shape)
        return through_norm if delta_sum is None else delta_sum + through_norm

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        moved = moved_sum(tangents, output[1])
        return (
            LayerNorm.tangent((output[1], *inputs[2:]), (moved, *tangents[2:]), output)[0],
            at_rest(moved, output[1]),
            None,
            None,
        )


class AddRMSNorm(Rule):
    """y = w ŝ,   s = x + r,   ŝ = s invrms,   invrms = 1 / sqrt(mean of s² over the last axes + eps); y and s

    input, other (*, normalized_shape), broadcast to the same   outputs y, s and their deltas (*, normalized_shape)
    weight (normalized_shape) or None   invrms (*, 1, ...)

    delta_sum    = delta_s + invrms (w delta_y - ŝ mean(w delta_y ŝ))
    delta_input  = delta_sum     delta_other = delta_sum     each summed over broadcast axes
    grad_weight  = sum over * of delta_y ŝ

    Source: `Add` and `RMSNorm`; where s is used twice, its deltas add up (Griewank, Walther 2008).
    """

    cheap = True
    tangent_reads = (1,)

    def forward(
        input: Tensor, other: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return choose(AddRMSNorm.outputs)(input, other, normalized_shape, weight, eps)

    def outputs(
        input: Tensor, other: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        summed = input + other
        output, invrms = AddRMSNorm.normalized(summed, normalized_shape, weight, eps)
        return output, summed, invrms

    def normalized(
        summed: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None
    ) -> tuple[Tensor, Tensor]:
        output = torch.rms_norm(summed, normalized_shape, weight, eps)
        return output, widened(RMSNorm.invrms, summed, torch.Size(normalized_shape), eps)

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        return AddRMSNorm.normalized, (output[1], *inputs[2:])

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, other, ctx.normalized_shape, weight, ctx.eps = inputs
        _, summed, invrms = output
        not_differentiated(ctx, invrms)
        ctx.facts = (input.shape, input.dtype), (other.shape, other.dtype)
        ctx.dtype = dtype_of(weight)
        needs_sum = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        ctx.save_for_backward(summed, *((invrms, weight) if needs_sum else (None, None)))

    # written by hand, like `setup_context`: the kernel adds the sum's own delta in the pass of the norm
    def backward(ctx: Any, delta: Tensor | None, delta_sum: Tensor | None, _: Any) -> tuple:
        summed, invrms, weight = ctx.saved_tensors
        needs_input, needs_other, _, needs_weight, _ = ctx.needs_input_grad
        if delta is None:  # only the sum was used
            return *both(ctx, delta_sum), None, None, None
        shape = torch.Size(ctx.normalized_shape)
        if invrms is None or differentiated_again():
            invrms = widened(choose(RMSNorm.invrms), summed, shape, ctx.eps)
        needs, derivatives = (needs_input or needs_other, needs_weight), choose(AddRMSNorm.derivatives)
        delta_sum, grad_weight = widened(derivatives, delta, delta_sum, summed, weight, invrms, shape, needs)
        return *both(ctx, delta_sum), None, grad_weight.to(ctx.dtype) if needs_weight else None, None

    def derivatives(
        delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, invrms: Tensor,
        shape: torch.Size, needs: tuple[bool, bool],
    ) -> tuple:  # fmt: skip
        """delta_sum and grad_weight, each None where it is not needed."""
        needs_sum, needs_weight = needs
        return (
            AddRMSNorm.delta_sum(delta, delta_sum, summed, weight, invrms, shape) if needs_sum else None,
            RMSNorm.grad_weight(delta, summed, invrms, shape) if needs_weight else None,
        )

    def delta_sum(
        delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, invrms: Tensor,
        shape: torch.Size,
    ) -> Tensor:  # fmt: skip
        through_norm = RMSNorm.delta_input(delta, summed, weight, invrms, shape)
        return through_norm if delta_sum is None else delta_sum + through_norm

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        moved = moved_sum(tangents, output[1])
        return (
            RMSNorm.tangent((output[1], *inputs[2:]), (moved, *tangents[2:]), output[0]),
            at_rest(moved, output[1]),
            None,
        )


def both(ctx: Any, delta_sum: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """delta_input and delta_other, each None where it is not needed."""

    def of(place: int) -> Tensor | None:
        if delta_sum is None or not ctx.needs_input_grad[place]:
            return None
        return like(delta_sum, *ctx.facts[place])

    return of(0), of(1)  # torch.compile of torch 2.9 cannot zip ctx.needs_input_grad


def moved_sum(tangents: tuple, summed: Tensor) -> Tensor | None:
    """The tangent of the sum; None if neither input has one."""
    moved = total(tangents[0], tangents[1])
    return None if moved is None else moved.expand_as(summed).to(summed.dtype)


def at_rest(moved: Tensor | None, summed: Tensor) -> Tensor:
    """The tangent of the sum, zeros in place of None: torch requires one for every differentiable output."""
    return torch.zeros_like(summed) if moved is None else moved
