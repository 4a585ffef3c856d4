"""Writes a recorded step as source: `forward`, `backward`, and a pair of functions for modules that are alike."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .structure import Finder, Item, Loop, Pair, Part, fixed, reads, relative, snake
from .tape import Line, Operand, ShapeOf, Value

WIDTH = 116
COMMENT = "   # "
INLINE = 60
"""Characters of an expression that is nested in another."""

RESERVED = {"p", "at", "kept", "grad", "torch", "F", "math", "loss_of", "main", "random", "i", "float", "slice", *keyword.kwlist}


class Scope:
    """The names of values in one function. A module is called by the end of its path that no other has."""

    def __init__(self, finder: Finder, path: str, taken: Iterable[str] = ()) -> None:
        self.finder, self.path = finder, path
        self.names: dict[Value, str] = {}
        self.taken = {*RESERVED, *taken}
        self._ends = finder.ends(path)

    def __getitem__(self, value: Value) -> str:
        if fixed(value):
            return relative(value.name, self.path)
        if value not in self.names:
            self.set(value, value.name or self.proposed(value))
        return self.names[value]

    def set(self, value: Value, name: str) -> str:
        base = name if name.isidentifier() else f"v_{name}"
        name, k = base, 2
        while name in self.taken:
            name, k = f"{base}_{k}", k + 1
        self.taken.add(name)
        self.names[value] = name
        return name

    def local(self, path: str) -> str:
        """A module's path as a part of a name, without that of the function's own module."""
        if not path.startswith(self.path) or path == self.path:
            return "" if path == self.path else re.sub(r"\W", "_", path)
        parts = path[len(self.path) :].strip(".").split(".")
        for count in range(1, len(parts)):
            end = parts[-count:]
            if not end[0].isdigit() and self._ends[".".join(end)] == 1:
                return "_".join(end)
        return re.sub(r"\W", "_", "_".join(parts))

    def proposed(self, value: Value) -> str:
        if value.of is not None:
            if fixed(value.of):
                found = "grad_" + re.sub(r"\W+", "_", relative(value.of.name, self.path)[2:]).strip("_").removeprefix("at_")
            else:
                found = f"delta_{self[value.of]}"
            return found + (f"_{self.local(value.branch) or 'skip'}" if value.branch else "")
        owner = self.local(value.line.owner) if value.line is not None else ""
        operation = snake(value.rule) if value.rule else operation_of(value.line) if value.line is not None else "v"
        if value.kind in ("z", "a"):
            return f"{value.kind}{'' if owner[:1].isdigit() else '_'}{owner}" if owner else f"{value.kind}_{operation}"
        if value.kind and owner[:1].isdigit() and (value.kind != "y" or self.finder.alone(value.line)):
            return f"{value.kind}{owner}"
        if value.kind == "y":
            alone = value.line is not None and self.finder.alone(value.line)
            return joined(owner if owner and alone else f"{owner}_{operation}".strip("_"), "y")
        if value.kind:
            return joined(f"{owner}_{value.kind}".strip("_"), "v")
        return joined(f"{owner}_{operation}".strip("_"), "v") if value.line in self.finder.forward_set else "u"


def joined(name: str, letter: str) -> str:
    return letter + name if name[:1].isdigit() else name


def operation_of(line: Line) -> str:
    if line.function is not None:
        return snake(line.function[0].__name__)
    text = "".join(part if isinstance(part, str) else "_" for part in line.parts)
    found = re.findall(r"([A-Za-z_]\w*)\(", text)
    found = [word for word in found if word not in ("torch", "default")] or ["v"]
    return snake(found[-1]).strip("_") or "v"


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
                    and not value.kind and value.of is None and count[value] == 1 and value in reader
                    and not any(k < e <= reader[value] for e in effects)
                    and not any(isinstance(p, ShapeOf) and p.value is value for p in getattr(items[reader[value]], "parts", ()))
                )  # fmt: skip
                text = self.expression(item)
                if may and value is not None and len(text) <= INLINE:
                    self.inline[value] = text
                    if item.infix:
                        self.infix.add(value)
                else:
                    self.line(item, text)
            else:
                self.use(item)

    def line(self, line: Line, text: str) -> None:
        if line.effect:
            self.put(text, "")
            return
        targets = [self.target(value) for value in line.results]
        comment = ", ".join(str(v.shape) for v in line.results if v is not None)
        if line.branches:
            comment += f"   branches: {', '.join(self.scope.local(b) or 'skip' for b in line.branches)}"
        left = ", ".join(targets) + ("," if not line.single and len(targets) == 1 else "")
        self.put(f"{left} = {text}", comment)

    def target(self, value: Value | None) -> str:
        """What a result is assigned to; a gradient to its places."""
        if value is None:
            return "_"
        if places := self.places(value):
            return " = ".join(places)
        if not self.finder.readers[value] and value not in self.named:
            return "_"
        return self.scope[value]

    def places(self, value: Value) -> list[str]:
        if not self.gradients:
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


def uses(item: Part | Loop) -> list[Value]:
    """What a call of a pair reads."""
    parts = item.parts if isinstance(item, Loop) else [item]
    return [v for part in parts for v in (*part.inputs, *part.deltas)]


class Forward(Body):
    def use(self, item: Part | Loop) -> None:
        if isinstance(item, Part):
            assert item.pair is not None
            name = kept_of(self.scope, item)
            call = f'{item.pair.name}_forward({", ".join(["p", quoted(item.path), *map(self.text, item.inputs)])})'
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
            kept = kept_of(self.scope, item) if loop is None else f"{kept_name(loop)}[{loop.parts.index(item)}]"
            arguments = ["p", quoted(item.path), kept, *map(self.text, item.deltas), "grad"]
            self.called(item, f"{item.pair.name}_backward({', '.join(arguments)})", 4)
            return
        back = item.parts[::-1]
        first, last = back[0], back[-1]
        assert first.pair is not None
        links = {}
        for old, new in zip(first.deltas, back[1].deltas, strict=True):
            if new in first.returned:
                links[old] = self.scope[last.returned[first.returned.index(new)]]
        for old, name in links.items():
            self.put(f"{name} = {self.text(old)}", "")
        self.put(f"for at, kept in zip({paths(back)}, reversed({kept_name(item)})):", "")
        arguments = ", ".join(["p", "at", "kept", *(links.get(v) or self.text(v) for v in first.deltas), "grad"])
        self.called(last, f"{first.pair.name}_backward({arguments})", 8)

    def called(self, part: Part, call: str, indent: int) -> None:
        left = ", ".join(self.target(v) for v in part.returned)
        self.put(f"{left} = {call}" if left else call, shapes(part.returned), indent)


def quoted(path: str) -> str:
    return f'"{path}."'


def kept_of(scope: Scope, part: Part) -> str:
    """The name of what a part keeps; a module that is called again has a number."""
    assert part.pair is not None
    number = [p for p in part.pair.parts if p.path == part.path].index(part) + 1
    return f"kept_{scope.local(part.path)}" + (f"_{number}" if number > 1 else "")


def kept_name(loop: Loop) -> str:
    pair = loop.parts[0].pair
    assert pair is not None
    number = pair.loops.index(loop) + 1
    return f"kept_{pair.name}s" + (f"_{number}" if number > 1 else "")


def paths(parts: Sequence[Part]) -> str:
    """The paths of modules, as something to iterate over."""
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


def wrapped(code: str, comment: str, indent: int) -> list[str]:
    """Lines of at most WIDTH characters, the comment behind the code if it fits."""
    space = " " * indent
    if len(f"{space}{code}   # {comment}") <= WIDTH or (len(space + code) <= WIDTH and not comment):
        return [f"{space}{code}   # {comment}" if comment else f"{space}{code}"]
    above = [f"{space}# {comment}"] if comment else []
    if len(space + code) <= WIDTH:
        return [*above, space + code]
    if code.endswith(" = kept"):
        code = f"({code.removesuffix(' = kept')}) = kept"
    assigned = code.find(" = ")
    opening = next((k for k, c in enumerate(code) if c in "([" and (k > assigned or code.endswith("kept"))), None)
    if opening is None:
        return [*above, space + code]
    depth, pieces, begin, close = 0, [], opening + 1, len(code)
    quote = ""
    for k in range(opening, len(code)):
        c = code[k]
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                close = k
                break
        elif c == "," and depth == 1:
            pieces.append(code[begin : k + 1].strip())
            begin = k + 1
    pieces.append(code[begin:close].strip())
    head, tail = code[: opening + 1], code[close:]
    if len(space) + len(head) > WIDTH - 30:
        return [*above, space + code]
    found, row = [space + head], space + "    "
    for piece in [p for p in pieces if p]:
        if len(row) + len(piece) + 1 > WIDTH and row.strip():
            found.append(row.rstrip())
            row = space + "    "
        row += piece + " "
    found += [row.rstrip(), space + tail]
    return [*above, *found]


def laid_out(text: str) -> str:
    """Long lines broken."""
    found: list[str] = []
    for line in text.splitlines():
        code, _, comment = line.partition(COMMENT)
        indent = len(line) - len(line.lstrip())
        if len(line) > WIDTH + 4 and not code.strip().startswith(("#", '"')) and code.rstrip()[-1:] in ")]}:" :
            found += wrapped(code.strip(), comment, indent)
        elif len(line) > WIDTH + 4 and code.strip().endswith("= kept"):
            found += wrapped(code.strip(), comment, indent)
        else:
            found.append(line)
    return "\n".join(found) + "\n"


def tuple_of(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"


def pair_text(finder: Finder, pair: Pair) -> list[str]:
    """The two functions of modules that are alike."""
    part = pair.parts[0]
    scope = Scope(finder, part.path)
    for k, value in enumerate(part.inputs):
        scope.set(value, "x" if k == 0 else f"x{k + 1}")
    head = f"def {pair.name}_forward(p, at, {', '.join(scope[v] for v in part.inputs)}):"
    body = Forward(finder, scope, [*part.outputs, *part.kept], False)
    where = f"{len(pair.parts)} times: {pair.parts[0].path} to {pair.parts[-1].path}"
    body.put(f'"""{where}; shapes are those of the first."""', "")
    body.write(part.forward)
    kept = tuple_of([scope[v] for v in part.kept]) if part.kept else "()"
    body.put(f"return {', '.join([*(scope[v] for v in part.outputs), kept])}", "")
    lines = [head, *body.lines, "", ""]
    back = Backward(finder, scope, part.returned, True)
    lines.append(f"def {pair.name}_backward({', '.join(['p', 'at', 'kept', *(scope[v] for v in part.deltas), 'grad'])}):")
    if part.kept:
        back.put(f"{', '.join(scope[v] for v in part.kept)}{',' * (len(part.kept) == 1)} = kept", "")
    back.write(part.backward)
    if part.returned:
        back.put(f"return {', '.join(back.text(v) for v in part.returned)}", "")
    if not part.backward:
        back.put("pass", "")
    return [*lines, *back.lines]


def program_text(finder: Finder, whole: Part, pairs: Sequence[Pair], inputs: Sequence[str]) -> list[str]:
    """`forward` and `backward`, behind the functions that they call."""
    lines: list[str] = []
    for pair in pairs:
        lines += [*pair_text(finder, pair), "", ""]
    scope = Scope(finder, "", inputs)
    for value in finder.given():
        if value.name and not fixed(value):
            scope.names[value] = value.name
    loss = finder.recording.loss
    if not fixed(loss) and not loss.name:
        scope.set(loss, "loss")
    for item in whole.forward:
        last = item.parts[-1] if isinstance(item, Loop) else item
        if isinstance(last, Part) and len(last.outputs) == 1 and last.outputs[0] not in scope.names:
            path = re.sub(r"\.\d+$", "", last.path) if isinstance(item, Loop) else last.path
            scope.set(last.outputs[0], joined(scope.local(path), "y"))
    forward = Forward(finder, scope, [loss, *whole.kept], False)
    forward.write(whole.forward)
    names = [scope[v] for v in whole.kept]
    for item in whole.forward:
        if isinstance(item, Loop):
            names.append(kept_name(item))
        elif isinstance(item, Part):
            names.append(kept_of(scope, item))
    kept = tuple_of(names) if names else "()"
    forward.put(f"kept = {kept}", "")
    forward.put(f"return {forward.text(loss)}, kept", "")
    lines += [f"def forward({', '.join(['p', *inputs])}):", *forward.lines, "", ""]
    back = Backward(finder, scope, (), True)
    if names:
        back.put(f"{', '.join(names)}{',' * (len(names) == 1)} = kept", "")
    back.put("grad = {}", "")
    back.write(whole.backward)
    done = {name for item in whole.backward for name in _written(item, finder)}
    for name, value in finder.recording.gradients.items():
        if name not in done:
            back.put(f'grad["{name}"] = {back.text(value)}', "")
    back.put("return grad", "")
    return [*lines, "def backward(p, kept):", *back.lines]


def _written(item: Item, finder: Finder) -> set[str]:
    """The gradients that an item has put in their places."""
    if isinstance(item, Loop):
        return {name for part in item.parts for name in _written(part, finder)}
    if isinstance(item, Part):
        inner = {n for line in item.backward for n in _written(line, finder) if n.startswith(f"{item.path}.")}
        return inner | {n for v in item.returned for n in finder.names.get(v, ())}
    return {n for v in item.results if v is not None for n in finder.names.get(v, ())}
