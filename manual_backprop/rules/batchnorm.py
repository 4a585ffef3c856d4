"""Normalization of each channel over a batch: BatchNorm (statistics of the batch), BatchNormEval (running ones)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, beside, choose, differentiated_again, widen, widened
from .normalization import affine_tangent, dtype_of, over_positions, spread, standardized, statistics


class BatchNorm(Rule):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var of a channel over N and *,   invstd = 1 / sqrt(var + eps)

    input, output, delta (N, C, *)   weight, bias, running_mean, running_var (C,) or None   mean, invstd (C,)

    grad_bias   = sum of delta       over N and *, n elements per channel
    grad_weight = sum of delta x̂
    delta_input = w invstd (delta - grad_bias / n - x̂ grad_weight / n)

    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3.
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Also moves the running statistics, in place: running += momentum (batch's, var with n - 1 - running)."""
        return choose(BatchNorm.normalized)(input, weight, bias, running_mean, running_var, momentum, eps)

    @staticmethod
    def normalized(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        return torch._batch_norm_impl_index(
            input, weight, bias, running_mean, running_var, True, momentum, eps, torch.backends.cudnn.enabled
        )[:3]

    @classmethod
    def again(cls, inputs: tuple, output: tuple) -> tuple:
        input, weight, bias, *_, eps = inputs
        return BatchNorm.scaled, (input, weight, bias, *output[1:], eps)

    @staticmethod
    def scaled(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
    ) -> Tensor:
        """The output of `normalized` alone, bit for bit; a kernel takes the statistics as they are known."""
        return BatchNorm.forward(input, weight, bias, None, None, 0.0, eps)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, weight, bias, _, _, _, ctx.eps = inputs
        _, mean, invstd = output
        beside(ctx, mean, invstd)
        ctx.dtype = dtype_of(weight, bias)
        needs_input, needs_weight = ctx.needs_input_grad[:2]
        kept = (input, mean, invstd) if needs_input or needs_weight else (None, None, None)
        ctx.save_for_backward(*kept, weight if needs_input else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor, *_: Any) -> tuple:
        dtype = delta.dtype
        delta_input: Any = None
        input, mean, invstd, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        if needs_input or needs_weight:
            if not input.numel():  # torch keeps no statistics of an empty batch, and lets no NaN out of it
                mean = invstd = input.new_zeros(input.shape[1])
            elif differentiated_again():
                mean, invstd = BatchNorm.statistics(widen(input)[0], ctx.eps)
        if needs_input:
            found = widened(choose(BatchNorm.derivatives), delta, input, weight, mean, invstd)
            delta_input, grad_weight, grad_bias = found
        else:
            grad_weight = None
            if needs_weight:
                grad_weight = widened(choose(BatchNorm.grad_weight), delta, input, mean, invstd)
            grad_bias = widened(choose(BatchNorm.grad_bias), delta) if needs_bias else None
        return (
            delta_input.to(dtype) if needs_input else None,
            grad_weight.to(ctx.dtype) if needs_weight else None,
            grad_bias.to(ctx.dtype) if needs_bias else None,
            None, None, None, None,
        )  # fmt: skip

    @staticmethod
    def grad_bias(delta: Tensor) -> Tensor:
        return over_positions(delta).sum(0)

    @staticmethod
    def grad_weight(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
        return invstd * over_positions(delta * (input - spread(mean, input))).sum(0)

    @staticmethod
    def derivatives(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """delta_input, grad_weight, grad_bias: the first is made of the others."""
        grad_weight, grad_bias = BatchNorm.grad_weight(delta, input, mean, invstd), BatchNorm.grad_bias(delta)
        return BatchNorm.delta_input(delta, input, weight, mean, invstd, grad_weight, grad_bias), grad_weight, grad_bias

    @staticmethod
    def delta_input(
        delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
        grad_weight: Tensor, grad_bias: Tensor,
    ) -> Tensor:  # fmt: skip
        count = max(delta.shape[0] * delta.shape[2:].numel(), 1)  # of an empty batch nothing is divided
        # every element of a channel gets a delta + b x + c
        a = invstd if weight is None else weight * invstd
        b = -a * invstd * grad_weight / count
        c = -a * grad_bias / count - b * mean
        a, b, c = (spread(v, delta) for v in (a, b, c))
        return torch.addcmul(torch.addcmul(c, b, input), a, delta)

    @staticmethod
    def statistics(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        mean, invstd = statistics(input, (0, *range(2, input.dim())), eps)
        return mean.reshape(-1), invstd.reshape(-1)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        t_input, t_weight, t_bias = widen(*tangents[:3])
        input, weight = widen(*inputs[:2])
        normalized, moved = standardized(input, t_input, (0, *range(2, input.dim())), inputs[-1])
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        return affine_tangent(normalized, moved, weight, t_weight, t_bias, output[0]), None, None


class BatchNormEval(Rule):
    """y = w (x - running_mean) invstd + b,   invstd = 1 / sqrt(running_var + eps)

    input, output, delta (N, C, *)   weight, bias (C,) or None   running_mean, running_var, invstd (C,)

    delta_input = w invstd delta        the statistics are constants here
    grad_weight = invstd sum of delta (x - running_mean)     over N and *
    grad_bias   = sum of delta

    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3.1.
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, eps: float,
    ) -> Tensor:  # fmt: skip
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(input, weight, bias, running_mean, running_var, False, 0.0, eps, cudnn)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, weight, bias, running_mean, running_var, ctx.eps = inputs
        ctx.dtype = dtype_of(weight, bias)
        needs_input, needs_weight = ctx.needs_input_grad[:2]
        kept = (input, running_mean) if needs_weight else (None, None)
        scale = (running_var, weight) if needs_input else (running_var, None) if needs_weight else (None, None)
        ctx.save_for_backward(*kept, *scale)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        dtype = delta.dtype
        delta, input, mean, var, weight = widen(delta, *ctx.saved_tensors)
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        invstd = None if var is None else (var + ctx.eps).rsqrt()
        return (
            choose(BatchNormEval.delta_input)(delta, weight, invstd).to(dtype) if needs_input else None,
            choose(BatchNorm.grad_weight)(delta, input, mean, invstd).to(ctx.dtype) if needs_weight else None,
            choose(BatchNorm.grad_bias)(delta).to(ctx.dtype) if needs_bias else None,
            None, None, None,
        )  # fmt: skip

    @staticmethod
    def delta_input(delta: Tensor, weight: Tensor | None, invstd: Tensor) -> Tensor:
        return delta * spread(invstd if weight is None else weight * invstd, delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        t_input, t_weight, t_bias = widen(*tangents[:3])
        input, weight, _, mean, var = widen(*inputs[:5])
        mean, invstd = spread(mean, input), spread((var + inputs[-1]).rsqrt(), input)
        weight, t_weight, t_bias = (None if v is None else spread(v, input) for v in (weight, t_weight, t_bias))
        moved = None if t_input is None else t_input * invstd
        return affine_tangent((input - mean) * invstd, moved, weight, t_weight, t_bias, output)
