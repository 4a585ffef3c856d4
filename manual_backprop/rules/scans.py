"""Products and scans; in a scan, each output depends on all elements up to its place.

The backward of a scan is a linear recurrence from the end: t_k = delta_k + a_k t_(k+1). It is solved without division,
so zero factors are no special case, and the formula can be differentiated again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import like
from .arithmetic import conj
from .reduction import spread

FLOAT32 = {"cpu": "float32", "cuda": "float32"}
FLOAT32_ON_GPU = {"cuda": "float32"}


def from_end(input: Tensor, dim: int) -> Tensor:
    """For each element, the sum of it and all elements after it."""
    if not input.dim():
        return input.clone()
    return input.flip(dim).cumsum(dim).flip(dim)


def product_before(input: Tensor, dim: int) -> Tensor:
    """For each element, the product of all elements before it."""
    shape = list(input.shape)
    shape[dim] = 1
    return torch.cat((input.new_ones(shape), input), dim).narrow(dim, 0, input.shape[dim]).cumprod(dim)


def product_of_others(input: Tensor, dim: int) -> Tensor:
    """For each element, the product of all others, without division."""
    return product_before(input, dim) * product_before(input.flip(dim), dim).flip(dim)


def later(input: Tensor, steps: int, dim: int) -> Tensor:
    """The elements moved `steps` places towards the front, with zeros at the end."""
    length = input.shape[dim]
    ahead = input.narrow(dim, steps, length - steps)
    return torch.cat((ahead, torch.zeros_like(input.narrow(dim, 0, steps))), dim)


def following(input: Tensor, dim: int) -> Tensor:
    """For each element, the element after it; for the last, itself."""
    length = input.shape[dim]
    first = min(1, length)
    return torch.cat((input.narrow(dim, first, length - first), input.narrow(dim, length - first, first)), dim)


def recurrence(delta: Tensor, ratio: Tensor, dim: int) -> Tensor:
    """t with t_k = delta_k + ratio_k t_(k+1). Each step doubles the number of elements that t_k includes, so
    log2(length) steps are enough (Hillis, Steele 1986, "Data parallel algorithms")."""
    reach = 1
    while reach < delta.shape[dim]:
        delta = delta + ratio * later(delta, reach, dim)
        ratio = ratio * later(ratio, reach, dim)
        reach *= 2
    return delta


class Prod(Rule):
    """y = product of all x

    input (*)   output, delta ()

    delta_input_k = delta (product of all x but x_k)

    Source: Griewank, Walther 2008, "Evaluating Derivatives", Speelpenning's example: products from both ends.
    """

    operator = "prod"
    autocast = FLOAT32

    def forward(input: Tensor, dtype: torch.dtype | None) -> Tensor:
        return torch.prod(input, dtype=dtype)

    def delta_input(delta: Tensor, input: Tensor, input_dtype: torch.dtype) -> Tensor:
        others = product_of_others(input.to(delta.dtype).reshape(-1), 0).reshape(input.shape)
        return like(delta * conj(others), input.shape, input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        others = product_of_others(inputs[0].to(output.dtype).reshape(-1), 0)
        return (tangents[0].reshape(-1) * others).sum()


class ProdAlong(Rule):
    """y = product of x along an axis

    input (*, L, *)   output, delta (*, without the axis, or with size 1 there)

    delta_input_k = delta (product of all x along the axis but x_k)

    Source: Griewank, Walther 2008, "Evaluating Derivatives", Speelpenning's example: products from both ends.
    """

    operator = "prod.dim_int"
    autocast = FLOAT32

    def forward(input: Tensor, dim: int, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        return torch.prod(input, dim, keepdim, dtype=dtype)

    def delta_input(delta: Tensor, input: Tensor, input_dtype: torch.dtype, dim: int, keepdim: bool) -> Tensor:
        others = along(product_of_others, input.to(delta.dtype), dim)
        return like(spread(delta, dim, keepdim, input.shape) * conj(others), input.shape, input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, dim, keepdim, _ = inputs
        return (tangents[0] * along(product_of_others, input.to(output.dtype), dim)).sum(dim, keepdim)


def along(scan: Any, input: Tensor, dim: int) -> Tensor:
    """The scan of a tensor, which may have no axes."""
    return scan(input, dim) if input.dim() else scan(input.reshape(1), 0).reshape(())


class Cumsum(Rule):
    """y_i = x_1 + ... + x_i along an axis

    input, output, delta (*)

    delta_input_k = delta_k + ... + delta_L

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    operator = "cumsum"
    linear = ("input",)
    autocast = FLOAT32_ON_GPU

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.cumsum(input, dim, dtype=dtype)

    def delta_input(delta: Tensor, dim: int, input_shape: torch.Size, input_dtype: torch.dtype) -> Tensor:
        delta = delta.to(torch.promote_types(delta.dtype, input_dtype))
        return like(from_end(delta, dim), input_shape, input_dtype)


