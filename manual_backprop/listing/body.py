"""Writes the lines of one function of a program: nested expressions, comments, and calls of pairs of functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .names import Scope, operation_of
from .parts import Item, Loop, Part, fixed, reads, relative
from .structure import Finder
from .tape import Line, Operand, ShapeOf, Value

COMMENT = "   # "
INLINE = 60
"""Most characters of an expression that is nested in another."""
LONG = 80
"""The same for a delta that is only reshaped."""

VIEW = re.compile(
    r"_(\.(reshape|transpose|permute|expand|sum_to_size|unsqueeze|squeeze|T|mT)(\([^()]*(\([^()]*\))?[^()]*\))?)+"
)


def pattern(line: Line) -> str:
    """A line with "_" in the place of each value."""
    return "".join(part if isinstance(part, str) else "_" for part in line.parts)


class Body:
    """The lines of one function."""

    def __init__(self, finder: Finder, scope: Scope, named: Iterable[Value], gradients: bool) -> None:
        self.finder, self.scope, self.named = finder, scope, set(named)
        self.gradients = gradients
        """Whether values that are gradients are written into `grad`."""
        self.inline: dict[Value, str] = {}
        self.infix: set[Value] = set()
        self.lines: list[str] = []

    # expressions

    def text(self, value: Value, operand: bool = False) -> str:
        if places := self.places(value):
            return places[0]
        if value in self.inline:
            found = self.inline[value]
            return f"({found})" if operand and value in self.infix else found
        return self.scope[value]

    def expression(self, line: Line) -> str:
        found = []
        for part in line.parts:
            if isinstance(part, ShapeOf):
                found.append(f"{self.scope[part.value]}.shape")
            elif isinstance(part, Operand):
                found.append(self.text(part.value, operand=True))
            else:
                found.append(part if isinstance(part, str) else self.text(part))
        return "".join(found)

    # lines

    def write(self, items: Sequence[Item]) -> None:
        count: Counter[Value] = Counter()
        for item in items:
            values = reads(item) if isinstance(item, Line) else uses(item)
            count.update([v for v in values] * (1 if isinstance(item, Line) else 2))
        effects = [k for k, item in enumerate(items) if isinstance(item, Line) and item.effect]
        reader = {v: k for k, item in enumerate(items) if isinstance(item, Line) for v in item.values()}
        for k, item in enumerate(items):
            if isinstance(item, Line):
                value = item.results[0] if item.results else None
                may = (
                    item.single and not item.effect and value is not None and value not in self.named
                    and not self.places(value)
                    and count[value] == 1 and value in reader and self.passing(value, items[reader[value]])
                    and not any(k < e <= reader[value] for e in effects)
                    and not asked(items[reader[value]], value)
                )  # fmt: skip
                text = self.expression(item)
                if may and value is not None and len(text) <= (INLINE if value.of is None else LONG):
                    self.inline[value] = text
                    if item.infix:
                        self.infix.add(value)
                else:
                    self.line(item, text)
            else:
                self.use(item)

    def passing(self, value: Value, reader: Item) -> bool:
        """Whether a value needs no name: an intermediate, a term of arithmetic, or a delta that is only reshaped."""
        assert value.line is not None
        if not value.kind and value.of is None:
            return True
        if value.of is not None:
            return not fixed(value.of) and isinstance(reader, Line) and bool(VIEW.fullmatch(pattern(reader)))
        rule = value.line.function
        return value.kind == "y" and rule is not None and rule[0].__module__.endswith((".arithmetic", ".powers"))

    def line(self, line: Line, text: str) -> None:
        if line.effect:
            self.put(text, "")
            return
        targets = [self.target(value) for value in line.results]
        comment = ", ".join(str(v.shape) if v is not None else "None" for v in line.results)
        if line.branches:
            terms = [part.value for part in line.parts if isinstance(part, Operand)]
            ways = [self.branch(b, term, line.branches) for b, term in zip(line.branches, terms, strict=True)]
            comment += f"   branches: {', '.join(ways)}"
        if line.single and line.results[0] is not None:
            targets = self.places(line.results[0]) or targets
            self.put(f"{' = '.join(targets)} = {text}", comment)
            return
        left = ", ".join(targets) + ("," if not line.single and len(targets) == 1 else "")
        self.put(f"{left} = {text}", comment)
        self.further(line.results)

    def further(self, values: Iterable[Value | None]) -> None:
        """Where several parameters share one gradient tensor, write it into the other places, too."""
        for value in values:
            for place in self.places(value)[1:] if value is not None else ():
                self.put(f"{place} = {self.places(value)[0]}", "")  # type: ignore[arg-type]

    def branch(self, path: str, term: Value, paths: list[str]) -> str:
        """The name of a branch: its module. Where two branches have the same module: the rule."""
        if paths.count(path) > 1 and term.line is not None and term.line.function is not None:
            return operation_of(term.line)
        return self.scope.local(path) or "skip"

    def target(self, value: Value | None) -> str:
        """What a result is assigned to: a name, or for a gradient its place in `grad`."""
        if value is None:
            return "_"
        if places := self.places(value):
            return places[0]
        if not self.finder.readers[value] and value not in self.named:
            return "_"
        return self.scope[value]

    def places(self, value: Value) -> list[str]:
        if not self.gradients or value.line is None or value.line in self.finder.forward_set:
            return []
        path = self.scope.path
        return [self.place(n) for n in self.finder.names.get(value, ()) if not path or n.startswith(f"{path}.")]

    def place(self, name: str) -> str:
        return relative(f'grad["{name}"]', self.scope.path)

    def put(self, code: str, comment: str, indent: int = 4) -> None:
        self.lines.append(f"{' ' * indent}{code}{COMMENT if comment else ''}{comment}")

    # calls of pairs

    def use(self, item: Part | Loop) -> None:
        raise NotImplementedError


def asked(reader: Item, value: Value) -> bool:
    """Whether a line reads the shape of a value."""
    return isinstance(reader, Line) and any(isinstance(p, ShapeOf) and p.value is value for p in reader.parts)


def uses(item: Part | Loop) -> list[Value]:
    """The values that a call of a pair reads."""
    parts = item.parts if isinstance(item, Loop) else [item]
    return [v for part in parts for v in (*part.inputs, *part.deltas)]


class Forward(Body):
    def use(self, item: Part | Loop) -> None:
        if isinstance(item, Part):
            assert item.pair is not None
            name = f"kept_{self.scope.local(item.path)}{item.again}"
            call = f"{item.pair.name}_forward({', '.join(['p', quoted(item.path), *map(self.text, item.inputs)])})"
            results = [*(self.scope[v] for v in item.outputs), name]
            self.put(f"{', '.join(results)} = {call}", shapes(item.outputs))
            return
        first, last = item.parts[0], item.parts[-1]
        pair = first.pair
        assert pair is not None
        links = {}
        for old, new in zip(first.inputs, item.parts[1].inputs, strict=True):
            if new in first.outputs:
                links[old] = self.scope[last.outputs[first.outputs.index(new)]]
        for old, name in links.items():
            self.put(f"{name} = {self.text(old)}", "")
        kept = kept_name(item)
        self.put(f"{kept} = []", "")
        self.put(f"for at in {paths(item.parts)}:", "")
        arguments = ", ".join(["p", "at", *(links.get(v) or self.text(v) for v in first.inputs)])
        outputs = ", ".join([*(self.scope[v] for v in last.outputs), "kept"])
        self.put(f"{outputs} = {pair.name}_forward({arguments})", shapes(last.outputs), 8)
        self.put(f"{kept}.append(kept)", "", 8)


class Backward(Body):
    def use(self, item: Part | Loop) -> None:
        if isinstance(item, Part):
            assert item.pair is not None
            loop = next((loop for loop in item.pair.loops if item in loop.parts), None)
            kept = (
                f"kept_{self.scope.local(item.path)}{item.again}"
                if loop is None
                else f"{kept_name(loop)}[{loop.parts.index(item)}]"
            )
            arguments = ["p", kept, *map(self.text, item.deltas), "grad"]
            self.called(item, f"{item.pair.name}_backward({', '.join(arguments)})", 4)
            return
        back = item.parts[::-1]
        first, last = back[0], back[-1]
        assert first.pair is not None
        links: dict[Value, str] = {}
        for old, new in zip(first.deltas, back[1].deltas, strict=True):
            if new in first.returned:
                links[old] = self.scope[last.returned[first.returned.index(new)]]
        for old, name in tuple(links.items()):
            if old not in self.inline and all(r in first.backward for r in self.finder.readers[old]):
                links[old] = self.scope[old]  # the same name before, in and after the loop
                self.scope.names[next(v for v in last.returned if self.scope[v] == name)] = self.scope[old]
            else:
                self.put(f"{name} = {self.text(old)}", "")
        self.put(f"for kept in reversed({kept_name(item)}):", "")
        given = ", ".join(["p", "kept", *(links.get(v) or self.text(v) for v in first.deltas), "grad"])
        self.called(last, f"{first.pair.name}_backward({given})", 8)

    def called(self, part: Part, call: str, indent: int) -> None:
        left = ", ".join(self.target(v) for v in part.returned)
        self.put(f"{left} = {call}" if left else call, shapes(part.returned), indent)
        self.further(part.returned)


def quoted(path: str) -> str:
    return f'"{path}."'


def kept_name(loop: Loop) -> str:
    pair = loop.parts[0].pair
    assert pair is not None
    number = pair.loops.index(loop) + 1
    return f"kept_{pair.name}s" + (f"_{number}" if number > 1 else "")


def paths(parts: Sequence[Part]) -> str:
    """The paths of modules as an expression to iterate over."""
    listed = [part.path for part in parts]
    split = [re.split(r"(\d+)", path) for path in listed]
    if len({len(s) for s in split}) == 1:
        different = [k for k in range(len(split[0])) if len({s[k] for s in split}) > 1]
        if len(different) == 1 and split[0][different[0]].isdigit():
            k = different[0]
            numbers = [int(s[k]) for s in split]
            step = 1 if numbers[-1] > numbers[0] else -1
            if numbers == list(range(numbers[0], numbers[-1] + step, step)) and len(numbers) > 2:
                span = f"{numbers[0]}, {numbers[-1] + 1}" if numbers[0] else str(numbers[-1] + 1)
                span = span if step > 0 else f"{numbers[0]}, {numbers[-1] - 1}, -1"
                text = "".join(["{i}" if j == k else part for j, part in enumerate(split[0])])
                return f'[f"{text}." for i in range({span})]'
    return "(" + ", ".join(map(quoted, listed)) + ")"


def shapes(values: Iterable[Value]) -> str:
    return ", ".join(str(v.shape) for v in values)
