"""Writes a recorded step as source: `forward`, `backward`, and pairs of functions for modules that are alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .calls import Backward, Forward, kept_name, tuple_of
from .names import Scope, joined
from .parts import Extra, Item, Loop, Pair, Part, fixed
from .structure import Finder


def pair_text(finder: Finder, pair: Pair) -> list[str]:
    """The two functions of modules that are alike."""
    part = pair.template
    scope = Scope(finder, part.path, pair.options)
    for k, value in enumerate(part.inputs):
        scope.set(value, "x" if k == 0 else f"x{k + 1}")
    head = f"def {pair.name}_forward({', '.join(['p', 'at', *(scope[v] for v in part.inputs), *pair.options])}):"
    body = Forward(finder, scope, [*part.outputs, *part.kept], False)
    where = f"{len(pair.parts)} times: {pair.parts[0].path} to {pair.parts[-1].path}"
    first = "the first" if part.path == pair.parts[0].path else part.path
    body.put(f'"""{where}; shapes are those of {first}."""', "")
    body.write(part.forward)
    back = Backward(finder, scope, part.returned, True)
    back.write(part.backward)
    read = [name for name in ("at", *pair.options) if re.search(rf"\b{name}\b(?!=)", "\n".join(back.lines))]
    kept = [*read, *(scope[v] for v in part.kept)]
    body.put(f"return {', '.join([*(scope[v] for v in part.outputs), tuple_of(kept) if kept else '()'])}", "")
    lines = [head, *body.lines, "", ""]
    lines.append(f"def {pair.name}_backward({', '.join(['p', 'kept', *(scope[v] for v in part.deltas), 'grad'])}):")
    if kept:
        lines.append(f"    {', '.join(kept)}{',' * (len(kept) == 1)} = kept")
    if part.returned:
        back.put(f"return {', '.join(back.text(v) for v in part.returned)}", "")
    if not part.backward:
        back.put("pass", "")
    return [*lines, *back.lines]


def program_text(finder: Finder, whole: Part, pairs: Sequence[Pair], inputs: Sequence[str]) -> list[str]:
    """`forward` and `backward`, after the functions that they call."""
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
            name = scope.local(last.path)
            if isinstance(item, Loop):
                name = next((n for n in reversed(last.path.split(".")) if not n.isdigit()), name)
            scope.set(last.outputs[0], joined(name, "y"))
    forward = Forward(finder, scope, [loss, *whole.kept], False)
    forward.write(whole.forward)
    names = [scope[v] for v in whole.kept]
    for item in whole.forward:
        if isinstance(item, Loop):
            names.append(kept_name(item))
        elif isinstance(item, Part):
            names.append(f"kept_{scope.local(item.path)}{item.again}")
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
    """The names of the gradients that an item has written into `grad`."""
    if isinstance(item, Loop):
        return {name for part in item.parts for name in _written(part, finder)}
    if isinstance(item, Extra):
        return {name for line in item.lines for name in _written(line, finder)}
    if isinstance(item, Part):
        inner = {n for line in item.backward for n in _written(line, finder) if n.startswith(f"{item.path}.")}
        return inner | {n for v in item.returned for n in finder.names.get(v, ())}
    return {n for v in item.results if v is not None for n in finder.names.get(v, ())}
