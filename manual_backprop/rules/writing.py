"""Writing or adding values at indices. Overwritten elements get delta 0; written values get the delta of their place.

`forward_` does the same in place, without a copy of the input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.'

ELEMENTS = "input, output, delta (*, L, *)   index (*, K, *)   src (at least as large as index)"
SLICES = "input, output, delta (*, L, *)   index (K,)   source (*, K, *)"
PROMOTED = {"cpu": "promote"}
PROMOTED_ON_GPU = {"cuda": "promote"}


def read(delta: Tensor, dim: int, index: Tensor, shape: torch.Size) -> Tensor:
    """The delta of each element of a source of `shape`; elements beyond the shape of `index` were not used: 0."""
    found = delta.gather(dim, index)
    rest = [(0, size - used) for size, used in zip(shape, found.shape, strict=True)]
    return F.pad(found, [width for pair in reversed(rest) for width in pair]) if found.shape != shape else found


def read_slices(delta: Tensor, dim: int, index: Tensor, shape: torch.Size) -> Tensor:
    """The delta of each slice of a source of `shape`."""
    return delta.index_select(dim, index.reshape(-1)).reshape(shape)


def read_masked(delta: Tensor, mask: Tensor, shape: torch.Size) -> Tensor:
    """The delta where the mask is true, in order; the rest of a source of `shape` was not used and gets 0. Deltas
    outside of the mask go to an extra place after the last."""
    mask = mask.expand(delta.shape).reshape(-1)
    end = shape.numel()
    place = torch.where(mask, mask.cumsum(0) - 1, end)
    return delta.new_zeros(end + 1).index_add(0, place, delta.reshape(-1)).narrow(0, 0, end).reshape(shape)


def filled(delta: Tensor, dim: int, index: Tensor) -> Tensor:
    """The sum of the deltas of all slices to which the number was written; each slice counts once."""
    written = torch.zeros_like(delta, dtype=torch.bool).index_fill(dim, index, True)
    return delta.masked_fill(~written, 0).sum()


Scatter = rule(
    "scatter.src", "x, with src written at index along an axis",
    "delta_input = delta, 0 at index   delta_src = delta at index",
    lambda delta, dim, index: delta.scatter(dim, index, 0),
    delta_src=lambda delta, dim, index, src_shape: read(delta, dim, index, src_shape),
    forward_=lambda input, dim, index, src: input.scatter_(dim, index, src),
    takes="input, dim: int, index, src", linear=("input", "src"), shapes=ELEMENTS, name="Scatter",
)  # fmt: skip
ScatterValue = rule(
    "scatter.value", "x, with a number written at index along an axis", "delta, 0 at index",
    lambda delta, dim, index: delta.scatter(dim, index, 0),
    tangent=lambda inputs, tangents, output: tangents[0].scatter(inputs[1], inputs[2], 0),
    forward_=lambda input, dim, index, value: input.scatter_(dim, index, value),
    takes="input, dim: int, index, value: float", shapes=ELEMENTS, name="ScatterValue", tangent_reads=(),
)  # fmt: skip
ScatterAdd = rule(
    "scatter_add", "x, with src added at index along an axis", "delta_input = delta   delta_src = delta at index",
    lambda delta: delta,
    delta_src=lambda delta, dim, index, src_shape: read(delta, dim, index, src_shape),
    forward_=lambda input, dim, index, src: input.scatter_add_(dim, index, src),
    takes="input, dim: int, index, src", linear=("input", "src"), shapes=ELEMENTS, autocast=PROMOTED_ON_GPU,
)  # fmt: skip
IndexCopy = rule(
    "index_copy", "x, with slices written at index along an axis",
    "delta_input = delta, 0 at index   delta_source = delta at index",
    lambda delta, dim, index: delta.index_fill(dim, index, 0),
    delta_source=lambda delta, dim, index, source_shape: read_slices(delta, dim, index, source_shape),
    forward_=lambda input, dim, index, source: input.index_copy_(dim, index, source),
    takes="input, dim: int, index, source", linear=("input", "source"), shapes=SLICES, autocast=PROMOTED,
)  # fmt: skip
IndexFill = rule(
    "index_fill.int_Tensor index_fill.int_Scalar", "x, with one number written to the slices at index along an axis",
    "delta_input = delta, 0 at index   delta_value = sum of delta at index",
    lambda delta, dim, index: delta.index_fill(dim, index, 0),
    delta_value=lambda delta, dim, index: filled(delta, dim, index),
    tangent=lambda inputs, tangents, output: fill_tangent(*inputs, *tangents),
    forward_=lambda input, dim, index, value: input.index_fill_(dim, index, value),
    takes="input, dim: int, index, value: Any", tangent_reads=(),
    shapes="input, output, delta (*, L, *)   index (K,)   value () or number",
)  # fmt: skip
Put = rule(
    "put", "x, with source written (or added) at index, x as one row",
    "delta_input = delta, 0 at index (or delta)   delta_source = delta at index",
    lambda delta, index, accumulate: delta if accumulate else delta.put(index, delta.new_zeros(index.shape)),
    delta_source=lambda delta, index, source_shape: delta.take(index).reshape(source_shape),
    forward_=lambda input, index, source, accumulate: input.put_(index, source, accumulate),
    takes="input, index, source, accumulate: bool = False", linear=("input", "source"),
    shapes="input, output, delta (*)   index, source (K)",
)  # fmt: skip
MaskedScatter = rule(
    "masked_scatter", "x, with the source written in order where the mask is true",
    "delta_input = delta, 0 where the mask is true   delta_source = delta there, in order",
    lambda delta, mask: delta.masked_fill(mask, 0),
    delta_source=lambda delta, mask, source_shape: read_masked(delta, mask, source_shape),
    forward_=lambda input, mask, source: input.masked_scatter_(mask, source),
    takes="input, mask, source", broadcasts=True, linear=("input", "source"),
    shapes="input, mask (*, broadcast)   source (at least as many as are true)   output, delta (*)",
)  # fmt: skip
SelectScatter = rule(
    "select_scatter", "x, with src written at one place of an axis",
    "delta_input = delta, 0 there   delta_src = delta there",
    lambda delta, dim, index, src_shape: delta.select_scatter(delta.new_zeros(src_shape), dim, index),
    lambda delta, dim, index: delta.select(dim, index),
    takes="input, src, dim: int, index: int", linear=("input", "src"),
    shapes="input, output, delta (*, L, *)   src (*, *)",
)  # fmt: skip
SliceScatter = rule(
    "slice_scatter", "x, with src written to a slice of an axis",
    "delta_input = delta, 0 there   delta_src = delta there",
    lambda delta, src_shape, dim, start, end, step:
        delta.slice_scatter(delta.new_zeros(src_shape), dim, start, end, step),
    lambda delta, dim, start, end, step: torch.ops.aten.slice(delta, dim, start, end, step),
    takes="input, src, dim: int = 0, start: Any = None, end: Any = None, step: int = 1", linear=("input", "src"),
    shapes="input, output, delta (*, L, *)   src (*, K, *)",
)  # fmt: skip
DiagonalScatter = rule(
    "diagonal_scatter", "x, with src written to a diagonal", "delta_input = delta, 0 there   delta_src = delta there",
    lambda delta, src_shape, offset, dim1, dim2: delta.diagonal_scatter(delta.new_zeros(src_shape), offset, dim1, dim2),
    lambda delta, offset, dim1, dim2: delta.diagonal(offset, dim1, dim2),
    takes="input, src, offset: int = 0, dim1: int = 0, dim2: int = 1", linear=("input", "src"),
    shapes="input, output, delta (*, M, *, N, *)   src (*, K)",
)  # fmt: skip


def fill_tangent(input: Tensor, dim: int, index: Tensor, value: Any, *tangents: Tensor | None) -> Tensor:
    moved, _, _, value_moved = tangents
    moved = torch.zeros_like(input) if moved is None else moved
    return moved.index_fill(dim, index, 0 if value_moved is None else value_moved)


class IndexAdd(Rule):
    """y = x, with alpha times the slices of a source added at index along an axis

    input, output, delta (*, L, *)   index (K,)   source (*, K, *)

    delta_input = delta   delta_source = alpha delta at index

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is adding to what was copied.
    """

    operator = "index_add"
    linear = ("input", "source")

    def forward(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
        return torch.index_add(input, dim, index, source, alpha=alpha)

    def forward_(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float) -> Tensor:
        return input.index_add_(dim, index, source, alpha=alpha)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def delta_source(delta: Tensor, dim: int, index: Tensor, source_shape: torch.Size, alpha: float) -> Tensor:
        return read_slices(delta, dim, index, source_shape) * alpha.conjugate()


class AsStridedScatter(Rule):
    """y = x, with src written to the elements that sizes and strides name

    input, output, delta (*), contiguous   src (size)

    delta_input = delta, 0 there   delta_src = delta there

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of an assignment moves on what was assigned.
    """

    operator = "as_strided_scatter"
    linear = ("input", "src")

    def forward(input: Tensor, src: Tensor, size: list, stride: list, storage_offset: int | None = None) -> Tensor:
        if not input.is_contiguous():
            raise RuntimeError(
                "as_strided_scatter has a derivative only for a contiguous input. "
                f"got: strides {input.stride()}. expected: input.contiguous()"
            )
        return torch.as_strided_scatter(input, src, size, stride, storage_offset)

    def places(input_shape: torch.Size, size: list, stride: list, storage_offset: Any) -> Tensor:
        """The flat indices of the elements of the input that src is written to."""
        return torch.arange(input_shape.numel()).as_strided(size, stride, storage_offset or 0).reshape(-1)

    def delta_input(delta: Tensor, places: Tensor) -> Tensor:
        return delta.reshape(-1).index_fill(0, places.to(delta.device), 0).reshape(delta.shape)

    def delta_src(delta: Tensor, places: Tensor, src_shape: torch.Size) -> Tensor:
        return delta.reshape(-1)[places.to(delta.device)].reshape(src_shape)
