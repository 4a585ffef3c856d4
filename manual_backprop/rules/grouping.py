"""Reductions of groups of elements: scatter_reduce, index_reduce, segment_reduce.

Each source element belongs to the group of one result, which `index` names along the axis `dim`. All three operators
have the same formulas. Elements that are equal to the maximum of their group share its delta evenly.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule


def source_delta(
    delta: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, output: Tensor
) -> Tensor:
    """The delta of each source element; it is 0 for the parts of src that index does not reach."""
    used = src[tuple([slice(size) for size in index.shape])]
    if reduce == "sum":
        found = delta.gather(dim, index)
    elif reduce == "mean":
        found = (delta / members(input, dim, index, include_self)).gather(dim, index)
    elif reduce == "prod":
        found = delta.gather(dim, index) * product_of_others(input, dim, index, used, include_self)
    else:
        share = (delta / ties(input, dim, index, used, output)).gather(dim, index)
        found = share * (used == output.gather(dim, index))
    rest = [(0, size - reached) for size, reached in zip(src.shape, index.shape, strict=True)]
    return F.pad(found, [width for pair in reversed(rest) for width in pair]) if index.shape != src.shape else found


def own_delta(
    delta: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, output: Tensor
) -> Tensor:
    """The delta of the input. With include_self=False it is 0 in each group that has a source."""
    if reduce == "mean":
        delta = delta / members(input, dim, index, include_self)
    elif reduce == "prod":
        delta = delta * torch.ones_like(input).scatter_reduce(dim, index, src, "prod")
    elif reduce != "sum":
        delta = delta / ties(input, dim, index, src, output) * (input == output)
    return delta if include_self else delta.scatter(dim, index, 0)


def moved(
    t_input: Tensor | None, t_src: Tensor | None, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str,
    include_self: bool, output: Tensor,
) -> Tensor:  # fmt: skip
    """The tangent of the output: for each group, the sum of tangents times derivatives. A derivative is the delta that
    the formulas give for delta = 1."""
    given = torch.ones_like(output), input, dim, index, src, reduce, include_self, output
    total = torch.zeros_like(output) if t_input is None else own_delta(*given) * t_input
    if t_src is None:
        return total
    return total.scatter_add(dim, index, source_delta(*given) * t_src)


def members(input: Tensor, dim: int, index: Tensor, include_self: bool) -> Tensor:
    """The number of elements in each group; 1 if the input is the only one."""
    return alone(torch.ones_like(input), dim, index, include_self, 0).scatter_add(
        dim, index, torch.ones_like(index, dtype=input.dtype)
    )


def alone(input: Tensor, dim: int, index: Tensor, include_self: bool, nothing: float) -> Tensor:
    """The input, with `nothing` in the groups that have a source if include_self is False."""
    return input if include_self else input.scatter(dim, index, nothing)


def ties(input: Tensor, dim: int, index: Tensor, src: Tensor, output: Tensor) -> Tensor:
    """The number of elements of each group that are equal to its result. As in torch, the input counts even if
    include_self is False."""
    used = src[tuple([slice(size) for size in index.shape])]
    equal = (used == output.gather(dim, index)).to(output.dtype)
    return (input == output).to(output.dtype).scatter_add(dim, index, equal)


def product_of_others(input: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    """For each source, the product of the others in its group. In a group without 0: the product of all, divided by
    the source. In a group with one 0: the product of the rest for that 0, else 0. In a group with several: 0."""
    zero = src == 0
    nonzero = src.masked_fill(zero, 1)
    zeros = torch.zeros_like(input).scatter_add(dim, index, zero.to(input.dtype)).gather(dim, index)
    own = alone(input, dim, index, include_self, 1)
    product = own.scatter_reduce(dim, index, nonzero, "prod").gather(dim, index)
    return torch.where(zeros == 0, product / nonzero, torch.where(zero & (zeros == 1), product, 0))


class ScatterReduce(Rule):
    """y = sum, prod, mean, amax or amin of each group: of x, where include_self is true, and the sources whose index
    along an axis it is

    input, output, delta (*, L, *)   index (*, K, *)   src (at least as large as index)

    sum:        delta_input = delta                        delta_src = delta of its group
    mean:       delta_input = delta / n                    delta_src = delta / n of its group, of n elements
    prod:       delta_input = delta (product of sources)   delta_src = delta (product of the others)
    amax, amin: the delta in equal parts to all elements of the group that are equal to y
    Where include_self is false, delta_input is 0 in groups that have a source.

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "scatter_reduce.two"
    real_only = True

    def forward(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool = True) -> Tensor:
        return torch.scatter_reduce(input, dim, index, src, reduce, include_self=include_self)

    def delta_input(
        delta: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool,
        output: Tensor,
    ) -> Tensor:  # fmt: skip
        return own_delta(delta, input, dim, index, src, reduce, include_self, output)

    def delta_src(
        delta: Tensor, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool,
        output: Tensor,
    ) -> Tensor:  # fmt: skip
        return source_delta(delta, input, dim, index, src, reduce, include_self, output)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, dim, index, src, reduce, include_self = inputs
        return moved(tangents[0], tangents[3], input, dim, index, src, reduce, include_self, output)


