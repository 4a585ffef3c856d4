"""Removes parameters of a file's functions that get the same literal at every call, or that are never read."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Any

from .constants import Substituted, equal, functions_of, is_literal, is_program, name_of
from .layout import is_docstring
from .unused import locals_of


def bindings(call: ast.Call, function: ast.FunctionDef) -> dict[str, ast.expr] | None:
    """The arguments that a call gives, by parameter name; None where they are not all given one by one (*args)."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    rest = arguments.vararg.arg if arguments.vararg else None
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return None
    if arguments.kwarg or arguments.kwonlyargs or (len(call.args) > len(names) and rest is None):
        return None
    found = dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    if rest is not None:
        found[rest] = ast.Tuple(list(call.args[len(names) :]), ast.Load())
    preset = [n for n in names[::-1][: len(arguments.defaults)]]
    return found if set(found) >= set(names) - set(preset) and set(found) <= {*names, rest} else None


def defaults(function: ast.FunctionDef) -> dict[str, ast.expr]:
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return dict(zip(names[::-1], function.args.defaults[::-1], strict=False))


class Calls:
    """Functions of a file, their calls, and how often each is mentioned."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions = functions_of(tree)
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)
        self.mentions: dict[str, int] = defaultdict(int)
        scopes = [s for n in tree.body for s in (n.body if isinstance(n, ast.ClassDef) else [n])]
        for scope in scopes:
            local = locals_of(scope) if isinstance(scope, ast.FunctionDef) else set()
            for node in ast.walk(scope):
                name = name_of(node)
                if name in self.functions and name not in local and isinstance(getattr(node, "ctx", None), ast.Load):
                    self.mentions[name] += 1
                if (
                    isinstance(node, ast.Call)
                    and (called := name_of(node.func)) in self.functions
                    and called not in local
                ):
                    self.calls[called].append(node)


def specialized(tree: ast.Module, keep: tuple[str, ...]) -> bool:
    """Replace parameters by their only value, and remove those that are never read. Return whether there were any.
    `keep`: functions whose parameters stay."""
    file, changed = Calls(tree), False
    for name, function in file.functions.items():
        calls = file.calls[name]
        simple = not function.args.vararg and not function.args.kwarg and not function.args.kwonlyargs
        if is_program(name, function, keep) or not simple or file.mentions[name] != len(calls) or not calls:
            continue
        given = [bindings(call, function) for call in calls]
        if any(g is None for g in given):
            continue
        preset = defaults(function)
        for parameter in list(function.args.args):
            told = [g.get(parameter.arg) or preset[parameter.arg] for g in given if g is not None]
            if only_value(function, parameter.arg, told):
                remove(function, parameter.arg)
                for g in given:
                    (g or {}).pop(parameter.arg, None)
                changed = True
        names = [a.arg for a in function.args.args]
        for call, g in zip(calls, given, strict=True):
            arrange(call, names, g or {})
    return changed


def arrange(call: ast.Call, names: list[str], given: dict[str, ast.expr]) -> None:
    """Write arguments by position; by name a constant that was given by name, and those after one left out."""
    told = {k.arg for k in call.keywords}
    call.args, call.keywords = [], []
    by_name = False
    for name in names:
        by_name = by_name or name not in given or (name in told and is_literal(given[name]))
        if name in given and by_name:
            call.keywords.append(ast.keyword(name, given[name]))
        elif name in given:
            call.args.append(given[name])


def remove(function: ast.FunctionDef, name: str) -> None:
    arguments = function.args
    k = next(k for k, a in enumerate(arguments.args) if a.arg == name)
    first = len(arguments.args) - len(arguments.defaults)
    if k >= first:
        del arguments.defaults[k - first]
    del arguments.args[k]


def only_value(function: ast.FunctionDef, name: str, given: list[ast.expr]) -> bool:
    """Whether a parameter can go: it is never read, or the same literal at all calls, which then replaces it."""
    lengths = {len(g.elts) if isinstance(g, ast.Tuple) else -1 for g in given}
    if len(lengths) == 1 and (length := lengths.pop()) >= 0 and name not in locals_of_body(function):
        _Lengths(name, length).visit(function)
    body = [node for s in function.body if not is_docstring(s) for node in ast.walk(s)]
    uses = [node for node in body if isinstance(node, ast.Name) and node.id == name]
    inner = [a.arg for n in body if isinstance(n, (ast.Lambda, ast.FunctionDef)) for a in n.args.args]
    if not uses:
        return True
    if any(not isinstance(u.ctx, ast.Load) for u in uses) or name in inner:
        return False
    if not is_literal(given[0]) or not all(equal(g, given[0]) for g in given):
        return False
    function.body[:] = [Substituted({name: given[0]}).visit(s) for s in function.body]  # keeps call nodes
    return True


def locals_of_body(function: ast.FunctionDef) -> set[str]:
    """The names that the lines of a function bind."""
    return {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


class _Lengths(ast.NodeTransformer):
    """Replaces len(name) of tuples that all have the same length."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if name_of(node.func) == "len" and len(node.args) == 1 and getattr(node.args[0], "id", "") == self.name:
            return ast.Constant(self.length)
        return node
