"""The same elements in another shape: Reshape, Flatten, Unflatten, Permute; Split; and Expand, which repeats them.

Where the memory layout allows it the output is a view of the input, as the twin's is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, choose, sum_to


class Reshape(Rule):
    """y = x in another shape, the elements in the same order

    input (*)   shape: its sizes, one of them may be -1   output, delta (shape)

    delta_input = delta in the shape of x

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of moving values is moving them back.
    """

    cheap = True

    @staticmethod
    def forward(input: Tensor, shape: tuple[int, ...]) -> Tensor:
        return input.reshape(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Reshape.delta_input)(delta, ctx.shape), None

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size) -> Tensor:
        return delta.reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].reshape(output.shape)


class Flatten(Rule):
    """y = x with the axes start_dim to end_dim made one

    input (A, B, ..., C, D)   output, delta (A, B ... C, D)   start_dim, end_dim: int

    delta_input = delta in the shape of x

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of moving values is moving them back.
    """

    cheap = True

    @staticmethod
    def forward(input: Tensor, start_dim: int, end_dim: int) -> Tensor:
        return input.flatten(start_dim, end_dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Flatten.delta_input)(delta, ctx.shape), None, None

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size) -> Tensor:
        return delta.reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].reshape(output.shape)


class Unflatten(Rule):
    """y = x with the axis dim split into several

    input (A, B ... C, D)   output, delta (A, B, ..., C, D)   dim: int   sizes: (B, ..., C), one of them may be -1

    delta_input = delta in the shape of x

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of moving values is moving them back.
    """

    cheap = True

    @staticmethod
    def forward(input: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
        return input.unflatten(dim, sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Unflatten.delta_input)(delta, ctx.shape), None, None

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size) -> Tensor:
        return delta.reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].reshape(output.shape)


class Permute(Rule):
    """y = x with its axes in another order

    input (*)   dims: for each axis of y which axis of x it is   output, delta (sizes of x in that order)

    delta_input = delta with its axes put back

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of moving values is moving them back.
    """

    cheap = True

    @staticmethod
    def forward(input: Tensor, dims: tuple[int, ...]) -> Tensor:
        return input.permute(dims)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.dims = inputs[1]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Permute.delta_input)(delta, ctx.dims), None

    @staticmethod
    def delta_input(delta: Tensor, dims: tuple[int, ...]) -> Tensor:
        back = list(dims)
        for axis, of in enumerate(dims):
            back[of] = axis  # a negative one counts from the end, as in dims
        return delta.permute(back)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].permute(inputs[1])


class Split(Rule):
    """y_1, y_2, ... = x cut along its first axis

    input (A + B + ..., *)   sizes: (A, B, ...)   outputs, deltas (A, *), (B, *), ...

    delta_input = the deltas one after the other

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of moving values is moving them back.
    """

    @staticmethod
    def forward(input: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
        return input.split(sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple:
        return choose(Split.delta_input)(deltas), None

    @staticmethod
    def delta_input(deltas: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(deltas)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple[Tensor, ...]:
        return tangents[0].split(inputs[1])


class Expand(Rule):
    """y = x repeated along its axes of size 1, and along new ones in front

    input (*, 1, *)   shape: sizes   output, delta (shape)

    delta_input = sum of delta over the axes along which x was repeated

    Source: Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.
    """

    @staticmethod
    def forward(input: Tensor, shape: tuple[int, ...]) -> Tensor:
        return input.expand(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        return choose(Expand.delta_input)(delta, ctx.shape), None

    @staticmethod
    def delta_input(delta: Tensor, shape: torch.Size) -> Tensor:
        return sum_to(delta, shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].expand(output.shape)


RESHAPING = (Reshape, Flatten, Unflatten)
"""The rules whose output holds every element of the input once, in the same order."""