class IndexReduce(Rule):
    """y = prod, mean, amax or amin of each group: of x, where include_self is true, and the slices of a source whose
    index along an axis it is

    input, output, delta (*, L, *)   index (K,)   source (*, K, *)

    mean:       delta_input = delta / n                    delta_source = delta / n of its group, of n elements
    prod:       delta_input = delta (product of sources)   delta_source = delta (product of the others)
    amax, amin: the delta in equal parts to all elements of the group that are equal to y
    Where include_self is false, delta_input is 0 in groups that have a source.

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "index_reduce"
    real_only = True

    def forward(
        input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, include_self: bool = True
    ) -> Tensor:
        return torch.index_reduce(input, dim, index, source, reduce, include_self=include_self)

    def index_of_each(index: Tensor, dim: int, source: Tensor) -> Tensor:
        """The index of each element of the source."""
        if not source.dim():
            return index.reshape(())
        return index.reshape([-1 if axis == dim % source.dim() else 1 for axis in range(source.dim())]).expand_as(
            source
        )

    def delta_input(
        delta: Tensor, input: Tensor, dim: int, index_of_each: Tensor, source: Tensor, reduce: str, include_self: bool,
        output: Tensor,
    ) -> Tensor:  # fmt: skip
        return own_delta(delta, input, dim, index_of_each, source, reduce, include_self, output)

    def delta_source(
        delta: Tensor, input: Tensor, dim: int, index_of_each: Tensor, source: Tensor, reduce: str, include_self: bool,
        output: Tensor,
    ) -> Tensor:  # fmt: skip
        return source_delta(delta, input, dim, index_of_each, source, reduce, include_self, output)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, dim, index, source, reduce, include_self = inputs
        index = IndexReduce.index_of_each(index, dim, source)
        return moved(tangents[0], tangents[3], input, dim, index, source, reduce, include_self, output)


def behind(data: Tensor, axis: int) -> list[int]:
    """The argument of `pad` that appends one segment after the last."""
    return [0, 0] * (data.dim() - 1 - axis % data.dim()) + [0, 1]


class SegmentReduce(Rule):
    """y = sum, mean, max, min or prod of each segment of x along an axis, and of a number `initial`

    data (*, L, *)   lengths (*, S) or offsets (*, S + 1)   output, delta (*, S, *)

    delta_data = delta of its segment, times 1, 1 / n, the product of the others; or for max and min in equal parts to
                 all that are equal to y

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "segment_reduce"

    def forward(
        data: Tensor, reduce: str, lengths: Tensor | None = None, indices: Tensor | None = None,
        offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: float | None = None,
    ) -> Tensor:  # fmt: skip
        return torch.segment_reduce(
            data, reduce, lengths=lengths, indices=indices, offsets=offsets, axis=axis, unsafe=unsafe, initial=initial
        )

    def segments(data: Tensor, lengths: Tensor | None, offsets: Tensor | None, axis: int) -> Tensor:
        """The segment of each element; elements of no segment go to an extra one after the last."""
        if offsets is None:
            assert lengths is not None  # forward has raised an error if both are None
            offsets = F.pad(lengths.cumsum(-1), (1, 0))
        place = torch.arange(data.shape[axis], device=data.device, dtype=offsets.dtype)
        place = place.expand(*offsets.shape[:-1], -1).contiguous()
        segment = (torch.searchsorted(offsets.contiguous(), place, right=True) - 1) % offsets.shape[-1]
        return segment.reshape(*segment.shape, *[1] * (data.dim() - segment.dim())).expand_as(data)

    def delta_data(
        delta: Tensor, data: Tensor, segments: Tensor, reduce: str, axis: int, initial: Any, output: Tensor
    ) -> Tensor:
        delta, output = F.pad(delta, behind(data, axis)), F.pad(output, behind(data, axis))
        if reduce == "prod":
            number = torch.full_like(output, 1 if initial is None else initial)
        else:  # if no element attains the extreme, `initial` does
            nothing = torch.full_like(output, torch.nan)
            number = torch.where(ties(nothing, axis, segments, data, output) == 0, output, nothing)
        return source_delta(delta, number, axis, segments, data, reduce, reduce == "prod", output)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        data, reduce, lengths, _, offsets, axis, _, initial = inputs
        segments = SegmentReduce.segments(data, lengths, offsets, axis)
        slopes = SegmentReduce.delta_data(torch.ones_like(output), data, segments, reduce, axis, initial, output)
        number = output.shape[axis]
        room = F.pad(torch.zeros_like(output), behind(data, axis))
        return room.scatter_add(axis, segments, slopes * tangents[0]).narrow(axis, 0, number)
