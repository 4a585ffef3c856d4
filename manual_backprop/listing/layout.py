"""Parses source into a syntax tree that keeps comments, and prints it: one statement a line, long ones broken.

A statement of the tree has its comments in `notes`: pairs of the text and whether it was at the end of the line.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator

WIDTH = 120


def parsed(text: str) -> ast.Module:
    """A tree with its comments."""
    tree = ast.parse(text)
    places = [s for block in blocks(tree) for s in block]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, said = token.start[0], token.string.lstrip("# ").rstrip()
        around = [s for s in places if s.lineno <= line <= (s.end_lineno or 0) and not hasattr(s, "body")]
        headed = [s for s in places if s.lineno == line and hasattr(s, "body")]
        behind = sorted((s for s in places if s.lineno > line), key=lambda s: s.lineno)
        found = (around or headed or behind)[:1]
        tail = bool(around) and around[0].lineno == line
        for statement in found:
            notes_of(statement).append((said, tail))
    return tree


def notes_of(node: ast.AST) -> list[tuple[str, bool]]:
    """The comments of a statement."""
    if not hasattr(node, "notes"):
        node.notes = []  # type: ignore[attr-defined]
    found: list[tuple[str, bool]] = node.notes  # type: ignore[attr-defined]
    return found


def blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """All lists of statements."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def code_of(block: list[ast.stmt]) -> list[ast.stmt]:
    """Statements without docstrings."""
    return [s for s in block if not is_docstring(s)]


def printed(tree: ast.Module) -> str:
    """The text of a file: two lines between functions, one between methods that are longer than one line."""
    parts: list[str] = []
    before: ast.stmt | None = None
    for node in tree.body:
        lines = "\n".join(_statement(node, 0))
        apart = isinstance(node, (ast.FunctionDef, ast.ClassDef)) or isinstance(before, (ast.FunctionDef, ast.ClassDef))
        imports = isinstance(node, (ast.Import, ast.ImportFrom))
        future = isinstance(before, ast.ImportFrom) and before.module == "__future__"
        changed = isinstance(before, (ast.Import, ast.ImportFrom)) != imports
        gap = "\n\n\n" if apart else "\n\n" if future or changed else "\n"
        parts += [gap if before is not None else "", lines]
        before = node
    return "".join(parts).strip("\n") + "\n"


def _block(body: list[ast.stmt], indent: int) -> list[str]:
    found: list[str] = []
    last = None
    for node in body:
        lines = _statement(node, indent)
        if isinstance(node, ast.FunctionDef) and last is not None:
            short = isinstance(last, ast.FunctionDef) and len(last.body) == 1 and len(node.body) == 1
            found += [] if short else [""]
        found += lines
        last = node
    return found


def _statement(node: ast.stmt, indent: int) -> list[str]:
    space = " " * indent
    above = [f"{space}# {text}" for text, behind in notes_of(node) if not behind]
    comment = "; ".join(text for text, behind in notes_of(node) if behind)
    if is_docstring(node):
        text = inspect.cleandoc(node.value.value)  # type: ignore[attr-defined]
        text = text.replace("\\", "\\\\") + (" " if text.endswith('"') else "")
        text += "\n" if len(space + text.splitlines()[-1]) + 3 > WIDTH else ""
        rows = f'"""{text}"""'.splitlines()
        return [space + rows[0], *(space + row if row else "" for row in rows[1:])]
    if not hasattr(node, "body"):
        return [*above, *broken(code(node), indent, comment)]
    if isinstance(node, ast.ClassDef):
        head = f"class {node.name}" + (f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else "") + ":"
        return [*above, space + head, *_block(node.body, indent + 4)]
    whole = ast.unparse(_hollow(node)).splitlines()
    head = quoted_twice("\n".join(line for line in whole if line.strip() != "pass").splitlines()[-1].strip())
    if isinstance(node, ast.FunctionDef):
        head = f"def {node.name}({quoted_twice(ast.unparse(node.args))}):"
    found = [*above, *broken(head, indent, ""), *_block(node.body, indent + 4)]
    other = getattr(node, "orelse", [])
    if (
        isinstance(node, ast.If)
        and len(code_of(other)) == 1
        and isinstance(code_of(other)[0], ast.If)
        and len(other) == 1
    ):
        inner = _statement(other[0], indent)
        return [*found, f"{space}el{inner[0].strip()}", *inner[1:]]
    return [*found, f"{space}else:", *_block(other, indent + 4)] if other else found


def _hollow(node: ast.stmt) -> ast.stmt:
    """A copy of a statement with an empty block."""
    fields = {f: getattr(node, f) for f in node._fields}
    empty = {"body": [ast.Pass()], "orelse": [], "decorator_list": []}
    return type(node)(**{f: empty.get(f, v) for f, v in fields.items()}, lineno=0, col_offset=0)


