"""Values selected along an axis by their order: each delta goes back to the element that was selected."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is adding to what was copied.'

RESULTS = ("values", "indices")

SHAPES = "input (*, L, *)   values, indices, delta (*, K, *), or without the axis where keepdim is false"


def put_back(delta: Tensor, indices: Tensor, dim: int, keepdim: bool, input_shape: torch.Size) -> Tensor:
    """Each delta at the element of the input that was selected, zeros elsewhere."""
    if not keepdim and len(input_shape):
        delta, indices = delta.unsqueeze(dim), indices.unsqueeze(dim)
    return delta.new_zeros(input_shape).scatter(dim, indices, delta)


def added_back(delta: Tensor, indices: Tensor, dim: int, input_shape: torch.Size) -> Tensor:
    """As `put_back`, but the deltas of an element that was selected several times are summed."""
    return delta.new_zeros(input_shape).scatter_add(dim, indices, delta)


def taken(input: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The values at the indices."""
    if keepdim or not input.dim():
        return input.gather(dim, indices)
    return input.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


picked = partial(rule, results=RESULTS, shapes=SHAPES, tangent_reads=(1,))
"""A rule that selects values along an axis; of equal values, the one at torch's index receives the delta."""

BACK = "delta at the index of each value, else 0"

MaxAlong = picked(
    "max.dim", "the largest x along an axis, and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], inputs[2]), None),
    takes="input, dim: int, keepdim: bool = False", name="MaxAlong",
)  # fmt: skip
MinAlong = picked(
    "min.dim", "the smallest x along an axis, and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], inputs[2]), None),
    takes="input, dim: int, keepdim: bool = False", name="MinAlong",
)  # fmt: skip
MedianAlong = picked(
    "median.dim", "the median along an axis (the lower of two), and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], inputs[2]), None),
    takes="input, dim: int, keepdim: bool = False", name="MedianAlong",
)  # fmt: skip
NanmedianAlong = picked(
    "nanmedian.dim", "the median along an axis of what is a number, and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], inputs[2]), None),
    takes="input, dim: int, keepdim: bool = False", name="NanmedianAlong",
)  # fmt: skip
Mode = picked(
    "mode", "the most frequent x along an axis, and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], inputs[2]), None),
    takes="input, dim: int = -1, keepdim: bool = False",
)  # fmt: skip
Kthvalue = picked(
    "kthvalue", "the k-th smallest x along an axis, and its index", BACK,
    lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[2], inputs[3]), None),
    takes="input, k: int, dim: int = -1, keepdim: bool = False",
)  # fmt: skip
Cummax = picked(
    "cummax", "y_i = the largest of x_1 ... x_i along an axis, and its index",
    "sum of the deltas of all places whose index it is",
    lambda delta, indices, dim, input_shape: added_back(delta, indices, dim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], True), None),
    takes="input, dim: int", shapes="input, values, indices, delta (*)",
)  # fmt: skip
Cummin = picked(
    "cummin", "y_i = the smallest of x_1 ... x_i along an axis, and its index",
    "sum of the deltas of all places whose index it is",
    lambda delta, indices, dim, input_shape: added_back(delta, indices, dim, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], True), None),
    takes="input, dim: int", shapes="input, values, indices, delta (*)",
)  # fmt: skip
Topk = picked(
    "topk", "the k largest (or smallest) x along an axis, and their indices", BACK,
    lambda delta, indices, dim, input_shape: put_back(delta, indices, dim, True, input_shape),
    tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[2], True), None),
    takes="input, k: int, dim: int = -1, largest: bool = True, sorted: bool = True",
)  # fmt: skip


class Sort(Rule):
    """y = x in order along an axis, and the indices it came from

    input, values, indices, delta (*)

    delta_input = delta at the index of each value

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a permutation is its inverse.
    """

    results = RESULTS
    tangent_reads = (1,)

    def forward(input: Tensor, dim: int, descending: bool, stable: bool) -> tuple:
        return tuple(torch.sort(input, dim=dim, descending=descending, stable=stable))

    def delta_input(delta: Tensor, indices: Tensor, dim: int, input_shape: torch.Size) -> Tensor:
        return put_back(delta, indices, dim, True, input_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Any) -> tuple:
        return taken(tangents[0], output[1], inputs[1], True), None
