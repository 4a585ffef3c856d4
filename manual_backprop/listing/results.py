"""Removes results of functions that are never read, and entries of `kept` that the backward never reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from .constants import functions_of, is_program
from .inlining import impure
from .layout import blocks, notes_of
from .parameters import Calls

SHAPES = re.compile(r"\([\d, ]*\)|None")


def without_unread(tree: ast.Module, keep: tuple[str, ...]) -> bool:
    """Run one round; return whether anything changed. `keep`: functions whose results stay."""
    file = Calls(tree)
    programs = [f for name, f in file.functions.items() if is_program(name, f, keep)]
    changed = any([_kept(tree, function) for function in programs if function.name.endswith("backward")])
    for function in programs:
        _underscores(function)
    unpacked = {id(s.value): (s, caller) for caller in file.functions.values() for s in _unpacking(caller)}
    for name, function in file.functions.items():
        calls = file.calls[name]
        if function in programs or not calls or file.mentions[name] != len(calls):
            continue
        places = [unpacked.get(id(call)) for call in calls]
        returned = [n for n in ast.walk(function) if isinstance(n, ast.Return)]
        length = _length(returned, [p[0] for p in places if p is not None])
        if not length or None in places:
            continue
        found = [p for p in places if p is not None]
        for k in range(length - 1, -1, -1):
            drawn = any(impure(r.value.elts[k]) for r in returned)  # type: ignore[union-attr]
            if drawn or not all(_unread(s.targets[0].elts[k], caller, s) for s, caller in found):
                continue
            for statement, _ in found:
                _drop(statement, k)
            for r in returned:
                r.value = _without(r.value, k)
            length, changed = length - 1, True
            if length == 1:
                break
    return changed


def _length(returned: list[ast.Return], places: list[ast.Assign]) -> int:
    """How many results a function has, if every call unpacks all of them; otherwise 0."""
    tuples = [r.value for r in returned] + [p.targets[0] for p in places]
    lengths = {len(t.elts) if isinstance(t, ast.Tuple) else 0 for t in tuples}
    starred = any(isinstance(n, ast.Starred) for t in tuples if isinstance(t, ast.Tuple) for n in t.elts)
    return 0 if starred or len(lengths) != 1 else lengths.pop()


def _unpacking(function: ast.FunctionDef) -> Iterator[Any]:
    """Statements `a, b = f(...)`."""
    for block in blocks(function):
        for s in block:
            if isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.value, ast.Call):
                target = s.targets[0]
                if isinstance(target, ast.Tuple) and not any(isinstance(e, ast.Starred) for e in target.elts):
                    yield s


def _unread(target: ast.expr, function: ast.FunctionDef, statement: ast.stmt | None = None) -> bool:
    """Whether a name is never read in a function, or never after `statement` where that is not in a loop."""
    if not isinstance(target, ast.Name):
        return False
    behind: list[ast.stmt] = [function]
    if statement is not None and any(s is statement for s in function.body):
        behind = function.body[next(k for k, s in enumerate(function.body) if s is statement) + 1 :]
    names = (n for s in behind for n in ast.walk(s) if isinstance(n, ast.Name))
    return not any(n.id == target.id and isinstance(n.ctx, ast.Load) for n in names)


def _without(node: Any, k: int) -> Any:
    """A tuple without entry k; the other entry alone where there were two."""
    rest = [e for j, e in enumerate(node.elts) if j != k]
    return rest[0] if len(rest) == 1 else ast.Tuple(rest, node.ctx)


def _drop(statement: ast.Assign, k: int) -> None:
    """Remove one result from a statement, and its shape from the comment."""
    shapes = [SHAPES.findall(text) for text, _ in notes_of(statement)]
    length = len(statement.targets[0].elts)  # type: ignore[attr-defined]
    statement.targets = [_without(statement.targets[0], k)]
    for j, ((text, behind), found) in enumerate(zip(notes_of(statement), shapes, strict=True)):
        if text == ", ".join(found) and len(found) == length:
            notes_of(statement)[j] = (", ".join(s for i, s in enumerate(found) if i != k), behind)


def _underscores(function: ast.FunctionDef) -> None:
    """Rename to `_` what is unpacked and never read."""
    for statement in _unpacking(function):
        for element in statement.targets[0].elts:
            if _unread(element, function):
                element.id = "_"


def _kept(tree: ast.Module, backward: ast.FunctionDef) -> bool:
    """Remove from `kept` what this function never reads, here and where the forward returns it."""
    forward = functions_of(tree).get(f"{backward.name.removesuffix('backward')}forward")
    unpack = next((s for s in backward.body if isinstance(s, ast.Assign) and ast.unparse(s.value) == "kept"), None)
    if forward is None or unpack is None or not isinstance(unpack.targets[0], ast.Tuple):
        return False
    names = unpack.targets[0].elts
    packed = [s.value for s in forward.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "kept"]
    last = forward.body[-1]
    if not packed and isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple):
        packed = [last.value.elts[-1]]
    if len(packed) != 1 or not isinstance(packed[0], ast.Tuple) or len(packed[0].elts) != len(names):
        return False
    read = [k for k, name in enumerate(names) if not _unread(name, backward)]
    if len(read) == len(names):
        return False
    unpack.targets[0].elts = [names[k] for k in read]
    packed[0].elts = [packed[0].elts[k] for k in read]
    if not read:
        backward.body.remove(unpack)
    return True