def code(node: ast.AST) -> str:
    """One statement or expression in one line."""
    text = quoted_twice(ast.unparse(node))
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        text = f"return {text[len('return (') : -1]}"
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        inner = quoted_twice(ast.unparse(node.value))
        text = f"{text[: -len(inner)]}{inner[1:-1]}" if isinstance(node.targets[0], ast.Tuple) else text
    first = next(iter(_brackets(text)), (0, 0)) if isinstance(node, ast.Assign) and text.startswith("(") else (0, 0)
    return text[1 : first[1]] + text[first[1] + 1 :] if text[first[1] :].startswith(") = ") else text


def quoted_twice(text: str) -> str:
    """Source with its strings in double quotes."""
    if "'" not in text:
        return text
    found = text
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token in reversed(tokens):
        text_of, (row, begin), end = token.string, token.start, token.end[1]
        begin += len(text_of) - len(text_of.lstrip("fbr"))
        if token.type == tokenize.STRING and row == 1 and text_of.count("'") == 2 and not set(text_of) & {'"', "\\"}:
            found = f'{found[:begin]}"{found[begin + 1 : end - 1]}"{found[end:]}'
    return found


def broken(text: str, indent: int, comment: str) -> list[str]:
    """A statement as lines of at most WIDTH characters. Its comment is at the end of the first line, or above it."""
    space = " " * indent if text else ""
    tail = f"   # {comment}" if comment else ""
    lines = [space + text] if len(space + text + tail) <= WIDTH else _broken(text, indent)
    if len(lines[0] + tail) <= WIDTH:
        return [lines[0] + tail, *lines[1:]]
    return [f"{space}# {comment}", *lines]


def _broken(text: str, indent: int) -> list[str]:
    space = " " * indent
    if len(space + text) <= WIDTH:
        return [space + text]
    target, equal, value = text.partition(" = ")
    if equal and "(" not in target and "," in target and len(value) < len(target):
        text = f"({target}) = {value}"
    if text.startswith("return ") and text[-1:] not in ")]}":
        text = f"return ({text.removeprefix('return ')})"
    pairs = list(_brackets(text))
    if not pairs:
        return [space + text]
    begin, end = max(pairs, key=lambda pair: pair[1] - pair[0])
    first = next(_brackets(text[begin + 1 : end]), (-1, -1))
    if first[0] == 0 and end - begin - first[1] < 12 and not _comprehension(text[begin + 1 : end]):
        begin, end = begin + 1, begin + 1 + first[1]  # f([...], 2) is broken inside of the list
    inner = text[begin + 1 : end]
    if re.fullmatch(r"[\w, ]+", inner) and text[begin] == "(" and text[:begin][-1:] in ("", " "):
        head, tail = space + text[: begin + 1], text[end:]
        rows = textwrap.wrap(head + inner, WIDTH - len(tail), subsequent_indent=" " * len(head))
        return [*rows[:-1], rows[-1] + tail]
    pieces = _comprehension(inner) or _split(inner, ",") or _split(inner, "+") or [inner]
    rows, row, tail = [], "", "" if text.endswith(":") else text[end:]  # rows of a block's head end before its lines
    for k, piece in enumerate(pieces, 1):
        if row and len(f"{space}    {row} {piece}{tail * (k == len(pieces))}") > WIDTH:
            rows.append(row)
            row = ""
        row = f"{row} {piece}".strip()
    rows.append(row)
    found = [space + text[: begin + 1]]
    for row in rows:
        found += _broken(row, indent + 4) if len(row) < len(text) - 2 else [f"{space}    {row}"]
    last = found[-1] + tail
    return [*found[:-1], last] if tail and len(last) <= WIDTH else [*found, space + text[end:]]


def _comprehension(text: str) -> list[str]:
    """A comprehension in two parts: its element, and its `for`. An empty list for anything else."""
    found = next((m.start() for m in re.finditer(r" for ", text) if not _inside(text, m.start())), 0)
    return [text[:found], text[found + 1 :]] if found else []


def _inside(text: str, place: int) -> bool:
    return any(b < place < e for b, e in [*_brackets(text), *(m.span() for m in re.finditer(r'"[^"]*"', text))])


def _brackets(text: str) -> Iterator[tuple[int, int]]:
    """The positions of the outermost brackets."""
    depth, begin, quote = 0, 0, ""
    for k, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            begin = k if depth == 0 else begin
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0 and k > begin + 1:
                yield begin, k


def _split(text: str, mark: str) -> list[str]:
    """The pieces between commas or plus signs outside of brackets; an empty list where there is only one piece."""
    found, begin = [], 0
    for match in re.finditer(r", " if mark == "," else r" \+ ", text):
        k = match.start()
        if not _inside(text, k):
            found.append(text[begin : k + (1 if mark == "," else 0)].strip())
            begin = match.end() if mark == "," else k + 1
    return [*found, text[begin:].strip()] if found else []
