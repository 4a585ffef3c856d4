"""Simplifies assignments: removes a second name for a value, names that are never read, and names returned at once."""

from __future__ import annotations

import ast
from collections import Counter
from itertools import pairwise
from typing import Any

from .constants import functions_of, is_literal, is_program, substituted
from .inlining import impure
from .layout import blocks
from .public import attention
from .unrolling import unrolled

SHORT = 80
"""Most characters of two lines that are joined into one."""


def tidied(tree: ast.Module, keep: tuple[str, ...]) -> bool:
    """Whether anything changed in one of the functions."""
    changed = False
    for name, function in functions_of(tree).items():
        while (not is_program(name, function, keep)) and (
            _single(function)
            or _split(function)
            or _aliases(function)
            or _unread(function)
            or _returned(function)
            or _forwarded(function)
            or _chained(function)
            or _idle(function)
            or unrolled(function)
            or _by_public_names(function)
        ):
            changed = True
    return changed


def stores(function: ast.FunctionDef) -> Counter[str]:
    found = Counter(n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load))
    found.update(a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg))
    return found


def loads(function: ast.AST) -> Counter[str]:
    return Counter(n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def _single(function: ast.FunctionDef) -> bool:
    """`x, = y,` becomes `x = y`; `x = x` is removed."""
    for block in blocks(function):
        for k, s in enumerate(block):
            if not (isinstance(s, ast.Assign) and len(s.targets) == 1):
                continue
            target, value = s.targets[0], s.value
            if isinstance(target, ast.Name) and isinstance(value, ast.Name) and target.id == value.id:
                del block[k]
                return True
            if isinstance(target, ast.Tuple) and isinstance(value, (ast.Tuple, ast.List)):
                if len(target.elts) != len(value.elts) or any(
                    isinstance(e, ast.Starred) for e in (*target.elts, *value.elts)
                ):
                    continue
                pairs = [
                    (t, v)
                    for t, v in zip(target.elts, value.elts, strict=True)
                    if not (isinstance(t, ast.Name) and isinstance(v, ast.Name) and t.id == v.id)
                ]
                if len(pairs) == len(target.elts) and len(pairs) > 1:
                    continue
                if not pairs:
                    del block[k]
                elif len(pairs) == 1:
                    block[k] = ast.Assign([pairs[0][0]], pairs[0][1], lineno=0)
                else:
                    s.targets = [ast.Tuple([t for t, _ in pairs], ast.Store())]
                    s.value = ast.Tuple([v for _, v in pairs], ast.Load())
                return True
    return False


def _split(function: ast.FunctionDef) -> bool:
    """Remove from `a, b = x, y` what is never read. A plain name or literal on the right gets a line of its own."""
    read, stored = loads(function), stores(function)
    for block in blocks(function):
        for k, s in enumerate(block):
            later = sum((loads(other) for other in block[k + 1 :]), Counter()) if block is function.body else read
            if not (
                isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Tuple) and isinstance(s.value, ast.Tuple)
            ):
                continue
            targets, values = s.targets[0].elts, s.value.elts
            if len(targets) != len(values) or not all(isinstance(t, ast.Name) for t in targets):
                continue
            names = {t.id for t in targets}  # type: ignore[attr-defined]
            for j, (t, v) in enumerate(zip(targets, values, strict=True)):
                assert isinstance(t, ast.Name)
                alone = (isinstance(v, ast.Name) and stored[v.id] == 1) or is_literal(v)
                dead = not later[t.id] and not impure(v)
                used = any(t.id in loads(other) for other in values)
                if dead or (
                    alone and stored[t.id] == 1 and not used and not (isinstance(v, ast.Name) and v.id in names)
                ):
                    rest = [i for i in range(len(targets)) if i != j]
                    s.targets = [ast.Tuple([targets[i] for i in rest], ast.Store())]
                    s.value = ast.Tuple([values[i] for i in rest], ast.Load())
                    if not dead:
                        block.insert(k + 1, ast.Assign([t], v, lineno=0))
                    return True
    return False


def _aliases(function: ast.FunctionDef) -> bool:
    """For `x = y`, where neither is assigned again, and for `x = 3`: replace x by its value everywhere."""
    stored = stores(function)
    inner = {a.arg for n in ast.walk(function) if isinstance(n, ast.Lambda) for a in n.args.args}
    for block in blocks(function):
        for k, s in enumerate(block):
            if not (isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name)):
                continue
            name, value = s.targets[0].id, s.value
            same = isinstance(value, ast.Name) and stored[value.id] <= 1 and value.id not in inner
            dotted = (
                isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id[:1].isupper()
            )
            if (
                stored[name] == 1
                and name not in inner
                and (same or is_literal(value) or (dotted and loads(function)[name] == 1))
            ):
                del block[k]
                function.body[:] = [substituted(b, {name: value}) for b in function.body]
                return True
    return False


