"""Evaluates what depends on constants alone: numbers, conditions, lengths, and arguments equal to torch's defaults."""

from __future__ import annotations

import ast
import copy
import math
import operator
from typing import Any

from .constants import UNKNOWN, as_node, equal, equal_names, is_literal, name_of, substituted, value_of
from .folding import taken
from .public import public

ARITHMETIC: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARED: dict[type, Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
CALLS: dict[str, Any] = {
    "len": len,
    "tuple": tuple,
    "math.prod": math.prod,
    "max": max,
    "min": min,
    "sum": sum,
    "range": range,
}
INFIX: dict[str, type[ast.operator]] = {
    "add": ast.Add,
    "sub": ast.Sub,
    "mul": ast.Mult,
    "div": ast.Div,
    "pow": ast.Pow,
    "matmul": ast.MatMult,
}
_CONV = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_TRANSPOSED = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
PRESET: dict[str, dict[str, Any]] = {
    "torch.addmm": {"beta": 1, "alpha": 1},
    "torch.add": {"alpha": 1},
    "torch.sub": {"alpha": 1},
    "F.linear": {"bias": None},
    **{f"torch.conv{n}d": _CONV for n in (1, 2, 3)},
    **{f"torch.conv_transpose{n}d": _TRANSPOSED for n in (1, 2, 3)},
    "F.nll_loss": {"weight": None, "size_average": None, "ignore_index": -100, "reduce": None, "reduction": "mean"},
    "F.gelu": {"approximate": "none"},
}
"""Default values of arguments of torch's functions, in the order of the arguments."""
ARGUMENTS = {name: 3 if name == "torch.addmm" else 1 if name == "F.gelu" else 2 for name in PRESET}
"""How many arguments come before those."""


class Decided(ast.NodeTransformer):
    """Evaluates what depends on constants alone. `tables`: dictionaries of the file, by name."""

    def __init__(self, tables: dict[str, ast.Dict]) -> None:
        self.tables = tables

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        left, right = value_of(node.left), value_of(node.right)
        kind = type(node.op)
        if isinstance(left, (int, float, tuple)) and isinstance(right, (int, float, tuple)) and kind in ARITHMETIC:
            try:
                return as_node(ARITHMETIC[kind](left, right), node)
            except (ArithmeticError, TypeError):
                return node
        one = kind in (ast.Mult, ast.FloorDiv) and right == 1 and type(right) is int
        if one or (kind in (ast.Add, ast.Sub) and right == 0 and type(right) is int):
            return node.left
        if (kind is ast.Mult and left == 1 and type(left) is int) or (
            kind is ast.Add and left == 0 and type(left) is int
        ):
            return node.right
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        found = value_of(node.operand)
        if isinstance(node.op, ast.USub) and found == 0 and type(found) is int:
            return ast.Constant(0)
        return ast.Constant(not found) if isinstance(node.op, ast.Not) and found is not UNKNOWN else node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        left, right = value_of(node.left), value_of(node.comparators[0])
        if len(node.ops) > 1 or left is UNKNOWN or right is UNKNOWN:
            return node
        try:
            return ast.Constant(bool(COMPARED[type(node.ops[0])](left, right)))
        except TypeError:
            return node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        stops = isinstance(node.op, ast.Or)
        kept: list[ast.expr] = []
        for k, part in enumerate(node.values):
            found = value_of(part)
            if found is not UNKNOWN and bool(found) is not stops and k < len(node.values) - 1:
                continue
            kept.append(part)
            if found is not UNKNOWN and bool(found) is stops:
                break
        node.values = kept
        return kept[0] if len(kept) == 1 else node

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        found = value_of(node.test)
        return node if found is UNKNOWN else taken(node, bool(found))

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        found = value_of(node.test)
        if found is UNKNOWN:
            return node.body if equal(node.body, node.orelse) else node
        return node.body if found else node.orelse

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        node = public(node) or node  # type: ignore[assignment]
        node.args = [
            e
            for a in node.args
            for e in (  # f(a, *(b, c))
                a.value.elts if isinstance(a, ast.Starred) and isinstance(a.value, (ast.Tuple, ast.List)) else [a]
            )
        ]
        name, given = name_of(node.func), [value_of(a) for a in node.args]
        shorten(node, name)
        if (
            name.startswith("torch.")
            and name[6:] in INFIX
            and len(node.args) == 2
            and (
                not node.keywords
                or ([k.arg for k in node.keywords] == ["alpha"] and value_of(node.keywords[0].value) == 1)
            )
        ):
            return ast.BinOp(node.args[0], INFIX[name[6:]](), node.args[1])
        if name == "len" and len(node.args) == 1 and isinstance(node.args[0], ast.Tuple):
            return ast.Constant(len(node.args[0].elts))
        if name == "tuple" and len(node.args) == 1 and isinstance(node.args[0], ast.Call):
            inner = node.args[0]
            numbers = [value_of(a) for a in inner.args]
            if name_of(inner.func) == "range" and all(type(v) is int for v in numbers):
                return as_node(tuple(range(*numbers)), node)
        sizes = given[0] if isinstance(node.func, ast.Attribute) and node.func.attr == "split" and given else None
        if isinstance(sizes, tuple) and len(set(sizes)) == 1:  # x.split((2, 2, 2))
            node.args[0] = ast.Constant(sizes[0])
        if name == "torch.Size" and len(node.args) == 1 and isinstance(node.args[0], (ast.Tuple, ast.List)):
            return node
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("sum_to_size", "reshape", "expand")
            and len(node.args) == 1
        ):
            size = node.args[0]  # x.reshape(torch.Size((2, 3))), x.reshape([2, 3])
            size = (
                size.args[0]
                if isinstance(size, ast.Call) and name_of(size.func) == "torch.Size" and size.args
                else size
            )
            if isinstance(size, (ast.Tuple, ast.List)) and size.elts:
                node.args = list(size.elts)
        if name in CALLS and name not in ("range", "tuple") and given and not node.keywords and UNKNOWN not in given:
            try:
                return as_node(CALLS[name](*given), node)
            except (TypeError, ValueError):
                return node
        return node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        if (plain := public(node)) is not None:
            return plain
        place = value_of(node.slice)
        table = self.tables.get(name_of(node.value))
        if table is not None and isinstance(place, (int, str)):
            for key, value in zip(table.keys, table.values, strict=True):
                if key is not None and value_of(key) == place and isinstance(value, (ast.Attribute, ast.Constant)):
                    return copy.deepcopy(value)
        if isinstance(node.value, ast.Tuple) and not is_literal(node.value) and type(place) is int:  # (x, y)[0]
            simple = all(isinstance(e, ast.Name) or is_literal(e) for e in node.value.elts)
            return node.value.elts[place] if simple and -len(node.value.elts) <= place < len(node.value.elts) else node
        if isinstance(node.value, ast.Tuple) and is_literal(node.value):
            whole = node.value.elts
            if place is UNKNOWN and isinstance(node.slice, ast.Name) and len({ast.dump(e) for e in whole}) == 1:
                return whole[0]
            if type(place) is int and -len(whole) <= place < len(whole):
                return whole[place]
            if isinstance(node.slice, ast.Slice):
                edges = [
                    None if e is None else value_of(e) for e in (node.slice.lower, node.slice.upper, node.slice.step)
                ]
                if UNKNOWN not in edges:
                    return ast.Tuple(whole[slice(*edges)], ast.Load())
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        call = node.value  # Part(begin=0, end=8).end
        if isinstance(call, ast.Call) and name_of(call.func)[:1].isupper() and not call.args:
            return next((k.value for k in call.keywords if k.arg == node.attr and is_literal(k.value)), node)
        return node

    def _comprehension(self, node: Any) -> Any:
        self.generic_visit(node)
        only = node.generators[0] if len(node.generators) == 1 else None
        listed = only is not None and not only.ifs and isinstance(only.iter, (ast.Tuple, ast.List))
        if only is not None and listed and equal_names(node.elt, only.target):
            return only.iter
        if only is not None and (same := alike(only.target, only.iter)):
            for name, value in same.items():
                node.elt = substituted(node.elt, {name: value})
        return node

    visit_ListComp = visit_GeneratorExp = _comprehension

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        for name, value in alike(node.target, node.iter).items():
            node.body = [substituted(s, {name: value}) for s in node.body]
        return node


