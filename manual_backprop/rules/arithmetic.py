"""Arithmetic between layers: Add, Sub, Mul, Div, Matmul.

If an input was broadcast, each of its elements receives the sum of the deltas of its copies. For complex numbers the
formulas multiply by the conjugate, because torch defines the gradient that way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import LOWER, Rule
from ..engine.terms import flat, sum_to, total


def conj(value: Any) -> Any:
    """The conjugate of a tensor or number; itself when real."""
    return value.conj() if isinstance(value, Tensor) else value.conjugate()


class Add(Rule):
    """y = a + alpha b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta     delta_other = alpha delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "add.Tensor add.Scalar"
    elementwise = True
    broadcasts = True
    cheap = True

    def forward(input: Any, other: Any, alpha: float) -> Tensor:
        return torch.add(input, other, alpha=alpha)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def delta_other(delta: Tensor, alpha: float) -> Tensor:
        return delta if alpha == 1 else conj(alpha) * delta


class Sub(Rule):
    """y = a - alpha b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta     delta_other = - alpha delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "sub.Tensor sub.Scalar"
    elementwise = True
    broadcasts = True
    cheap = True

    def forward(input: Any, other: Any, alpha: float) -> Tensor:
        return torch.sub(input, other, alpha=alpha)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def delta_other(delta: Tensor, alpha: float) -> Tensor:
        return -conj(alpha) * delta


class Mul(Rule):
    """y = a b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = b delta     delta_other = a delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "mul.Tensor mul.Scalar"
    elementwise = True
    broadcasts = True
    cheap = True

    def forward(input: Any, other: Any) -> Tensor:
        return torch.mul(input, other)

    def delta_input(delta: Tensor, other: Any) -> Tensor:
        return delta * conj(other)

    def delta_other(delta: Tensor, input: Any) -> Tensor:
        return delta * conj(input)


class Div(Rule):
    """y = a / b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta / b     delta_other = - delta y / b     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "div.Tensor div.Scalar"
    elementwise = True
    broadcasts = True
    cheap = True

    def forward(input: Any, other: Any) -> Tensor:
        return torch.div(input, other)

    def delta_input(delta: Tensor, other: Any) -> Tensor:
        return delta / conj(other)

    def delta_other(delta: Tensor, input: Any, other: Tensor) -> Tensor:
        return -delta * conj((input / other) / other)


class Matmul(Rule):
    """Y = A B

    input (*, M, K) or (K,)   other (*, K, N) or (K,)   output, delta (*, M, N), without the axis of a vector operand

    delta_input = delta B^T     delta_other = A^T delta     each summed over broadcast batch axes
    (transposed and conjugated, where complex)

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(input: Tensor, other: Tensor) -> Tensor:
        return torch.matmul(input, other)

    def matrices(delta: Tensor, input_shape: torch.Size, other_shape: torch.Size) -> Tensor:
        """The delta as (*, M, N): an axis of size 1 replaces the axis that a vector operand lacks."""
        if len(input_shape) == 1:
            delta = delta.unsqueeze(-1 if len(other_shape) == 1 else -2)
        return delta.unsqueeze(-1) if len(other_shape) == 1 else delta

    def delta_input(matrices: Tensor, other: Tensor, input_shape: torch.Size) -> Tensor:
        if len(input_shape) == 2 and other.dim() > 2:  # one matmul that sums over batch and columns, not one per matrix
            return flat(matrices.mT).mT @ flat(other.mH)
        other = other.unsqueeze(-1) if other.dim() == 1 else other
        shape = torch.Size((1, *input_shape)) if len(input_shape) == 1 else input_shape
        return sum_to(matrices @ other.mH, shape).reshape(input_shape)

    def delta_other(matrices: Tensor, input: Tensor, other_shape: torch.Size) -> Tensor:
        if len(other_shape) == 2 and input.dim() > 2:  # one matmul that sums over all rows, not one per matrix
            return flat(input).mH @ flat(matrices)
        input = input.unsqueeze(0) if input.dim() == 1 else input
        shape = torch.Size((*other_shape, 1)) if len(other_shape) == 1 else other_shape
        return sum_to(input.mH @ matrices, shape).reshape(other_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, other = inputs
        t_input, t_other = tangents
        return total(None if t_input is None else t_input @ other, None if t_other is None else input @ t_other)
