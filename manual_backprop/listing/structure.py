"""Finds modules that do the same, so that a program writes them once: two functions, called for each of them.

Two calls of modules are alike if their lines are, forward and backward, but for the values in them and for the
parameters' names, which begin with the module's own path.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .record import Recording, Region
from .tape import Line, Operand, ShapeOf, Value, literal

SMALLEST = 8
"""Lines, forward and backward, of what is worth a pair of functions."""


@dataclass(eq=False)
class Part:
    """Lines forward and backward that belong together, and what goes in and out of them."""

    path: str
    forward: list[Item]
    backward: list[Item]
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    kept: list[Value] = field(default_factory=list)
    deltas: list[Value] = field(default_factory=list)
    returned: list[Value] = field(default_factory=list)
    pair: Pair | None = None
    again: str = ""
    """_2, _3 ... of a further call of the same module."""


@dataclass(eq=False)
class Pair:
    """A pair of functions, written from the first of the parts that are alike."""

    name: str
    parts: list[Part]
    loops: list[Loop] = field(default_factory=list)


@dataclass(eq=False)
class Loop:
    """Parts one behind the other, each of which takes what the one before returns; the rest is the same for all."""

    parts: list[Part]


Item = Line | Part | Loop
Alike = list[tuple[int, Part]]
"""Calls of modules by their number, and what each has written."""


def live(recording: Recording) -> list[Line]:
    """The lines that the loss, a gradient, or a tensor from outside depends on."""
    needed = {recording.loss, *recording.gradients.values()}
    outside = {value.memory for value in recording.tape.known.values() if value.name}
    found = []
    for line in reversed(recording.tape.lines):
        written = line.writes or [value for value in line.values()][:1]
        memory = outside | {value.memory for value in needed}
        effect = line.effect and any(value.memory in memory for value in written)
        if effect or any(value in needed for value in line.results if value is not None):
            needed |= set(line.values())
            found.append(line)
    return found[::-1]


def shapes_at_hand(lines: Iterable[Line]) -> None:
    """Write a shape as that of a value only where the backward reads the value anyway, or it is a parameter."""
    lines = list(lines)
    read = {value for line in lines for value in line.values()}
    for line in lines:
        for k, part in enumerate(line.parts):
            if isinstance(part, ShapeOf) and not (part.value in read or part.value.name.startswith("p[")):
                line.parts[k] = literal(part.shape)


class Finder:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        lines = live(recording)
        forward = set(recording.tape.lines[: recording.forward])
        self.forward = [line for line in lines if line in forward]
        self.backward = [line for line in lines if line not in forward]
        shapes_at_hand(self.backward)
        self.forward_set = set(self.forward)
        primary = [
            (line.owner, line.call)
            for line in self.forward
            if any(v and v.kind in ("z", "a", "y") for v in line.results)
        ]
        self._primary = Counter(primary)
        self.names: dict[Value, list[str]] = defaultdict(list)
        for name, value in recording.gradients.items():
            self.names[value].append(name)
        self.readers: dict[Value, list[Line]] = defaultdict(list)
        for line in lines:
            for value in reads(line):
                self.readers[value].append(line)

    def part(self, number: int, region: Region) -> Part:
        """What a call of a module has written."""
        inside = self.inside(number)
        forward = [line for line in self.forward if line.call in inside]
        backward = [line for line in self.backward if line.call in inside]
        found = Part(region.path, list(forward), list(backward))
        self.connect(found, forward, backward)
        return found

    def ends(self, path: str) -> Counter[str]:
        """How many modules in a module have each end of a path: `fc`, `block.fc` ..."""
        found: Counter[str] = Counter()
        for inner in {r.path for r in self.recording.regions if r.path.startswith(path) and r.path != path}:
            parts = inner[len(path) :].strip(".").split(".")
            found.update(".".join(parts[k:]) for k in range(len(parts)))
        return found

    def alone(self, line: Line) -> bool:
        """Whether it is the only call of a rule that its module makes itself."""
        return self._primary[line.owner, line.call] == 1

    def purpose(self, value: Value) -> Value | None:
        """The delta or gradient that a value on the way to it is for."""
        seen = set()
        while value not in seen:
            seen.add(value)
            line = next(iter(self.readers[value]), None)
            found = next((v for v in line.results if v is not None), None) if line is not None else None
            if found is None:
                return None
            if found.of is not None or self.names.get(found):
                return found
            value = found
        return None

    def inside(self, number: int) -> set[int]:
        regions, found = self.recording.regions, {number}
        for k in range(number + 1, len(regions)):
            if regions[k].parent in found:
                found.add(k)
        return found

    def connect(self, part: Part, forward: list[Line], backward: list[Line]) -> None:
        """Find what goes in and out of some lines."""
        own = {*forward, *backward}
        made = {v for line in forward for v in line.results if v is not None}
        derived = {v for line in backward for v in line.results if v is not None}
        part.inputs = unique(v for line in forward for v in reads(line) if v not in made and not fixed(v))
        read_later = {v for line in backward for v in reads(line)}
        part.kept = unique(
            [v for v in (*part.inputs, *ordered(made, forward)) if v in read_later]
            + [v for line in backward for v in reads(line) if v in self.given() and v not in made]
        )
        outside = {v for v in made if any(reader not in own for reader in self.readers[v])}
        part.outputs = [v for v in ordered(made, forward) if v in outside or v is self.recording.loss]
        part.deltas = unique(
            v for line in backward for v in reads(line) if v not in derived and v not in part.kept and not fixed(v)
        )
        away = {
            v for v in derived
            if any(reader not in own for reader in self.readers[v])
            or any(not within(n, part.path) for n in self.names[v])
        }  # fmt: skip
        part.returned = [v for v in ordered(derived, backward) if v in away]

    def given(self) -> set[Value]:
        """Inputs and targets, and all that the forward computes."""
        if not hasattr(self, "_given"):
            self._given = {v for line in self.forward for v in line.results if v is not None}
            self._given |= {v for v in self.recording.tape.known.values() if v.name and not fixed(v)}
        return self._given

    def signature(self, part: Part) -> tuple:
        """What parts that are alike have in common."""
        numbers: dict[Value, int] = {}

        def said(value: Value) -> str:
            if fixed(value):
                return relative(value.name, part.path)
            return f"v{numbers.setdefault(value, len(numbers))}"

        lines = []
        for line in (*part.forward, *part.backward):
            assert isinstance(line, Line)
            parts = "".join(
                p if isinstance(p, str) else said(p) if isinstance(p, Value)
                else f"({said(p.value)})" if isinstance(p, Operand) else f"{said(p.value)}.shape"
                for p in line.parts
            )  # fmt: skip
            results = [
                (said(v), tuple(relative(f'p["{n}"]', part.path) for n in self.names[v])) if v is not None else None
                for v in line.results
            ]
            lines.append((parts, tuple(results), line.effect))
        ends = [tuple(map(said, vs)) for vs in (part.inputs, part.outputs, part.kept, part.deltas, part.returned)]
        return tuple(lines), tuple(ends)

    def pairs(self) -> list[Pair]:
        """Modules that are alike, the largest first; none within another."""
        alike: dict[tuple, list[tuple[int, Part]]] = defaultdict(list)
        for number, region in enumerate(self.recording.regions[1:], 1):
            part = self.part(number, region)
            if size(part) >= SMALLEST and part.forward and self.together(part):
                alike[self.signature(part)].append((number, part))
        groups = sorted(alike.values(), key=lambda g: -(len(g) - 1) * size(g[0][1]))
        taken: set[int] = set()
        found, names = [], set()
        for k, group in enumerate(groups):
            if self.better_inside(group, groups[k + 1 :]):
                continue
            free = [(n, p) for n, p in group if not (self.inside(n) & taken) and not (self.around(n) & taken)]
            # of a module and its only child one is enough
            free = [(n, p) for k, (n, p) in enumerate(free) if not any(n in self.inside(m) for m, _ in free[:k])]
            if len(free) < 2:
                continue
            for n, _ in free:
                taken |= self.inside(n)
            name = base = snake(self.recording.regions[free[0][0]].kind.__name__)
            k = 2
            while name in names:
                name, k = f"{base}_{k}", k + 1
            names.add(name)
            pair = Pair(name, [p for _, p in free])
            calls: Counter[str] = Counter()
            for p in pair.parts:
                p.pair = pair
                calls[p.path] += 1
                p.again = f"_{calls[p.path]}" if calls[p.path] > 1 else ""
            found.append(pair)
        return found

    def better_inside(self, group: Alike, others: list[Alike]) -> bool:
        """Whether what is in modules that are alike is alike in more places: pairs of those then save more."""
        own = set().union(*(self.inside(n) - {n} for n, _ in group))
        saved, covered = 0, set[int]()
        for other in others:
            inner = [n for n, _ in other if n in own and n not in covered]
            if inner:
                saved += (len(other) - 1) * size(other[0][1])
                covered |= set().union(*(self.inside(n) for n, _ in other))
        return saved > (len(group) - 1) * size(group[0][1])

    def around(self, number: int) -> set[int]:
        found: set[int] = set()
        while number > 0:
            number = self.recording.regions[number].parent
            found.add(number)
        return found - {0, -1}

    def together(self, part: Part) -> bool:
        """Whether the lines stand one behind the other, forward and backward."""
        for lines, all_lines in ((part.forward, self.forward), (part.backward, self.backward)):
            if lines:
                begin = all_lines.index(lines[0])  # type: ignore[arg-type]
                if all_lines[begin : begin + len(lines)] != lines:
                    return False
        return True


def size(part: Part) -> int:
    return len(part.forward) + len(part.backward)


def structured(recording: Recording) -> tuple[Part, list[Pair], Finder]:
    """The program, with uses of pairs in it, and the pairs."""
    finder = Finder(recording)
    pairs = finder.pairs()
    whole = Part("", list(finder.forward), list(finder.backward))
    finder.connect(whole, finder.forward, finder.backward)
    for pair in pairs:
        for part in pair.parts:
            for lines, own in ((whole.forward, part.forward), (whole.backward, part.backward)):
                if own:
                    begin = lines.index(own[0])
                    lines[begin : begin + len(own)] = [part]
    for pair in pairs:
        looped(pair, whole, finder)
    outer_reads = [v for item in whole.backward if isinstance(item, Line) for v in reads(item)]
    chained = {v for pair in pairs for loop in pair.loops for part in loop.parts[:-1] for v in part.outputs}
    whole.kept = unique(v for v in outer_reads if v in finder.given() and not fixed(v) and v not in chained)
    return whole, pairs, finder


def looped(pair: Pair, whole: Part, finder: Finder) -> None:
    """Put loops in the places of parts one behind the other."""
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
    """For each value that is taken now, which one returned before it is, -1 for the same as before; None: neither."""
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


def reads(line: Line) -> Iterable[Value]:
    """What a line reads, and of what it asks the shape."""
    for part in line.parts:
        if isinstance(part, (Operand, ShapeOf)):
            yield part.value
        elif isinstance(part, Value):
            yield part


def fixed(value: Value) -> bool:
    """Whether a value is the same everywhere: a parameter, or a constant."""
    return value.name.startswith('p["')


def within(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


def relative(name: str, path: str) -> str:
    """p["block.3.fc.weight"] as p[at + "fc.weight"]."""
    return re.sub(rf'^(\w+)\["{re.escape(path)}\.', r'\1[at + "', name) if path else name


def ordered(values: set[Value], lines: list[Line]) -> list[Value]:
    return [v for line in lines for v in line.results if v in values]


def unique(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))


def snake(name: str) -> str:
    name = re.sub(r"(?:[PR]?Re|Si)LU", lambda found: found[0].capitalize(), name)  # one word: relu, prelu, silu
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_")
