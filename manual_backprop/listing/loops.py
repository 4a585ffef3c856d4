"""Finds consecutive parts that each take what the one before returns, and writes them as a loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .parts import Loop, Pair, Part
from .tape import Value

if TYPE_CHECKING:
    from .structure import Finder


def looped(pair: Pair, whole: Part, finder: Finder) -> None:
    """Replace consecutive parts by loops."""
    places = [k for k, item in enumerate(whole.forward) if isinstance(item, Part) and item.pair is pair]
    runs: list[list[Part]] = []
    for k in places:
        part = whole.forward[k]
        assert isinstance(part, Part)
        if runs and k > 0 and whole.forward[k - 1] is runs[-1][-1] and follows(runs[-1], part, finder):
            runs[-1].append(part)
        else:
            runs.append([part])
    for run in runs:
        if len(run) < 2:
            continue
        begin = whole.forward.index(run[0])
        loop = Loop(run)
        pair.loops.append(loop)
        whole.forward[begin : begin + len(run)] = [loop]
        back = run[::-1]
        if back[0] in whole.backward:
            at = whole.backward.index(back[0])
            together = whole.backward[at : at + len(run)] == back
            if together and all(follows_back(one, other, finder) for one, other in pairwise(back)):
                whole.backward[at : at + len(run)] = [loop]


def chain(one: Sequence[Value], before: Sequence[Value], now: Sequence[Value]) -> list[int] | None:
    """For each value of `now` its position in `before`, or -1 where `one` has the same; None if one is neither."""
    found = []
    for old, new in zip(one, now, strict=True):
        if new in before:
            found.append(list(before).index(new))
        elif new is old:
            found.append(-1)
        else:
            return None
    return found


def follows(run: list[Part], part: Part, finder: Finder) -> bool:
    last = run[-1]
    found = chain(last.inputs, last.outputs, part.inputs)
    if found is None or sorted(k for k in found if k >= 0) != list(range(len(last.outputs))):
        return False
    own = {*part.forward, *part.backward, *last.forward, *last.backward}
    if any(reader not in own for value in last.outputs for reader in finder.readers[value]):
        return False
    return len(run) < 2 or found == chain(run[-2].inputs, run[-2].outputs, last.inputs)


def follows_back(one: Part, other: Part, finder: Finder) -> bool:
    found = chain(one.deltas, one.returned, other.deltas)
    if found is None or sorted(k for k in found if k >= 0) != list(range(len(one.returned))):
        return False
    return all(reader in other.backward for value in one.returned for reader in finder.readers[value])
