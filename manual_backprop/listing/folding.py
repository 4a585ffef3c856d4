"""Leaves out of a written file what its own run never does: branches that are not taken, functions not called.

The file is run once with every condition noted. One that has the same answer at each call is answered in the text: the
other branch goes. The formulas of a layer with many options are so reduced to those in use. Text that stays is as it
stands, comments too.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

NOTE = "__noted__"


class _Noting(ast.NodeTransformer):
    """Wraps each condition of a function in a call that notes its answer."""

    def __init__(self) -> None:
        self.conditions: list[ast.If | ast.IfExp] = []

    def _wrapped(self, node: Any) -> Any:
        number = len(self.conditions)
        self.conditions.append(node)
        self.generic_visit(node)
        test = ast.Call(ast.Name(NOTE, ast.Load()), [ast.Constant(number), node.test], [])
        made = type(node)(**{**{f: getattr(node, f) for f in node._fields}, "test": test})
        return ast.fix_missing_locations(ast.copy_location(made, node))

    visit_If = _wrapped
    visit_IfExp = _wrapped


def folded(text: str, run: Callable[[dict[str, Any]], object] | None, roots: tuple[str, ...]) -> str:
    """The text without what `run`, given the file's names, does not reach; without `run`, without what constants alone
    decide. `roots`: functions to keep."""
    answers = answered(text, run) if run is not None else decided(text)
    while True:
        shorter, answers = _once(text, answers)
        if shorter == text:
            return without_unused(text, roots)
        text = shorter


def answered(text: str, run: Callable[[dict[str, Any]], object]) -> list[set[bool]]:
    """The answers of each condition in one run."""
    noting = _Noting()
    found: dict[int, set[bool]] = defaultdict(set)

    def noted(number: int, test: Any) -> Any:
        found[number].add(bool(test))
        return test

    names: dict[str, Any] = {NOTE: noted, "__name__": "written"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(noting.visit(ast.parse(text)), "<written>", "exec"), names)
    found.clear()
    run(names)
    return [found[k] for k in range(len(noting.conditions))]


def decided(text: str) -> list[set[bool]]:
    """The answers of conditions between constants."""
    found = []
    for node in _conditions(ast.parse(text)):
        constant = not any(isinstance(n, (ast.Name, ast.Call, ast.Attribute, ast.Await)) for n in ast.walk(node.test))
        answer = set()
        if constant:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                answer = {bool(eval(compile(ast.Expression(node.test), "<condition>", "eval"), {}))}
        found.append(answer)
    return found


def _once(text: str, answers: list[set[bool]]) -> tuple[str, list[set[bool]]]:
    """Answer conditions that do not lie in one another; the text, and the answers of those that are left."""
    conditions = _conditions(ast.parse(text))
    edits: list[tuple[int, int, str]] = []
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    data = text.encode()

    def span(node: Any) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def covered(begin: int, end: int) -> bool:
        return any(b < end and begin < e for b, e, _ in edits)

    gone: list[tuple[int, int]] = []
    done: set[int] = set()
    for number, node in enumerate(conditions):
        found = answers[number]
        begin, end = span(node)
        if len(found) != 1 or covered(begin, end):
            continue
        truth = next(iter(found))
        kept_nodes = [node.body if truth else node.orelse] if isinstance(node, ast.IfExp) else (node.body if truth else node.orelse)
        if isinstance(node, ast.If) and data[starts[node.lineno - 1] + node.col_offset :][:4] == b"elif":
            continue  # with the if that it belongs to, when that one is gone
        done.add(number)
        stays = (span(kept_nodes[0])[0], span(kept_nodes[-1])[1]) if kept_nodes else (begin, begin)
        gone += [(begin, stays[0]), (stays[1], end)]
        if isinstance(node, ast.IfExp):
            b, e = span(node.body if truth else node.orelse)
            kept = data[b:e].decode()
            compound = isinstance(node.body if truth else node.orelse, (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp))
            bracketed = data[begin - 1 : begin] == b"(" and data[end : end + 1] == b")"
            if bracketed and not compound and not re.match(rb"[\w)\]]", data[begin - 2 : begin - 1]):
                begin, end = begin - 1, end + 1
            edits.append((begin, end, f"({kept})" if compound and not bracketed and (_within_expression(data, begin, end)) else kept))
            continue
        body = node.body if truth else node.orelse
        line_begin = starts[node.lineno - 1]
        indent = node.col_offset
        line_end = starts[node.end_lineno]
        if not body:
            edits.append((line_begin, line_end, "" if _has_siblings(ast.parse(text), node) else " " * indent + "pass\n"))
            continue
        first = starts[_first_line(text, body[0], node if truth else None) - 1]
        last = starts[body[-1].end_lineno]
        if len(body) == 1 and isinstance(body[0], ast.If) and data[first + indent : first + indent + 4] == b"elif":
            inner = data[first:last].decode()
            edits.append((line_begin, line_end, inner[:indent] + inner[indent + 2 :]))
            continue
        inner = textwrap.indent(textwrap.dedent(data[first:last].decode()), " " * indent)
        edits.append((line_begin, line_end, inner))
    for begin, end, new in sorted(edits, reverse=True):
        data = data[:begin] + new.encode() + data[end:]
    left = [
        found for k, (node, found) in enumerate(zip(conditions, answers, strict=True))
        if k not in done and not any(b <= span(node)[0] and span(node)[1] <= e for b, e in gone)
    ]  # fmt: skip
    return _without_dead_tails(data.decode(), left)


def _first_line(text: str, node: ast.stmt, _: Any) -> int:
    """The first line of a block, with comments above it."""
    lines = text.splitlines()
    number = node.lineno
    while number > 1 and lines[number - 2].strip().startswith("#"):
        number -= 1
    return number


def _within_expression(data: bytes, begin: int, end: int) -> bool:
    before = data[:begin].rstrip(b" ")
    return before[-1:] in b"+-*/@%&|^." or data[end:].lstrip(b" )")[:1] in (b"+", b"*", b"/", b"@", b".")


def _conditions(tree: ast.Module) -> list[Any]:
    found = _Noting()
    found.visit(tree)
    return found.conditions


def _has_siblings(tree: ast.Module, node: ast.If) -> bool:
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and any(getattr(n, "lineno", 0) == node.lineno and isinstance(n, ast.If) for n in block):
                others = [n for n in block if n.lineno != node.lineno]
                return any(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in others)
    return False


def _without_dead_tails(text: str, answers: list[set[bool]]) -> tuple[str, list[set[bool]]]:
    """Without the lines behind a return in the same block."""
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    dead: set[int] = set()
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if not isinstance(block, list):
                continue
            for k, statement in enumerate(block[:-1]):
                if isinstance(statement, (ast.Return, ast.Raise)):
                    dead |= set(range(statement.end_lineno + 1, block[-1].end_lineno + 1))  # type: ignore[operator]
                    break
    answers = [found for node, found in zip(_conditions(tree), answers, strict=True) if node.lineno not in dead]
    return "".join(line for k, line in enumerate(lines, 1) if k not in dead), answers


def without_unused(text: str, roots: tuple[str, ...]) -> str:
    """Without functions, methods, constants and imports that nothing reads."""
    while True:
        tree = ast.parse(text)
        lines = text.splitlines(keepends=True)
        methods = {(c.name, f.name): f for c in tree.body if isinstance(c, ast.ClassDef) and not c.bases for f in c.body
                   if isinstance(f, ast.FunctionDef)}  # fmt: skip
        read: set[str] = set(roots)
        asked: set[tuple[str, str]] = set()
        for owner, node in _scopes(tree):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
                    asked.add((inner.value.id, inner.attr))
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load) and inner.id != owner:
                    read.add(inner.id)
        dead: set[int] = set()
        for (cls, name), node in methods.items():
            if (cls, name) not in asked:
                dead |= set(range(node.lineno, node.end_lineno + 1))  # type: ignore[operator]
        for node in tree.body:
            names = _bound(node)
            if names and not names & read:
                dead |= set(range(node.lineno, node.end_lineno + 1))  # type: ignore[attr-defined,operator]
        if not dead:
            return re.sub(r"\n{4,}", "\n\n\n", text)
        text = "".join(line for k, line in enumerate(lines, 1) if k not in dead)
        text = re.sub(r"(\n    [^\n]*)\n{3,}(?=    \S)", r"\1\n\n", text)


def _scopes(tree: ast.Module) -> list[tuple[str, ast.AST]]:
    """Statements, and the name that each binds, by which it does not count as read."""
    found: list[tuple[str, ast.AST]] = []
    for node in tree.body:
        found.append((node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else "", node))
    return found


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return set()
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign):
        return {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return set()
