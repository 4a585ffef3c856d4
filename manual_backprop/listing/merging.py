"""Merges modules that are alike but for their options, or but for lines that only some have: the blocks of a ResNet
with stride 1 and 2, with and without downsampling.

One of them is the template, from which both functions are written. An option that differs becomes a parameter. Lines
that others do not have are written below `if at + "downsample.0.weight" in p:`, the name of a parameter that only those
with the lines have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from .parts import Extra, Pair, Part, fixed, reads, relative, within
from .tape import Line, Value

if TYPE_CHECKING:
    from .structure import Finder

MOST = 3
"""Most options by which modules may differ."""


@cache
def is_option(text: str) -> bool:
    """Whether a piece of an expression is one literal."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return not isinstance(found, tuple) or text.startswith("(")


def places(lines: Sequence[Line]) -> Iterator[tuple[Line, int, str]]:
    """Each literal: its line, its position among the line's pieces, and its text."""
    for line in lines:
        for k, piece in enumerate(line.parts):
            if isinstance(piece, str) and is_option(piece):
                yield line, k, piece


def lines_of(part: Part) -> list[Line]:
    return [line for line in (*part.forward, *part.backward) if isinstance(line, Line)]


@dataclass
class Match:
    """Where the lines of one part are in another, which may have further lines."""

    lines: dict[Line, Line] = field(default_factory=dict)
    """The line of the larger part for each line of the smaller one."""
    values: dict[Value, Value] = field(default_factory=dict)
    """The same for values."""
    otherwise: dict[Value, Value] = field(default_factory=dict)
    """A value of a further line, and the value that the smaller part has in its place."""
    asked: str = ""
    """The parameter that only modules with the further lines have."""


def match(finder: Finder, small: Part, large: Part) -> Match | None:
    """How a smaller part lies in a larger one, or None."""
    found = Match()
    for one, other in ((small.forward, large.forward), (small.backward, large.backward)):
        rest = (line for line in other if isinstance(line, Line))
        for line in (line for line in one if isinstance(line, Line)):
            own = key(finder, line, small)
            partner = next((o for o in rest if key(finder, o, large) == own), None)
            if partner is None:
                return None
            found.lines[line] = partner
    ends = [(small.inputs, large.inputs), (small.deltas, large.deltas)]
    if any(len(a) != len(b) for a, b in ends):
        return None
    for a, b in ends:
        found.values.update(zip(a, b, strict=True))
    taken = set(found.lines.values())
    further = [line for line in lines_of(large) if line not in taken]
    extra = {v for line in further for v in line.results if v is not None}
    for line, partner in found.lines.items():
        if not same_operands(found, extra, (line, small.path), (partner, large.path)):
            return None
        found.values.update((a, b) for a, b in zip(line.results, partner.results, strict=True) if a and b)
    ends = [(small.outputs, large.outputs), (small.returned, large.returned)]
    if any([found.values.get(v) for v in a] != b for a, b in ends):
        return None
    if any(found.values.get(v) not in large.kept for v in small.kept):
        return None
    found.asked = only_there(finder, further, small, large)
    return found if not further or (found.asked and in_time(found, large)) else None


def in_time(found: Match, large: Part) -> bool:
    """Whether what stands for a further line's value is there before these lines, so that it can be assigned first."""
    lines, common = lines_of(large), set(found.lines.values())
    for value, other in found.otherwise.items():
        begin = lines.index(value.line)  # type: ignore[arg-type]
        while begin and lines[begin - 1] not in common:
            begin -= 1
        if other.line in lines[begin:]:
            return False
    return True


def key(finder: Finder, line: Line, part: Part) -> tuple:
    """Equal for lines that do the same in the same module, up to literals and values."""
    pieces = tuple(
        "#" if isinstance(p, str) and is_option(p) else p if isinstance(p, str) else type(p).__name__
        for p in line.parts
    )
    named = tuple(
        tuple(relative(f'p["{n}"]', part.path) for n in finder.names[v]) if v is not None else None
        for v in line.results
    )
    owner = line.owner[len(part.path) :] if within(line.owner, part.path) else line.owner == part.path
    return pieces, named, owner, line.effect


def same_operands(found: Match, extra: set[Value], one: tuple[Line, str], other: tuple[Line, str]) -> bool:
    """Whether two lines read the same values. A value of a further line counts as the one that is there otherwise."""
    own, rest = list(reads(one[0])), list(reads(other[0]))
    if one[0].branches:  # the order of a sum of deltas is free
        alike = [a for a in own if found.values.get(a) in rest]
        shared = [found.values[a] for a in alike]
        own = alike + [a for a in own if a not in alike]
        rest = shared + [b for b in rest if b not in shared]
    for a, b in zip(own, rest, strict=True):
        if fixed(a) or fixed(b):
            if relative(a.name, one[1]) != relative(b.name, other[1]):
                return False
        elif a not in found.values:
            return False
        elif b in extra:
            if found.otherwise.setdefault(b, found.values[a]) is not found.values[a]:
                return False
        elif found.values[a] is not b:
            return False
    return True


def only_there(finder: Finder, further: Sequence[Line], small: Part, large: Part) -> str:
    """A parameter of the further lines that the smaller part does not have, without the path; "" if there is none."""
    every = {value.name for value in finder.recording.tape.known.values()}
    for value in (v for line in further for v in reads(line) if fixed(v)):
        name = value.name[3:-2]
        if within(name, large.path):
            own = name[len(large.path) + 1 :]
            if f'p["{small.path}.{own}"]' not in every:
                return own
    return ""


def mergeable(finder: Finder, parts: Sequence[Part]) -> bool:
    """Whether one pair of functions can serve all of these."""
    template = largest(parts)
    matches = [match(finder, part, template) for part in parts]
    found = [m for m in matches if m is not None]
    further = {frozenset(m.lines.values()) for m in found if m.asked}
    return len(found) == len(matches) and len(further) <= 1 and len(differing(template, found)) <= MOST


def largest(parts: Sequence[Part]) -> Part:
    return max(parts, key=lambda part: len(lines_of(part)))


def differing(template: Part, matches: Sequence[Match]) -> dict[tuple[str, ...], list[tuple[Line, int]]]:
    """The options in which parts differ: the literal of each part, and its places in the lines of the template."""
    own = [{other: line for line, other in m.lines.items()} for m in matches]
    found: dict[tuple[str, ...], list[tuple[Line, int]]] = {}
    for line, k, text in places(lines_of(template)):
        column = tuple(str(lines[line].parts[k]) if line in lines else text for lines in own)
        if len(set(column)) > 1:
            found.setdefault(column, []).append((line, k))
    return found


def merged(finder: Finder, pair: Pair) -> None:
    """Set the template of a pair, its options, and the lines that only some of its parts have."""
    template = largest(pair.parts)
    pair.template = Part(**{**vars(template), "forward": list(template.forward), "backward": list(template.backward)})
    matches = [m for part in pair.parts if (m := match(finder, part, template)) is not None]
    for column, found in differing(template, matches).items():
        name = base = option_name(*found[0])
        number = 2
        while name in pair.options:
            name, number = f"{base}_{number}", number + 1
        pair.options[name] = list(column)
        for line, k in found:
            line.parts[k] = name
    smaller = next((m for m in matches if m.asked), None)
    if smaller is not None:
        set_apart(pair.template, smaller)


def option_name(line: Line, k: int) -> str:
    """The name of an option: that of the argument, or `option`."""
    before = line.parts[k - 1] if k else ""
    found = re.search(r"(\w+)=$", before) if isinstance(before, str) else None
    return found[1] if found else "option"


def set_apart(part: Part, found: Match) -> None:
    """Put each run of further lines into an `Extra`."""
    common = set(found.lines.values())
    for lines in (part.forward, part.backward):
        begin = 0
        while begin < len(lines):
            end = begin
            while end < len(lines) and lines[end] not in common:
                end += 1
            if end > begin:
                own = [line for line in lines[begin:end] if isinstance(line, Line)]
                results = {v for line in own for v in line.results if v is not None}
                otherwise = {b: a for b, a in found.otherwise.items() if b in results}
                kept = [v for v in part.kept if v in results and v not in otherwise]
                lines[begin:end] = [Extra(own, found.asked, otherwise, kept)]
            begin += 1
