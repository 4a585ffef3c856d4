"""Values picked out along an axis, by their order: each delta goes back to the place its value was taken from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is adding to what was copied.'

RESULTS = ("values", "indices")

SHAPES = "input (*, L, *)   values, indices, delta (*, K, *), or without the axis where keepdim is false"

ALONG = "input, dim: int, keepdim: bool = False"

LAST = "input, dim: int = -1, keepdim: bool = False"


def put_back(delta: Tensor, indices: Tensor, dim: int, keepdim: bool, input_shape: torch.Size) -> Tensor:
    """Each delta in the place of the input that its value was taken from, zeros elsewhere."""
    if not keepdim and len(input_shape):
        delta, indices = delta.unsqueeze(dim), indices.unsqueeze(dim)
    return delta.new_zeros(input_shape).scatter(dim, indices, delta)


def added_back(delta: Tensor, indices: Tensor, dim: int, input_shape: torch.Size) -> Tensor:
    """Where one place was taken several times, its deltas add up."""
    return delta.new_zeros(input_shape).scatter_add(dim, indices, delta)


def taken(input: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The values at the indices."""
    if keepdim or not input.dim():
        return input.gather(dim, indices)
    return input.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


def picked(operator: str, text: str, takes: str, name: str | None = None) -> type[Rule]:
    """The rule of one value out of each line along an axis; of equal ones, the one that torch's index names."""
    return rule(
        operator, f"{text} along an axis, and its index", "delta at the index of each value, else 0",
        lambda delta, indices, dim, keepdim, input_shape: put_back(delta, indices, dim, keepdim, input_shape),
        tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[-2], inputs[-1]), None),
        takes=takes, name=name, results=RESULTS, shapes=SHAPES, tangent_reads=(1,),
    )  # fmt: skip


def running(operator: str, text: str) -> type[Rule]:
    """The rule of the largest or smallest value so far."""
    return rule(
        operator, f"y_i = {text} of x_1 ... x_i, and its index", "sum of the deltas of all places whose index it is",
        lambda delta, indices, dim, input_shape: added_back(delta, indices, dim, input_shape),
        tangent=lambda inputs, tangents, output: (taken(tangents[0], output[1], inputs[1], True), None),
        takes="input, dim: int", results=RESULTS, shapes="input, values, indices, delta (*)", tangent_reads=(1,),
    )  # fmt: skip


MaxAlong = picked("max.dim", "the largest x", ALONG, "MaxAlong")
MinAlong = picked("min.dim", "the smallest x", ALONG, "MinAlong")
MedianAlong = picked("median.dim", "the median (the lower of two)", ALONG, "MedianAlong")
NanmedianAlong = picked("nanmedian.dim", "the median of what is a number", ALONG, "NanmedianAlong")
Mode = picked("mode", "the most frequent x", LAST)
Kthvalue = picked("kthvalue", "the k-th smallest x", "input, k: int, dim: int = -1, keepdim: bool = False")
Cummax = running("cummax", "the largest")
Cummin = running("cummin", "the smallest")


class Topk(Rule):
    """y = the k largest (or smallest) of x along an axis, and their indices

    input (*, L, *)   values, indices, delta (*, k, *)

    delta_input = delta at the index of each value, else 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is adding to what was copied.
    """

    operator = "topk"
    results = RESULTS
    tangent_reads = (1,)

    def forward(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple:
        return tuple(torch.topk(input, k, dim, largest, sorted))

    def delta_input(delta: Tensor, indices: Tensor, dim: int, input_shape: torch.Size) -> Tensor:
        return put_back(delta, indices, dim, True, input_shape)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return taken(tangents[0], output[1], inputs[2], True), None


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
