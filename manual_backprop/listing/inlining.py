"""Writes short helpers where they are called: one expression, or a few lines that only one place calls."""

from __future__ import annotations

import ast
import copy
from typing import Any

from .constants import is_literal, is_program, name_of, substituted
from .layout import blocks, code_of, is_docstring
from .parameters import Calls, bindings, defaults

SHORT, LONG = 8, 30
"""Most nodes of an expression that replaces each of several calls, and of one that replaces its only call."""
LINES = 10
"""Most statements of a function that are written in place of its only call."""
RANDOM = (
    "bernoulli",
    "rand",
    "randn",
    "rand_like",
    "randn_like",
    "randint",
    "randperm",
    "multinomial",
    "normal",
    "dropout",
    "alpha_dropout",
    "feature_dropout",
    "binomial",
    "poisson",
)
PLAIN = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.operator, ast.unaryop, ast.expr_context)
FORMULA = ("delta_", "grad_")


def inlined(tree: ast.Module, keep: tuple[str, ...], plain: set[str]) -> bool:
    """Run one round; return whether anything changed. `plain`: the classes that `arithmetic` has found so far."""
    file = Calls(tree)
    plain |= arithmetic(file)
    changed = False
    for name, function in file.functions.items():
        calls = file.calls[name]
        if is_program(name, function, keep) or not calls:
            continue
        inner = {id(c) for n, f in file.functions.items() if is_program(n, f, keep) for c in ast.walk(f)}
        public = "." in name and any(id(call) in inner for call in calls)
        value = only_return(function)
        if value is not None and (not public or name.partition(".")[0] in plain):
            alone = len(calls) == file.mentions[name] == 1
            calls_itself = any(name_of(n) == name for n in ast.walk(function))
            if not calls_itself and (size(value) <= (LONG if alone else SHORT) or name.partition(".")[0] in plain):
                for call in calls:
                    changed = _in_place(call, function, value, tree) or changed
                if changed:
                    return True
        if not public and len(calls) == file.mentions[name] == 1 and _spliced(tree, file, name, function, calls[0]):
            return True
    return changed


def arithmetic(file: Calls) -> set[str]:
    """Classes whose functions are all one line of operators: `a * b` is clearer than a call by name."""
    found: dict[str, bool] = {}
    for name, function in file.functions.items():
        cls, _, _ = name.rpartition(".")
        value = only_return(function)
        nodes = list(ast.walk(value)) if value is not None else []
        plain = bool(nodes) and all(isinstance(n, PLAIN) or turned(n) for n in nodes) and size(value) <= 12
        if cls:
            found[cls] = found.get(cls, True) and plain
    return {cls for cls, plain in found.items() if plain}


def turned(node: ast.AST) -> bool:
    """x.T, x.mT, x.clone()"""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "clone" and not node.args
    return isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "mH", "clone")


def only_return(function: ast.FunctionDef) -> ast.expr | None:
    """The value of a function that is a single return; None for other functions."""
    body = code_of(function.body)
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


def size(node: ast.AST | None) -> int:
    return sum(isinstance(n, ast.expr) for n in ast.walk(node)) if node is not None else 0


def impure(node: ast.AST) -> bool:
    """Whether an expression draws random numbers or writes into a tensor."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            name = inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
            if name.rstrip("_") in RANDOM or name.endswith("_") or any(k.arg == "out" for k in inner.keywords):
                return True
    return False


def simple(node: ast.expr) -> bool:
    """Whether an expression is cheap and short enough to be written in several places."""
    if isinstance(node, ast.Tuple):
        return all(map(simple, node.elts))
    if isinstance(node, ast.Attribute):
        return (node.attr in ("shape", "dtype", "device", "T", "mT") and simple(node.value)) or isinstance(
            node.value, ast.Name
        )
    return isinstance(node, ast.Name) or is_literal(node)


def bound_in(node: ast.AST) -> set[str]:
    """Names that comprehensions and lambdas bind."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return found | {a.arg for n in ast.walk(node) if isinstance(n, ast.Lambda) for a in n.args.args}


def given_to(call: ast.Call, function: ast.FunctionDef) -> dict[str, ast.expr] | None:
    found = bindings(call, function)
    return None if found is None else {**defaults(function), **found}