class Cumprod(Rule):
    """y_i = x_1 ... x_i along an axis

    input, output, delta (*)

    delta_input_k = (x_1 ... x_(k-1)) t_k,     t_k = delta_k + x_(k+1) t_(k+1)      from the end

    Source: Griewank, Walther 2008, "Evaluating Derivatives": adjoint of the loop y = y x_i, whose reverse t is.
    """

    operator = "cumprod"
    autocast = FLOAT32_ON_GPU

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.cumprod(input, dim, dtype=dtype)

    def delta_input(delta: Tensor, input: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
        if not input.dim():
            return like(delta, input.shape, input_dtype)
        delta = delta.to(torch.promote_types(delta.dtype, input_dtype))
        factors = conj(input.to(delta.dtype))
        moved = product_before(factors, dim) * recurrence(delta, later(factors, min(1, input.shape[dim]), dim), dim)
        return like(moved, input.shape, input_dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        """t_i = t_(i-1) x_i + y_(i-1) tangent_i: the same recurrence from the front."""
        input, dim, _ = inputs
        if not input.dim():
            return tangents[0].to(output.dtype)
        factors, tangent = input.to(output.dtype), tangents[0].to(output.dtype)
        steps = (product_before(factors, dim) * tangent).flip(dim)
        return recurrence(steps, factors.flip(dim), dim).flip(dim)


def ratio_of_exponentials(one: Tensor, other: Tensor) -> Tensor:
    """e^(a - b), and 1 where both are the same infinity."""
    return (one - other).masked_fill((one == other) & one.isinf(), 0).exp()


class Logcumsumexp(Rule):
    """y_i = log(e^(x_1) + ... + e^(x_i)) along an axis

    input, output, delta (*)

    delta_input_k = e^(x_k - y_k) t_k,     t_k = delta_k + e^(y_k - y_(k+1)) t_(k+1)      from the end

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; the sum of delta_i e^(x_k - y_i) over i >= k, as a
    recurrence whose factors are at most 1.
    """

    operator = "logcumsumexp"
    upcast = True

    def forward(input: Tensor, dim: int) -> Tensor:
        return torch.logcumsumexp(input, dim)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor, dim: int) -> Tensor:
        if not input.dim():
            return delta.clone()
        decay = ratio_of_exponentials(output, following(output, dim))
        return conj((input - output).exp()) * recurrence(delta, conj(decay), dim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        """t_i = e^(y_(i-1) - y_i) t_(i-1) + e^(x_i - y_i) tangent_i: the recurrence from the front."""
        input, dim = inputs
        if not input.dim():
            return tangents[0].clone()
        ends = output.flip(dim)
        decay = ratio_of_exponentials(following(ends, dim), ends)
        return recurrence(((input - output).exp() * tangents[0]).flip(dim), decay, dim).flip(dim)
