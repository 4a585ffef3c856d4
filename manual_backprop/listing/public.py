"""Replaces operators that torch does not export by public functions that compute the same."""

from __future__ import annotations

import ast

from .constants import name_of, value_of


def public(node: ast.AST) -> ast.expr | None:
    """The public form of a call of such an operator; None for anything else."""
    if isinstance(node, ast.Call) and name_of(node.func) == "unsafe_view" and len(node.args) == 2:
        return ast.Call(ast.Attribute(node.args[0], "reshape", ast.Load()), [node.args[1]], [])
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        call = node.value
        if isinstance(call, ast.Call) and name_of(call.func) == "batch_norm_with_statistics" and len(call.args) == 9:
            whole = node.slice.lower is None and node.slice.upper is not None and value_of(node.slice.upper) == 3
            if whole and value_of(call.args[5]) is True:
                return ast.Call(
                    ast.Attribute(ast.Name("torch", ast.Load()), "native_batch_norm", ast.Load()), call.args[:-1], []
                )
    return None


def attention(statement: ast.stmt, unread: set[str]) -> ast.stmt | None:
    """The public form of `output, lse = flash_attention_for_cpu(...)` where lse is not read; None for anything else."""
    if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple)):
        return None
    call, targets = statement.value, statement.targets[0].elts
    if not (isinstance(call, ast.Call) and name_of(call.func) == "flash_attention_for_cpu" and len(call.args) == 5):
        return None
    if len(targets) != 2 or not (isinstance(targets[1], ast.Name) and targets[1].id in unread):
        return None
    options = {"dropout_p": call.args[3], "is_causal": call.args[4]} | {k.arg: k.value for k in call.keywords}
    told = [ast.keyword(name, v) for name, v in options.items() if value_of(v) not in (None, False, 0.0)]
    called = ast.Attribute(ast.Name("F", ast.Load()), "scaled_dot_product_attention", ast.Load())
    return ast.copy_location(ast.Assign([targets[0]], ast.Call(called, call.args[:3], told)), statement)
