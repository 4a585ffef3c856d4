"""Unrolls loops over one element, dictionaries with one entry, and tuples that are only unpacked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .constants import equal_names, is_literal, name_of, substituted, value_of
from .layout import blocks
from .parameters import locals_of_body

JOINED = "joined"
"""The helper that concatenates the entries of a dictionary. For one entry it returns that entry."""


def unrolled(function: ast.FunctionDef) -> bool:
    """Whether anything changed."""
    return _loop(function) or _unpacked(function) or _tuple(function) or _entry(function) or _by_key(function)


def _loop(function: ast.FunctionDef) -> bool:
    """`for x in [y]` becomes its body, with y in place of x."""
    for block in blocks(function):
        for k, s in enumerate(block):
            if not (isinstance(s, ast.For) and isinstance(s.iter, ast.List) and len(s.iter.elts) == 1 and not s.orelse):
                continue
            inner = [n for b in s.body for n in ast.walk(b)]
            if not isinstance(s.target, ast.Name) or any(isinstance(n, (ast.Break, ast.Continue)) for n in inner):
                continue
            name = s.target.id
            if sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(function)) == 1 + sum(
                isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in inner
            ):
                block[k : k + 1] = [substituted(b, {name: s.iter.elts[0]}) for b in s.body]
                return True
    return False


def _unpacked(function: ast.FunctionDef) -> bool:
    """`x, *y = [v for v in (a, b, c)]` becomes `x, y = a, (b, c)`."""
    for block in blocks(function):
        for s in block:
            target = s.targets[0] if isinstance(s, ast.Assign) and len(s.targets) == 1 else None
            if not isinstance(s, ast.Assign) or not isinstance(target, ast.Tuple):
                continue
            value = s.value
            over = value.generators[0] if isinstance(value, ast.ListComp) and len(value.generators) == 1 else None
            if over is not None and not over.ifs and equal_names(value.elt, over.target):  # type: ignore[attr-defined]
                s.value = over.iter
                return True
            stars = [k for k, e in enumerate(target.elts) if isinstance(e, ast.Starred)]
            if len(stars) == 1 and isinstance(value, ast.Tuple) and len(value.elts) >= len(target.elts) - 1:
                at, behind = stars[0], len(target.elts) - stars[0] - 1
                end = len(value.elts) - behind
                star: Any = target.elts[at]
                target.elts[at] = star.value
                rest = ast.Tuple(value.elts[at:end], ast.Load())
                s.value = ast.Tuple([*value.elts[:at], rest, *value.elts[end:]], ast.Load())
                return True
    return False


def _uses(function: ast.FunctionDef, name: str) -> list[ast.Name]:
    return [n for s in function.body for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name]


def _tuple(function: ast.FunctionDef) -> bool:
    """Replace a tuple that is only unpacked or indexed by its entries, if its names are not assigned in between."""
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    for block in blocks(function):
        for k, s in enumerate(block):
            for target, value, place in _assigned(s):
                if not isinstance(value, ast.Tuple) or stored.count(target.id) != 1:
                    continue
                names = [e.id for e in value.elts if isinstance(e, ast.Name)]
                plain = all(isinstance(e, ast.Name) or is_literal(e) for e in value.elts)
                following = block[k + 1] if k + 1 < len(block) else None
                at_once = (
                    isinstance(following, ast.Assign)
                    and isinstance(following.targets[0], ast.Tuple)
                    and getattr(following.value, "id", "") == target.id
                    and len(_uses(function, target.id)) == 2
                )
                fixed = plain and all(stored.count(n) <= 1 for n in names) and _only_entries(function, target.id)
                if not (at_once and place is None) and not fixed:
                    continue
                if place is None:
                    del block[k]
                else:
                    _take(s, place)
                function.body[:] = [substituted(b, {target.id: value}) for b in function.body]
                return True
    return False


def _only_entries(function: ast.FunctionDef, name: str) -> bool:
    """Whether a tuple is only read as *tuple and tuple[0]."""
    found = 0
    for node in (n for s in function.body for n in ast.walk(s)):
        if isinstance(node, ast.Starred) and getattr(node.value, "id", "") == name:
            found += isinstance(node.ctx, ast.Load)
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == name:
            found += type(value_of(node.slice)) is int
    return found == len(_uses(function, name)) - 1


def _assigned(s: ast.stmt) -> Iterator[tuple[ast.Name, ast.expr, int | None]]:
    """Names, what is assigned to them, and the position in a statement that assigns several."""
    if not isinstance(s, ast.Assign) or len(s.targets) != 1:
        return
    target, value = s.targets[0], s.value
    if isinstance(target, ast.Name):
        yield target, value, None
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for k, (t, v) in enumerate(zip(target.elts, value.elts, strict=True)):
            if isinstance(t, ast.Name):
                yield t, v, k


def _take(s: Any, place: int) -> None:
    """Remove one name and its value from `a, b = x, y`."""
    del s.targets[0].elts[place], s.value.elts[place]


def _dictionaries(function: ast.FunctionDef) -> Iterator[tuple[str, list, int, int | None]]:
    """Names that are assigned once, to {}: with the block, the statement's index, and the position in it."""
    for block in blocks(function):
        for k, s in enumerate(block):
            for target, value, place in _assigned(s):
                stores = sum(not isinstance(n.ctx, ast.Load) for n in _uses(function, target.id))
                if isinstance(value, ast.Dict) and not value.keys and stores == 1:
                    yield target.id, block, k, place