def shorten(call: ast.Call, name: str) -> None:
    """Leave out arguments of a call of torch that equal its defaults."""
    preset = PRESET.get(name, {})
    call.keywords = [k for k in call.keywords if k.arg not in preset or value_of(k.value) != preset[k.arg]]
    names = list(preset)
    while (
        not call.keywords
        and len(call.args) > 1
        and 0 <= (k := len(call.args) - ARGUMENTS.get(name, 0) - 1) < len(names)
    ):
        value = value_of(call.args[-1])
        numbers = set(value) if isinstance(value, tuple) else {value}
        if numbers != {preset[names[k]]}:
            return
        call.args.pop()


def alike(target: ast.AST, iterated: ast.AST) -> dict[str, ast.expr]:
    """The names in `for a, b in zip(x, (1, 1))` that have the same value each time. Both sides lose them."""
    if not (isinstance(iterated, ast.Call) and name_of(iterated.func) == "zip" and isinstance(target, ast.Tuple)):
        return {}
    if len(target.elts) != len(iterated.args) or any(isinstance(a, ast.Starred) for a in iterated.args):
        return {}
    found: dict[str, ast.expr] = {}
    for name, values in zip(target.elts, iterated.args, strict=True):
        if not (isinstance(name, ast.Name) and isinstance(values, ast.Tuple) and values.elts and is_literal(values)):
            continue
        if all(equal(e, values.elts[0]) for e in values.elts) and len(found) < len(target.elts) - 2:
            found[name.id] = values.elts[0]
    left = [k for k, e in enumerate(target.elts) if not (isinstance(e, ast.Name) and e.id in found)]
    iterated.args = [iterated.args[k] for k in left]
    target.elts = [target.elts[k] for k in left]
    return found


def decided(tree: ast.Module) -> None:
    """Evaluate, in the whole file, what depends on constants alone."""
    tables = {
        n.targets[0].id: n.value
        for n in tree.body
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and isinstance(n.value, ast.Dict)
    }
    Decided(tables).visit(tree)