def _in_place(call: ast.Call, function: ast.FunctionDef, value: ast.expr, tree: ast.Module) -> bool:
    """Replace one call by the expression that the function returns."""
    given = given_to(call, function)
    if given is None:
        return False
    nested = {
        id(n)
        for c in ast.walk(value)
        for n in ast.walk(c)
        if isinstance(c, (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.Lambda))
    }
    taken = bound_in(value)
    for name, argument in given.items():
        uses = [n for n in ast.walk(value) if isinstance(n, ast.Name) and n.id == name]
        if any(isinstance(n, ast.Name) and n.id in taken for n in ast.walk(argument)):
            return False
        several = len(uses) > 1 or any(id(u) in nested for u in uses)
        if not simple(argument) and (several or (impure(argument) and not isinstance(value, ast.Name))):
            return False
        if not uses and impure(argument):
            return False
    new = substituted(value, given)
    _Replace(call, new).visit(tree)
    return True


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def _spliced(tree: ast.Module, file: Calls, name: str, function: ast.FunctionDef, call: ast.Call) -> bool:
    """Replace the only call of a function, `return f(...)` or `... = f(...)`, by its lines."""
    given = given_to(call, function)
    lines = [s for s in function.body if not is_docstring(s)]
    if given is None or sum(1 for s in ast.walk(function) if isinstance(s, ast.stmt)) > LINES + 1:
        return False
    for owner, caller in file.functions.items():
        if owner == name:
            continue
        for block in blocks(caller):
            for k, statement in enumerate(block):
                if getattr(statement, "value", None) is not call or not isinstance(statement, (ast.Return, ast.Assign)):
                    continue
                found = _lines(caller, statement, call, given, function, lines)
                if found is not None:
                    block[k : k + 1] = found
                return found is not None
    return False


def _lines(
    caller: ast.FunctionDef,
    statement: Any,
    call: ast.Call,
    given: dict[str, ast.expr],
    function: ast.FunctionDef,
    lines: list,
) -> list[ast.stmt] | None:
    """The lines of a function that replace one statement of its caller; None where that is not possible."""
    returns = [n for s in lines for n in ast.walk(s) if isinstance(n, ast.Return)]
    tail = isinstance(statement, ast.Return)
    if not tail and (len(returns) != 1 or returns[0] is not lines[-1]):
        return None
    stored = {n.id for s in lines for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inside = {id(n) for n in ast.walk(call)}
    targets = {n.id for t in getattr(statement, "targets", []) for n in ast.walk(t) if isinstance(n, ast.Name)}
    others = {n.id for n in ast.walk(caller) if isinstance(n, ast.Name) and id(n) not in inside}
    others |= {a.arg for a in caller.args.args} - {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
    read = {
        n.id
        for n in ast.walk(caller)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in inside
    }
    clash = set() if tail else (stored & read) - targets
    if clash and not tail:
        return None
    values, first, now = {}, [], []
    arguments = {n.id for a in given.values() for n in ast.walk(a) if isinstance(n, ast.Name)}
    for name, argument in given.items():
        if isinstance(argument, ast.Name) and argument.id == name:
            if name in stored and name in read and not tail and name not in targets:
                return None
        elif (
            simple(argument)
            and name not in stored
            and not ({n.id for n in ast.walk(argument) if isinstance(n, ast.Name)} & stored)
        ):
            values[name] = argument
        elif name in others | arguments and not tail:
            return None
        else:
            first.append(ast.Name(name, ast.Store()))
            now.append(argument)
    made: list[ast.stmt] = []
    if first:
        several = len(first) > 1
        target = ast.Tuple(list(first), ast.Store()) if several else first[0]
        made.append(ast.Assign([target], ast.Tuple(now, ast.Load()) if several else now[0], lineno=0))
    body = [substituted(s, values) for s in lines]
    if not tail:
        last = body.pop()
        if last.value is None:
            return None
        body.append(ast.Assign(copy.deepcopy(statement.targets), last.value, lineno=0))
    return [*made, *body]


def unnamed(tree: ast.Module) -> None:
    """Keep the names in `return f.delta_x(...), f.delta_y(...)` where these formulas are written in place."""
    file = Calls(tree)
    for function in file.functions.values():
        for block in blocks(function):
            last = block[-1] if block else None
            if not (isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple)):
                continue
            taken = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)} | {a.arg for a in function.args.args}
            for k, part in enumerate(last.value.elts):
                name = name_of(part.func) if isinstance(part, ast.Call) else ""
                short = name.rpartition(".")[2]
                if (
                    name in file.functions
                    and file.mentions[name] == 1
                    and short.startswith(FORMULA)
                    and short not in taken
                ):
                    block.insert(len(block) - 1, ast.Assign([ast.Name(short, ast.Store())], part, lineno=0))
                    last.value.elts[k] = ast.Name(short, ast.Load())