def _entry(function: ast.FunctionDef) -> bool:
    """Replace a dictionary with one entry by that entry."""
    for name, block, k, place in _dictionaries(function):
        if block is not function.body:
            continue
        entries = [
            n for s in function.body for n in ast.walk(s)
            if isinstance(n, ast.Subscript) and getattr(n.value, "id", "") == name
        ]  # fmt: skip
        calls = [
            n for s in function.body for n in ast.walk(s)
            if isinstance(n, ast.Call) and name_of(n.func) == JOINED and len(n.args) == 1
            and getattr(n.args[0], "id", "") == name
        ]  # fmt: skip
        keys = {ast.dump(n.slice) for n in entries}
        constant = len(keys) == 1 and is_literal(entries[0].slice)
        top = {id(n) for s in function.body if isinstance(s, (ast.Assign, ast.Return)) for n in ast.walk(s)}
        if not constant or len(entries) + len(calls) != len(_uses(function, name)) - 1:
            continue
        if not all(id(n) in top for n in (*entries, *calls)) or name in locals_of_body(function) - {name}:
            continue
        if place is None:
            del block[k]
        else:
            _take(block[k], place)
        places = {id(n): ast.Name(name, getattr(n, "ctx", ast.Load())) for n in (*entries, *calls)}
        function.body[:] = [_Placed(places).visit(s) for s in function.body]
        return True
    return False


class _Placed(ast.NodeTransformer):
    def __init__(self, places: dict[int, ast.Name]) -> None:
        self.places = places

    def visit(self, node: ast.AST) -> Any:
        return self.places.get(id(node)) or self.generic_visit(node)


def _by_key(function: ast.FunctionDef) -> bool:
    """`d[t] = x` and `y = d[t]` become `y = x`, if nothing else reads d."""
    for name, _, _, _ in _dictionaries(function):
        if len(_uses(function, name)) != 3:
            continue
        for block in blocks(function):
            for k, (s, following) in enumerate(pairwise(block)):
                if not isinstance(s, ast.Assign) or not isinstance(following, ast.Assign):
                    continue
                written, read = s.targets[0], following.value
                both = isinstance(written, ast.Subscript) and isinstance(read, ast.Subscript)
                if both and ast.unparse(written) == ast.unparse(read) and getattr(written.value, "id", "") == name:  # type: ignore[attr-defined]
                    following.value = s.value
                    del block[k]
                    return True
    return False
