"""Variance and standard deviation over axes, each also together with the mean."""

from __future__ import annotations

from math import inf, prod
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from .reduction import Dim, axes, spread


def centered(input: Tensor, dim: Dim) -> Tensor:
    """x - mean."""
    return input - input.mean(axes(dim, input.dim()), keepdim=True)


def twice_per_degree(shape: torch.Size, dim: Dim, correction: float | None) -> float:
    """2 / (n - c), where n is the number of elements of each variance; infinite if n <= c."""
    count = prod([shape[axis] for axis in axes(dim, len(shape))])
    freedom = count - (1 if correction is None else correction)
    return 2 / freedom if freedom > 0 else inf


def variance_delta(delta: Tensor, input: Tensor, dim: Dim, correction: float | None, keepdim: bool) -> Tensor:
    factor = twice_per_degree(input.shape, dim, correction)
    return spread(delta, dim, keepdim, input.shape) * (factor * centered(input, dim))


def variance_tangent(tangent: Tensor, input: Tensor, dim: Dim, correction: float | None, keepdim: bool) -> Tensor:
    factor = twice_per_degree(input.shape, dim, correction)
    moved = (centered(input, dim).conj() * tangent).sum(axes(dim, input.dim()), keepdim)
    return factor * (moved.real if moved.is_complex() else moved)


def mean_delta(delta: Tensor, dim: Dim, keepdim: bool, shape: torch.Size) -> Tensor:
    count = prod([shape[axis] for axis in axes(dim, len(shape))])
    return spread(delta / max(count, 1), dim, keepdim, shape)


def of_root(delta: Tensor, std: Tensor) -> Tensor:
    """The delta of the variance from the delta of its square root; 0 where all elements are equal."""
    return delta / (2 * std.masked_fill(std == 0, inf))


class Var(Rule):
    """y = sum of |x - mean|^2 / (n - c) over some axes, of n elements each

    input (*)   correction c (None: 1)   output, delta (*, without the axes, or with size 1 there)

    delta_input = 2 (x - mean) / (n - c) delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; the derivative through the mean is 0.
    """

    operator = "var.correction"
    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, dim: Dim = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
        return torch.var(input, dim, correction=correction, keepdim=keepdim)

    def delta_input(delta: Tensor, input: Tensor, dim: Dim, correction: float | None, keepdim: bool) -> Tensor:
        return variance_delta(delta, input, dim, correction, keepdim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return variance_tangent(tangents[0], *inputs)


class Std(Rule):
    """y = sqrt(var),   var = sum of |x - mean|^2 / (n - c) over some axes, of n elements each

    input (*)   correction c (None: 1)   output, delta (*, without the axes, or with size 1 there)

    delta_input = (x - mean) / (n - c) delta / y      and 0 where y = 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; at y = 0 as torch's derivatives.yaml.
    """

    operator = "std.correction"
    upcast = True

    def forward(input: Tensor, dim: Dim = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
        return torch.std(input, dim, correction=correction, keepdim=keepdim)

    def delta_input(
        delta: Tensor, input: Tensor, output: Tensor, dim: Dim, correction: float | None, keepdim: bool
    ) -> Tensor:
        return variance_delta(of_root(delta, output), input, dim, correction, keepdim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return of_root(variance_tangent(tangents[0], *inputs), output)


class VarMean(Rule):
    """var, mean = sum of |x - mean|^2 / (n - c), sum of x / n over some axes, of n elements each

    input (*)   correction c (None: 1)   var, mean, delta, delta_mean (*, without the axes, or with size 1 there)

    delta_input = 2 (x - mean) / (n - c) delta + delta_mean / n

    Source: Griewank, Walther 2008, "Evaluating Derivatives".
    """

    operator = "var_mean.correction"
    results = ("var", "mean")
    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, dim: Dim = None, correction: float | None = None, keepdim: bool = False) -> tuple:
        return torch.var_mean(input, dim, correction=correction, keepdim=keepdim)

    def delta_input(delta: Tensor, input: Tensor, dim: Dim, correction: float | None, keepdim: bool) -> Tensor:
        return variance_delta(delta, input, dim, correction, keepdim)

    def delta_input_from_mean(delta_mean: Tensor, dim: Dim, keepdim: bool, input_shape: torch.Size) -> Tensor:
        return mean_delta(delta_mean, dim, keepdim, input_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Any) -> tuple:
        input, dim, _, keepdim = inputs
        return variance_tangent(tangents[0], *inputs), tangents[0].mean(axes(dim, input.dim()), keepdim)


class StdMean(Rule):
    """std, mean = sqrt(sum of |x - mean|^2 / (n - c)), sum of x / n over some axes, of n elements each

    input (*)   correction c (None: 1)   std, mean, delta, delta_mean (*, without the axes, or with size 1 there)

    delta_input = (x - mean) / (n - c) delta / std + delta_mean / n      the first 0 where std = 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives"; at std = 0 as torch's derivatives.yaml.
    """

    operator = "std_mean.correction"
    results = ("std", "mean")
    upcast = True
    tangent_reads = (0,)

    def forward(input: Tensor, dim: Dim = None, correction: float | None = None, keepdim: bool = False) -> tuple:
        return torch.std_mean(input, dim, correction=correction, keepdim=keepdim)

    def delta_input(
        delta: Tensor, input: Tensor, std: Tensor, dim: Dim, correction: float | None, keepdim: bool
    ) -> Tensor:
        return variance_delta(of_root(delta, std), input, dim, correction, keepdim)

    def delta_input_from_mean(delta_mean: Tensor, dim: Dim, keepdim: bool, input_shape: torch.Size) -> Tensor:
        return mean_delta(delta_mean, dim, keepdim, input_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Any) -> tuple:
        input, dim, _, keepdim = inputs
        moved = of_root(variance_tangent(tangents[0], *inputs), output[0])
        return moved, tangents[0].mean(axes(dim, input.dim()), keepdim)
