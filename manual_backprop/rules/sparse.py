"""Conversions between dense and sparse tensors: ToSparse, ToDense."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule


class ToSparse(Rule):
    """y = x, without the zeros

    input (*)   layout, blocksize, dims: the sparse format   output, delta (*), sparse

    delta_input = delta, with zeros

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    pure = False  # the native node does not handle sparse tensors

    def forward(input: Tensor, sparse_dim: int | None, layout: Any, blocksize: Any, dense_dim: int | None) -> Tensor:
        if sparse_dim is not None:
            return input.to_sparse(sparse_dim)
        return input.to_sparse(layout=layout, blocksize=blocksize, dense_dim=dense_dim)

    def delta_input(delta: Tensor) -> Tensor:
        return delta if delta.layout == torch.strided else delta.to_dense()

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return ToSparse.forward(tangents[0], *inputs[1:])


class ToDense(Rule):
    """y = x, with its zeros

    input (*), sparse   output, delta (*)

    delta_input = delta at the places that x has

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    pure = False  # the native node does not handle sparse tensors

    def forward(input: Tensor) -> Tensor:
        return input.to_dense()

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta.sparse_mask(input.coalesce())

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return tangents[0].to_dense()
