"""Finds modules that do the same, so that a program writes them once: two functions, called for each of them.

Two calls of modules are alike if their forward and backward lines are the same up to the values in them. The names of
their parameters may differ in the module's path, with which they begin.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from .loops import looped
from .merging import is_option, mergeable, merged
from .parts import Pair, Part, fixed, ordered, reads, relative, snake, unique, within
from .recording import Recording, Region
from .tape import Line, Operand, ShapeOf, Value, literal

SMALLEST = 8
"""Fewest lines, forward and backward together, for which a pair of functions is written."""

Alike = list[tuple[int, Part]]
"""Calls of modules: the number of each, and its lines."""


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
    """Write a shape as `value.shape` only where the backward reads the value anyway, or the value is a parameter."""
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
        """The lines of a call of a module."""
        inside = self.inside(number)
        forward = [line for line in self.forward if line.call in inside]
        backward = [line for line in self.backward if line.call in inside]
        found = Part(region.path, list(forward), list(backward))
        self.connect(found, forward, backward)
        return found

    def ends(self, path: str) -> Counter[str]:
        """How many modules inside a module have each end of a path: `fc`, `block.fc` ..."""
        found: Counter[str] = Counter()
        for inner in {r.path for r in self.recording.regions if r.path.startswith(path) and r.path != path}:
            parts = inner[len(path) :].strip(".").split(".")
            found.update(".".join(parts[k:]) for k in range(len(parts)))
        return found

    def alone(self, line: Line) -> bool:
        """Whether a line is the only call of a rule that its module makes itself, outside its children."""
        return self._primary[line.owner, line.call] == 1

    def purpose(self, value: Value) -> Value | None:
        """The delta or gradient for which an intermediate value is computed."""
        seen = set()
        while value not in seen:
            seen.add(value)
            line = next((line for line in self.readers[value] if any(line.results)), None)
            found = next((v for v in line.results if v is not None), None) if line is not None else None
            if found is None:
                return None
            if found.of is not None or self.names.get(found):
                return found
            value = found
        return None

    def roles(self, role: str, path: str) -> int:
        """How many values in a module have this role."""
        lines = (*self.forward, *self.backward)
        inside = [line for line in lines if not path or line.owner == path or within(line.owner, path)]
        return sum(value is not None and value.role == role for line in inside for value in line.results)

    def inside(self, number: int) -> set[int]:
        regions, found = self.recording.regions, {number}
        for k in range(number + 1, len(regions)):
            if regions[k].parent in found:
                found.add(k)
        return found

    def connect(self, part: Part, forward: list[Line], backward: list[Line]) -> None:
        """Find the values that go in and out of a part with these lines."""
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
        """A key that is equal for parts that are alike up to their options."""
        numbers: dict[Value, int] = {}

        def said(value: Value) -> str:
            if fixed(value):
                return relative(value.name, part.path)
            return f"v{numbers.setdefault(value, len(numbers))}"

        lines = []
        for line in (*part.forward, *part.backward):
            assert isinstance(line, Line)
            parts = "".join(
                ("#" if is_option(p) else p) if isinstance(p, str) else said(p) if isinstance(p, Value)
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
        """Modules that are alike, the largest first; none inside another."""
        alike: dict[tuple, list[tuple[int, Part]]] = defaultdict(list)
        for number, region in enumerate(self.recording.regions[1:], 1):
            part = self.part(number, region)
            if size(part) >= SMALLEST and part.forward and self.together(part):
                alike[self.signature(part)].append((number, part))
        groups = sorted(self.merged(list(alike.values())), key=lambda g: -(len(g) - 1) * size(g[0][1]))
        taken: set[int] = set()
        found, names = [], set()
        for k, group in enumerate(groups):
            if self.better_inside(group, groups[k + 1 :]):
                continue
            free = [(n, p) for n, p in group if not (self.inside(n) & taken) and not (self.around(n) & taken)]
            # a module and its only child may have the same lines: one is enough
            free = [(n, p) for k, (n, p) in enumerate(free) if not any(n in self.inside(m) for m, _ in free[:k])]
            free.sort(key=lambda found: found[0])
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
            merged(self, pair)
            found.append(pair)
        return found

    def merged(self, groups: list[Alike]) -> list[Alike]:
        """Groups of one class together, where one pair of functions can serve them; those that differ in too many
        options apart."""
        found: list[Alike] = []
        for group in groups:
            alone: list[Alike] = []
            for member in group:
                home = next((g for g in alone if mergeable(self, [*(p for _, p in g), member[1]])), None)
                if home is None:
                    alone.append([member])
                else:
                    home.append(member)
            found += alone
        found.sort(key=lambda g: -size(g[0][1]))
        for k, group in enumerate(found):
            for other in found[k + 1 :]:
                kinds = {self.recording.regions[g[0][0]].kind for g in (group, other) if g}
                if other and len(kinds) == 1 and mergeable(self, [p for _, p in (*group, *other)]):
                    group += other
                    other.clear()
        return [group for group in found if group]

    def better_inside(self, group: Alike, others: list[Alike]) -> bool:
        """Whether pairs for the children of these modules save more lines, as they are alike in more places."""
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
        """Whether the lines are consecutive, in the forward and in the backward."""
        for lines, all_lines in ((part.forward, self.forward), (part.backward, self.backward)):
            if lines:
                begin = all_lines.index(lines[0])  # type: ignore[arg-type]
                if all_lines[begin : begin + len(lines)] != lines:
                    return False
        return True


def size(part: Part) -> int:
    return len(part.forward) + len(part.backward)


def structured(recording: Recording) -> tuple[Part, list[Pair], Finder]:
    """The program, with calls of pairs in it, and the pairs."""
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
