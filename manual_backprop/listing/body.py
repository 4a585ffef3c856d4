"""Writes the lines of one function of a program: nested expressions, comments, and calls of pairs of functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .names import Scope, operation_of
from .parts import Extra, Item, Loop, Part, fixed, reads, relative
from .structure import Finder
from .tape import Line, Operand, ShapeOf, Value

COMMENT = "   # "
INLINE = 60
"""Most characters of an expression that is nested in another."""
LONG = 80
"""The same for a delta that is only reshaped."""

AGAIN = re.compile(r"\.reshape\([^()]*\)(?=\.reshape\()")
"""A reshape of what is reshaped again."""
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
        self.depth = 1

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
        return AGAIN.sub("", "".join(found))

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
            elif isinstance(item, Extra):
                self.extra(item)
            else:
                self.use(item)

    def extra(self, item: Extra) -> None:
        """Lines that only some modules have, and what the others have in their place."""
        results = {v for line in item.lines for v in line.results if v is not None}
        self.named |= {v for v in results if any(r not in item.lines for r in self.finder.readers[v])}
        for value, other in item.otherwise.items():
            self.put(f"{self.scope[value]} = {self.text(other)}", "")
        if item.kept:
            self.put(" = ".join([*(self.scope[v] for v in item.kept), "None"]), "")
        self.put(f'if at + "{item.asked}" in p:', "")
        self.depth += 1
        self.write(item.lines)
        self.depth -= 1

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

    def put(self, code: str, comment: str, deeper: int = 0) -> None:
        space = "    " * (self.depth + deeper)
        self.lines.append(f"{space}{code}{COMMENT if comment else ''}{comment}")

    # calls of pairs

    def use(self, item: Part | Loop) -> None:
        raise NotImplementedError


def asked(reader: Item, value: Value) -> bool:
    """Whether a line reads the shape of a value."""
    return isinstance(reader, Line) and any(isinstance(p, ShapeOf) and p.value is value for p in reader.parts)


def uses(item: Part | Loop | Extra) -> list[Value]:
    """The values that a call of a pair, or lines that are not always there, read."""
    if isinstance(item, Extra):
        return [*item.otherwise.values(), *(v for line in item.lines for v in reads(line))]
    parts = item.parts if isinstance(item, Loop) else [item]
    return [v for part in parts for v in (*part.inputs, *part.deltas)]
