"""The source of functions, classes and constants for a written file: without annotations, as plain functions."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any

from ..engine.torch_private import path_of
from ..errors import BadInput
from .layout import parsed, printed

QUESTIONS = r"(?:transforms_active|in_forward_mode|differentiated_again|torch\.compiler\.is_(?:dynamo_)?compiling)\(\)"


def private(name: str, thing: Any) -> str:
    """The definition of a private name of torch: its path, or its source."""
    if path := path_of(thing):
        return f"{name} = {path}"
    if isinstance(thing, types.FunctionType):
        return source_of(thing, name)
    raise BadInput(f"{name} cannot be written as source. got: {thing!r}")


@functools.cache
def _tree(file: str) -> ast.Module:
    return ast.parse("".join(linecache.getlines(file)))


def source_of(function: types.FunctionType, name: str) -> str:
    """A function's source, as a `def` of that name."""
    function = inspect.unwrap(function)
    if function.__name__ == "<lambda>" or function.__code__.co_name == "<lambda>":
        text = _of_lambda(function, name)
    else:
        text = textwrap.dedent(inspect.getsource(function))
        text = re.sub(r"^(@staticmethod|@classmethod|@rounds_once|@functools\.cache)\n", "", text, flags=re.M)
        text = re.sub(r"^def \w+\(", f"def {name}(", text, count=1, flags=re.M)
    return simplified(text.rstrip())


def _of_lambda(function: types.FunctionType, name: str) -> str:
    code = function.__code__
    positions = [p for p in code.co_positions() if p[0] is not None and p[2] is not None]
    inner = {(p[0], p[2]) for p in positions}
    lines = "".join(linecache.getlines(code.co_filename))
    best = None
    for found in ast.walk(_tree(code.co_filename)):
        if not isinstance(found, ast.Lambda) or found.lineno > code.co_firstlineno:
            continue
        begin, end = (found.body.lineno, found.body.col_offset), (found.body.end_lineno, found.body.end_col_offset)
        within = all(begin <= place <= end for place in inner if place[0] > code.co_firstlineno or place[1] > 0)  # type: ignore[operator]
        if within and [a.arg for a in found.args.args] == list(inspect.signature(function).parameters):
            best = found
    if best is None:
        raise BadInput(f"the source of {function.__qualname__} was not found in {code.co_filename}")
    body = " ".join((ast.get_source_segment(lines, best.body) or "").split())
    if "#" in body:
        body = ast.unparse(best.body)
    return f"def {name}({', '.join(a.arg for a in best.args.args)}):\n    return {body}"


def simplified(text: str) -> str:
    """Source without the choice between formula and kernel; what is false in a plain call becomes False."""
    text = re.sub(r"\bchoose\(((?:\w+\.)*\w+)\)", r"\1", text)
    text = re.sub(r"\bdifferentiable\((\w+)\)", r"\1.forward", text)
    text = re.sub(rf"not {QUESTIONS} and ", "", text)
    text = re.sub(rf"{QUESTIONS} or ", "", text)
    text = re.sub(QUESTIONS, "False", text)
    text = re.sub(r"\s*# (fmt: skip|type: ignore\S*|noqa\S*)", "", text)
    return without_annotations(text)


def without_annotations_of_class(cls: type) -> str:
    """The source of a small class."""
    return re.sub(r"\s*# (fmt: skip|type: ignore\S*|noqa\S*)", "", textwrap.dedent(inspect.getsource(cls))).rstrip()


def without_annotations(text: str) -> str:
    """Source without annotations: the docstring of the rule has the shapes and dtypes."""
    tree = parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
    return printed(_Plain().visit(tree)).rstrip()


class _Plain(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        return node if node.value is None else ast.copy_location(ast.Assign([node.target], node.value), node)


def names_in(text: str) -> Iterator[tuple[str, str]]:
    """Names that are read, each with the attribute that is read from it ("" for none)."""
    tree = ast.parse(text)
    inner = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in inner and isinstance(node.ctx, ast.Load):
            yield node.id, ""


def assignment(module: types.ModuleType | None, name: str) -> tuple[str, dict[str, Any]] | None:
    """`NAME = ...` of a module, or of the module that it imports the name from: the text, and that module's names."""
    while module is not None and getattr(module, "__file__", None):
        tree = _tree(module.__file__ or "")
        for node in tree.body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            value_of = getattr(node, "value", None)
            bound = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            if name in bound and value_of is not None:
                lines = "".join(linecache.getlines(module.__file__ or ""))
                value = ast.get_source_segment(lines, value_of) or ""
                left = ", ".join(bound)
                return f"{left} = {value}", vars(module)
        source = next(
            (
                n
                for n in tree.body
                if isinstance(n, ast.ImportFrom) and any((a.asname or a.name) == name for a in n.names)
            ),
            None,
        )
        if source is None:
            return None
        base = module.__name__.rsplit(".", source.level)[0] if source.level else ""
        module = sys.modules.get(f"{base}.{source.module}".strip("."))
    return None
