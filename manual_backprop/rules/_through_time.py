"""What the recurrent rules share: the order of steps, rows of packed sequences, and sums over parts of the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.terms import flat, total, widen
from ..engine.torch_private import unsafe_view

Sizes = tuple[int, ...]
"""How many rows each step has."""


class Part(NamedTuple):
    """Some steps in a row: where their rows begin and end, and how many each has."""

    begin: int
    end: int
    sizes: Sizes

    def of(self, rows: Tensor) -> Tensor:
        return rows[self.begin : self.end]


def wide(*tensors: Tensor | None) -> list:
    """bfloat16 and float16 as float32. Raises RuntimeError for several dtypes."""
    dtypes = list(dict.fromkeys([tensor.dtype for tensor in tensors if tensor is not None]))
    if len(dtypes) > 1:
        raise RuntimeError(f"a recurrent layer computes in one dtype. got: {', '.join(map(str, dtypes))}")
    return widen(*tensors)


def order(sizes: Sizes, reverse: bool) -> Sequence[int]:
    """The steps as they are computed."""
    return range(len(sizes))[:: -1 if reverse else 1]


def parts(sizes: Sizes, reverse: bool, segment: int) -> list[Part]:
    """All steps, `segment` of them at a time (0: all at once), as they are computed."""
    found, begin = [], 0
    for first in range(0, len(sizes), segment or len(sizes)):
        some = sizes[first : first + (segment or len(sizes))]
        found.append(Part(begin, begin + sum(some), some))
        begin += sum(some)
    return found[::-1] if reverse else found


def joined(pieces: Mapping[int, Tensor]) -> Tensor:
    """Rows one behind the other, in the order of the keys."""
    listed = [pieces[key] for key in sorted(pieces)]
    return torch.cat(listed) if len(listed) > 1 else listed[0]


def shaped(rows: Tensor, like: Tensor) -> Tensor:
    """(S, H) as (T, N, H) where `like` has these axes, in its dtype."""
    rows = rows.to(like.dtype)
    return rows if like.dim() == 2 else unsafe_view(rows, (*like.shape[:-1], rows.shape[-1]))


def plus(one: Tensor, other: Tensor | None) -> Tensor:
    """The sum, where there is another."""
    return one if other is None else one + other


def renewed(states: Tensor, new: Tensor) -> Tensor:
    """The states behind a step: the first ones are new, the others stay."""
    rows = new.shape[0]
    return new if rows == states.shape[0] else torch.cat([new, states[rows:]])


def shifted(states: Tensor, initial: Tensor, sizes: Sizes, reverse: bool) -> Tensor:
    """(S, H): for each row the state before the step, out of those behind it."""
    rows = sizes[0]
    if rows == sizes[-1]:
        ends = [states[rows:], initial[:rows]] if reverse else [initial[:rows], states[: len(states) - rows]]
        return torch.cat(ends)
    behind, found = states.split(sizes), {}
    for t in order(sizes, reverse):
        found[t] = initial[: sizes[t]]
        initial = renewed(initial, behind[t])
    return joined(found)


def first_state(before: Tensor, initial: Tensor, part: Part, reverse: bool) -> Tensor:
    """The states of all rows before a part; `before` has those of its own rows before each step."""
    rows = part.sizes[-1] if reverse else part.sizes[0]
    return renewed(initial, before[len(before) - rows :] if reverse else before[:rows])


def in_order(rows: Tensor | None, sizes: Sizes, reverse: bool) -> Iterator[tuple[int, Tensor | None]]:
    """Each step as they are computed, and its rows."""
    listed = [None] * len(sizes) if rows is None else rows.split(sizes)
    return ((t, listed[t]) for t in order(sizes, reverse))


def backwards(rows: Tensor | None, sizes: Sizes, reverse: bool) -> Iterator[tuple[int, Tensor | None]]:
    """Each step, the last first, and its rows."""
    return in_order(rows, sizes, not reverse)


def moved_products(
    t_factors: Tensor | None, t_weight: Tensor | None, t_bias: Tensor | None, factors: Tensor, weight: Tensor
) -> Tensor | None:
    """The tangent of a weight's and a bias's contribution to the gates of every row."""
    return total(
        None if t_factors is None else F.linear(flat(t_factors), weight),
        None if t_weight is None else F.linear(factors, t_weight),
        None if t_bias is None else t_bias.expand(len(factors), -1),
    )


def added(found: list, new: list, begin: int) -> list:
    """The gradients of one more part, the first with an empty list: delta_input is joined, all others are summed."""
    pieces, *others = found or [{}]
    pieces[begin] = new[0]
    return [pieces, *(map(total, others, new[1:]) if others else new[1:])]


def finished(found: list, output: Tensor) -> tuple:
    """What the backward returns: of the dtype of all that the forward took and returned."""
    pieces, *others = found
    delta_input = None
    if all(piece is not None for piece in pieces.values()):
        rows = joined(pieces)
        delta_input = rows.reshape(*output.shape[:-1], rows.shape[-1])
    return tuple([g if g is None else g.to(output.dtype) for g in (delta_input, *others)])