def _unread(function: ast.FunctionDef) -> bool:
    read = loads(function)
    for block in blocks(function):
        for k, s in enumerate(block):
            target = s.targets[0] if isinstance(s, ast.Assign) and len(s.targets) == 1 else None
            if isinstance(target, ast.Name) and not read[target.id] and not impure(s):
                del block[k]
                return True
    return False


def _returned(function: ast.FunctionDef) -> bool:
    """`x = y` and `return x` become `return y`, also with several names."""
    for block in blocks(function):
        if len(block) < 2 or not isinstance(block[-1], ast.Return) or not isinstance(block[-2], ast.Assign):
            continue
        given, wanted = block[-2].targets[0], block[-1].value
        if len(block[-2].targets) > 1 or wanted is None:
            continue
        names = [given] if isinstance(given, ast.Name) else list(getattr(given, "elts", []))
        asked = [wanted] if isinstance(given, ast.Name) else list(getattr(wanted, "elts", []))
        listed: list[Any] = [n.id if isinstance(n, ast.Name) else None for n in asked]
        if names and all(isinstance(n, ast.Name) for n in names) and [getattr(n, "id", "") for n in names] == listed:
            block[-2:] = [ast.Return(block[-2].value)]
            return True
    return False


def _forwarded(function: ast.FunctionDef) -> bool:
    """For `x = y`: replace x by y up to the next assignment of x or to the end of the function."""
    block = function.body
    for k, s in enumerate(block):
        if not (isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name)):
            continue
        if not isinstance(s.value, ast.Name):
            continue
        name, other = s.targets[0].id, s.value.id
        found, again = [], False
        for later in block[k + 1 :]:
            stored = {n.id for n in ast.walk(later) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
            if (stored & {name, other} or loads(later)[name]) and not isinstance(later, (ast.Assign, ast.Return)):
                break
            found.append(later)
            again = name in stored
            if again or other in stored:
                break
        ends = again or (len(found) == len(block) - k - 1)
        if ends and not any(
            isinstance(n, (ast.Lambda, ast.ListComp, ast.GeneratorExp)) for f in found for n in ast.walk(f)
        ):
            for later in found:
                later.value = substituted(later.value, {name: s.value})  # type: ignore[attr-defined]
            del block[k]
            return True
    return False


def _chained(function: ast.FunctionDef) -> bool:
    """Join `x = f(y)` and `x = x.g()` into one line if it is short."""
    for block in blocks(function):
        for k, (s, following) in enumerate(pairwise(block)):
            if not (isinstance(s, ast.Assign) and isinstance(following, (ast.Assign, ast.Return))):
                continue
            target = s.targets[0]
            if not isinstance(target, ast.Name) or following.value is None or loads(following)[target.id] != 1:
                continue
            if isinstance(s.value, ast.List) and _only_argument(following, target.id):
                following.value = substituted(following.value, {target.id: s.value})
                del block[k]
                return True
            again = isinstance(following, ast.Return) or (
                isinstance(following.targets[0], ast.Name) and following.targets[0].id == target.id
            )
            first: ast.expr = following.value
            while isinstance(first, (ast.Attribute, ast.Call)):
                first = first.func if isinstance(first, ast.Call) else first.value
            together = substituted(following.value, {target.id: s.value})
            if again and isinstance(first, ast.Name) and first.id == target.id and len(ast.unparse(together)) <= SHORT:
                following.value = together
                del block[k]
                return True
    return False


def _only_argument(statement: ast.Assign | ast.Return, name: str) -> bool:
    """Whether a statement calls a function with this name as its only argument."""
    call = statement.value if isinstance(statement, ast.Return) else None
    return isinstance(call, ast.Call) and len(call.args) == 1 and getattr(call.args[0], "id", "") == name


def _idle(function: ast.FunctionDef) -> bool:
    """Remove a loop that does nothing, and a condition whose branches return the same."""
    for block in blocks(function):
        for k, s in enumerate(block):
            if isinstance(s, ast.For) and not s.orelse and all(isinstance(b, ast.Pass) for b in s.body):
                del block[k]
                return True
            following = block[k + 1] if k + 1 < len(block) else None
            if (
                isinstance(s, ast.If)
                and isinstance(following, ast.Return)
                and len(s.body) == 1
                and not s.orelse
                and ast.dump(s.body[0]) == ast.dump(following)
                and not impure(s.test)
            ):
                del block[k]
                return True
    return False


def _by_public_names(function: ast.FunctionDef) -> bool:
    read = loads(function)
    unread = {name for name in stores(function) if not read[name]}
    for block in blocks(function):
        for k, s in enumerate(block):
            if (plain := attention(s, unread)) is not None:
                block[k] = plain
                return True
    return False
