"""Writes the calls of pairs of functions: one by one, or as a loop over modules that are alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from .body import Body
from .parts import Loop, Pair, Part
from .tape import Value


class Forward(Body):
    def use(self, item: Part | Loop) -> None:
        if isinstance(item, Part):
            pair = pair_of(item)
            given = ["p", quoted(item.path), *map(self.text, item.inputs), *chosen(pair, [item])]
            results = [*(self.scope[v] for v in item.outputs), f"kept_{self.scope.local(item.path)}{item.again}"]
            self.put(f"{', '.join(results)} = {pair.name}_forward({', '.join(given)})", shapes(item.outputs))
            return
        first, last = item.parts[0], item.parts[-1]
        pair = pair_of(first)
        links = {}
        for old, new in zip(first.inputs, item.parts[1].inputs, strict=True):
            if new in first.outputs:
                links[old] = self.scope[last.outputs[first.outputs.index(new)]]
        for old, name in links.items():
            self.put(f"{name} = {self.text(old)}", "")
        kept = kept_name(item)
        self.put(f"{kept} = []", "")
        vary = {name: values for name, values in of(pair, item.parts).items() if len(set(values)) > 1}
        over = paths([part.path for part in item.parts])
        if vary:
            over = f"zip({over}, {', '.join(map(tuple_of, vary.values()))})"
        self.put(f"for {', '.join(['at', *vary])} in {over}:", "")
        given = ["p", "at", *(links.get(v) or self.text(v) for v in first.inputs), *chosen(pair, item.parts)]
        outputs = ", ".join([*(self.scope[v] for v in last.outputs), "kept"])
        self.put(f"{outputs} = {pair.name}_forward({', '.join(given)})", shapes(last.outputs), 1)
        self.put(f"{kept}.append(kept)", "", 1)


class Backward(Body):
    def use(self, item: Part | Loop) -> None:
        if isinstance(item, Part):
            loop = next((loop for loop in pair_of(item).loops if item in loop.parts), None)
            kept = (
                f"kept_{self.scope.local(item.path)}{item.again}"
                if loop is None
                else f"{kept_name(loop)}[{loop.parts.index(item)}]"
            )
            given = ["p", kept, *map(self.text, item.deltas), "grad"]
            self.called(item, f"{pair_of(item).name}_backward({', '.join(given)})", 0)
            return
        back = item.parts[::-1]
        first, last = back[0], back[-1]
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
        given = ["p", "kept", *(links.get(v) or self.text(v) for v in first.deltas), "grad"]
        self.called(last, f"{pair_of(first).name}_backward({', '.join(given)})", 1)

    def called(self, part: Part, call: str, deeper: int) -> None:
        left = ", ".join(self.target(v) for v in part.returned)
        self.put(f"{left} = {call}" if left else call, shapes(part.returned), deeper)
        self.further(part.returned)


def tuple_of(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"


def pair_of(part: Part) -> Pair:
    assert part.pair is not None
    return part.pair


def of(pair: Pair, parts: Sequence[Part]) -> dict[str, list[str]]:
    """The options of a pair, by name, for some of its parts."""
    places = [pair.parts.index(part) for part in parts]
    return {name: [values[k] for k in places] for name, values in pair.options.items()}


def chosen(pair: Pair, parts: Sequence[Part]) -> list[str]:
    """The options as arguments. In a loop one that varies has its own name."""
    return [f"{name}={values[0] if len(set(values)) == 1 else name}" for name, values in of(pair, parts).items()]


def quoted(path: str) -> str:
    return f'"{path}."'


def kept_name(loop: Loop) -> str:
    pair = pair_of(loop.parts[0])
    number = pair.loops.index(loop) + 1
    return f"kept_{pair.name}s" + (f"_{number}" if number > 1 else "")


def paths(listed: Sequence[str]) -> str:
    """The paths of modules as an expression to iterate over: those with numbers in order as a comprehension."""
    split = [re.split(r"(\d+)", path) for path in listed]
    differ = [k for k in range(len(split[0])) if len({s[k] if k < len(s) else "" for s in split}) > 1]
    names = dict(zip(differ, "ij", strict=False))
    if len({len(s) for s in split}) == 1 and 0 < len(differ) < 3 and all(k % 2 for k in differ) and len(listed) > 2:
        text = "".join(f"{{{names[k]}}}" if k in names else piece for k, piece in enumerate(split[0]))
        found = ranges([[int(s[k]) for k in differ] for s in split])
        if found:
            return f'[f"{text}." {found}]'
    return "(" + ", ".join(map(quoted, listed)) + ")"


def ranges(numbers: list[list[int]]) -> str:
    """`for i in range(...)` through these numbers, or these pairs of numbers; "" where there is no such loop."""
    outer = [n[0] for n in numbers]
    first = list(dict.fromkeys(outer))
    if first != list(range(first[0], first[-1] + 1)) or outer != sorted(outer):
        return ""
    span = f"range({first[0]}, {first[-1] + 1})" if first[0] else f"range({first[-1] + 1})"
    if len(numbers[0]) == 1:
        return f"for i in {span}" if len(first) == len(outer) else ""
    inner = [[n[1] for n in group] for _, group in groupby(numbers, key=lambda n: n[0])]
    if any(found != list(range(len(found))) for found in inner):
        return ""
    counts = [len(found) for found in inner]
    if len(set(counts)) == 1:
        return f"for i in {span} for j in range({counts[0]})"
    start = f", {first[0]}" if first[0] else ""
    return f"for i, n in enumerate(({', '.join(map(str, counts))}){start}) for j in range(n)"


def shapes(values: Iterable[Value]) -> str:
    return ", ".join(str(v.shape) for v in values)
