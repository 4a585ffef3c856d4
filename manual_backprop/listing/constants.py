"""Literals in the syntax tree of a file: their values, and how a value is written as a literal."""

from __future__ import annotations

import ast
import copy
import math
from typing import Any

LARGEST = 16
"""Most entries of a literal that is computed."""
UNKNOWN = object()
"""The value of an expression that is not a literal."""


def name_of(node: Any) -> str:
    """`name` or `name.name`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def functions_of(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Functions, and methods as `Class.name`."""
    found = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef) and not cls.bases:
            found |= {f"{cls.name}.{f.name}": f for f in cls.body if isinstance(f, ast.FunctionDef)}
    return found


def is_program(name: str, function: ast.FunctionDef, keep: tuple[str, ...]) -> bool:
    """Whether a function is `forward`, `backward`, or one of the pairs written for modules that are alike."""
    first = [a.arg for a in function.args.args[:2]]
    return name in keep or ("." not in name and first in (["p", "at"], ["p", "kept"]))


def is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(is_literal, node.elts))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.Attribute):  # torch.float32
        return isinstance(node.value, ast.Name) and node.value.id == "torch"
    return isinstance(node, ast.Constant)


def value_of(node: ast.AST) -> Any:
    """The value of a literal of numbers and strings; UNKNOWN for any other expression."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found = value_of(node.operand)
        return -found if isinstance(found, (int, float)) else UNKNOWN
    if isinstance(node, ast.Tuple):
        inner = [value_of(e) for e in node.elts]
        return UNKNOWN if any(v is UNKNOWN for v in inner) else tuple(inner)
    return UNKNOWN


def as_node(value: Any, other: ast.AST) -> ast.AST:
    """A value as a literal; `other` where it has none or a long one."""
    if isinstance(value, tuple) and len(value) <= LARGEST:
        elements = [as_node(v, other) for v in value]
        return other if any(e is other for e in elements) else ast.Tuple(elements, ast.Load())  # type: ignore[arg-type]
    if isinstance(value, float) and not math.isfinite(value):
        return other
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value) if value is None or isinstance(value, (bool, int, float, str)) else other


def equal(one: ast.AST, other: ast.AST) -> bool:
    return ast.dump(one) == ast.dump(other)


def equal_names(one: ast.AST, other: ast.AST) -> bool:
    return isinstance(one, ast.Name) and isinstance(other, ast.Name) and one.id == other.id


class Substituted(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.values and isinstance(node.ctx, ast.Load):
            return copy.deepcopy(self.values[node.id])
        return node


def substituted(node: Any, values: dict[str, ast.expr]) -> Any:
    """A copy of a node in which names are replaced by expressions."""
    return Substituted(values).visit(copy.deepcopy(node))
