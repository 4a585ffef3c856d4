"""Helpers of the recurrent rules: the order of the steps, rows of packed sequences, gradients summed over segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.terms import flat, total, widen
from ..engine.torch_private import unsafe_view

Sizes = tuple[int, ...]
"""The number of rows of each step."""


class Part(NamedTuple):
    """A segment of consecutive steps: where its rows begin and end, and the number of rows of each step."""

    begin: int
    end: int
    sizes: Sizes

    def of(self, rows: Tensor) -> Tensor:
        return rows[self.begin : self.end]


def wide(*tensors: Tensor | None) -> list:
    """The tensors, bfloat16 and float16 cast to float32. Raises RuntimeError if their dtypes differ."""
    dtypes = list(dict.fromkeys([tensor.dtype for tensor in tensors if tensor is not None]))
    if len(dtypes) > 1:
        got = ", ".join(map(str, dtypes))
        raise RuntimeError(
            f"a recurrent layer computes in one dtype. got: {got}. expected: input, states and parameters of one dtype"
        )
    return widen(*tensors)


def order(sizes: Sizes, reverse: bool) -> Sequence[int]:
    """The indices of the steps, in the order in which they are computed."""
    return range(len(sizes))[:: -1 if reverse else 1]


def parts(sizes: Sizes, reverse: bool, segment: int) -> list[Part]:
    """All steps in segments of `segment` steps (0: one segment), in the order in which they are computed."""
    found, begin = [], 0
    for first in range(0, len(sizes), segment or len(sizes)):
        some = sizes[first : first + (segment or len(sizes))]
        found.append(Part(begin, begin + sum(some), some))
        begin += sum(some)
    return found[::-1] if reverse else found


def joined(pieces: Mapping[int, Tensor]) -> Tensor:
    """The rows of all pieces in one tensor, in the order of the keys."""
    listed = [pieces[key] for key in sorted(pieces)]
    return torch.cat(listed) if len(listed) > 1 else listed[0]


def shaped(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (S, H) in the dtype of `like`, and as (T, N, H) if `like` has three axes."""
    rows = rows.to(like.dtype)
    return rows if like.dim() == 2 else unsafe_view(rows, (*like.shape[:-1], rows.shape[-1]))


def plus(one: Tensor, other: Tensor | None) -> Tensor:
    """The sum; `one` alone if `other` is None."""
    return one if other is None else one + other


def renewed(states: Tensor, new: Tensor) -> Tensor:
    """The states after a step: new ones for its rows, which come first; the other rows keep theirs."""
    rows = new.shape[0]
    return new if rows == states.shape[0] else torch.cat([new, states[rows:]])


def apart(states: Tensor) -> Tensor:
    """The last states as a result beside the output: a copy, since after one step they are the output, and two results
    of a Function may not share memory. In a compiled graph they may. There the compiler would remove the copy and not
    notice that the output, which is saved, now shares memory with what a caller got: the backward writes into it."""
    return states if torch.compiler.is_dynamo_compiling() else states.clone()


def copied(kept: Tensor, state: Tensor) -> Tensor:
    """What is kept for the backward, and is not differentiated: a copy if it is the last state itself, which is."""
    return kept.clone() if kept is state else kept


def shifted(states: Tensor, initial: Tensor, sizes: Sizes, reverse: bool) -> Tensor:
    """(S, H): the state of each row before its step, taken from the states after each step."""
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
    """The states of all rows before a segment; `before` holds the states of its rows before each of its steps."""
    rows = part.sizes[-1] if reverse else part.sizes[0]
    return renewed(initial, before[len(before) - rows :] if reverse else before[:rows])


def in_order(rows: Tensor | None, sizes: Sizes, reverse: bool) -> Iterator[tuple[int, Tensor | None]]:
    """(index, rows) of each step, in the order in which the steps are computed."""
    listed = [None] * len(sizes) if rows is None else rows.split(sizes)
    return ((t, listed[t]) for t in order(sizes, reverse))


def backwards(rows: Tensor | None, sizes: Sizes, reverse: bool) -> Iterator[tuple[int, Tensor | None]]:
    """(index, rows) of each step, in the reverse order."""
    return in_order(rows, sizes, not reverse)


def moved_products(
    t_factors: Tensor | None, t_weight: Tensor | None, t_bias: Tensor | None, factors: Tensor, weight: Tensor
) -> Tensor | None:
    """The tangent of factors W^T + b, for the gates of every row."""
    return total(
        None if t_factors is None else F.linear(flat(t_factors), weight),
        None if t_weight is None else F.linear(factors, t_weight),
        None if t_bias is None else t_bias.expand(len(factors), -1),
    )


def added(found: list, new: list, begin: int) -> list:
    """Add the gradients of one more segment to `found`, at first []: delta_input is collected, others are summed."""
    pieces, *others = found or [{}]
    pieces[begin] = new[0]
    return [pieces, *(map(total, others, new[1:]) if others else new[1:])]


def finished(found: list, output: Tensor) -> tuple:
    """The gradients that the backward returns, in the dtype of the layer."""
    pieces, *others = found
    delta_input = None
    if all(piece is not None for piece in pieces.values()):
        rows = joined(pieces)
        delta_input = rows.reshape(*output.shape[:-1], rows.shape[-1])
    return tuple([g if g is None else g.to(output.dtype) for g in (delta_input, *others)])
