"""Wrong versions of formulas: every single small mistake that a syntax tree allows, one at a time."""

from __future__ import annotations
import __future__

import ast
import copy
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from manual_backprop.engine.rule import _guarded
from manual_backprop.rules import RULES, Rule

OPERATORS: dict[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS: dict[type, type] = {
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
DROPPABLE = {
    "sum",
    "mean",
    "sum_to_size",
    "amax",
    "t",
    "transpose",
    "swapaxes",
    "movedim",
    "flip",
    "neg",
    "conj",
    "exp",
    "square",
}
DROPPABLE_CALLS = {"sum_to", "conj"}
DROPPABLE_ATTRIBUTES = {"T", "mT", "mH"}


@dataclass(frozen=True)
class Mutant:
    """A function of a rule's file with one mistake in it."""

    rule: str
    method: str
    kind: str
    before: str
    after: str
    nth: int
    """The how manieth with this text in its function."""
    tree: ast.FunctionDef
    module: ModuleType

    @property
    def key(self) -> str:
        """What identifies it in the list of equivalent mutants."""
        return f"{self.rule}.{self.method}: {self.before} -> {self.after}" + (f" ({self.nth})" if self.nth > 1 else "")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The rule computes with the mistake inside this context."""
        owner: Any = RULES.get(self.rule, self.module)
        original = vars(owner)[self.method]
        wrong: Any = self._function()
        if isinstance(original, FunctionType):  # a helper: other files and tables hold the same function
            code, original.__code__ = original.__code__, wrong.__code__
            try:
                yield
            finally:
                original.__code__ = code
            return
        if isinstance(owner, type):
            wrong = staticmethod(_guarded(wrong) if self.method == "backward" else wrong)
        setattr(owner, self.method, wrong)
        try:
            yield
        finally:
            setattr(owner, self.method, original)

    def _function(self) -> Callable[..., Any]:
        definition = copy.deepcopy(self.tree)
        definition.decorator_list = []
        program = ast.fix_missing_locations(ast.Module([definition], []))
        code = compile(program, f"<{self.key}>", "exec", flags=__future__.annotations.compiler_flag)
        local: dict[str, Any] = {}
        exec(code, self.module.__dict__, local)
        return local[self.method]


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(kind of mistake, the wrong node) for one node of the tree."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            yield "wrong operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            yield "dropped term", node.left
            yield "dropped term", ast.UnaryOp(ast.USub(), node.right) if isinstance(node.op, ast.Sub) else node.right
        if isinstance(node.op, (ast.Sub, ast.MatMult, ast.Div)):
            yield "swapped operands", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "flipped sign", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield "constant off", ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 1.1 + 0.01)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield "wrong comparison", ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Attribute) and node.attr in DROPPABLE_ATTRIBUTES:
        yield "missing transpose", node.value
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        if (
            name in DROPPABLE
            and receiver is not None
            and not (isinstance(receiver, ast.Name) and receiver.id in ("torch", "F"))
        ):
            yield f"missing {name}", receiver
        if name in DROPPABLE_CALLS and receiver is None:
            yield f"missing {name}", node.args[0]
        if name == "where" and len(node.args) == 3:
            yield "swapped branches", ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], node.keywords)
    elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Tuple | ast.Constant | None):
        yield "flipped sign", ast.Return(ast.UnaryOp(ast.USub(), node.value))


def _variants(function: ast.FunctionDef) -> Iterator[tuple[str, str, str, ast.FunctionDef]]:
    """Every (kind, before, after, function with one mistake)."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    nodes = [node for statement in body for node in ast.walk(statement) if not isinstance(node, ast.expr_context)]
    parents = {id(child): node for node in nodes for child in ast.iter_child_nodes(node)}
    for node in nodes:
        whole = node
        while isinstance(whole, ast.Constant | ast.UnaryOp | ast.Tuple | ast.List):  # a number alone says too little
            whole = parents[id(whole)]
        for kind, wrong in _replacements(node):
            before = ast.unparse(whole)
            with _substituted(function, node, wrong):
                new = wrong if whole is node else whole
                yield kind, before, ast.unparse(new), copy.deepcopy(function)


@contextmanager
def _substituted(root: ast.AST, old: ast.AST, new: ast.AST) -> Iterator[None]:
    """`new` stands in the place of `old` inside this context."""
    for parent in ast.walk(root):
        for name, value in ast.iter_fields(parent):
            before = value
            if value is old:
                after: Any = new
            elif isinstance(value, list) and any(item is old for item in value):
                after = [new if item is old else item for item in value]
            else:
                continue
            setattr(parent, name, after)
            try:
                yield
            finally:
                setattr(parent, name, before)
            return


def mutants(name: str) -> Iterator[Mutant]:
    """The mutants of a rule: of its backward, formulas and tangent (not of its forward: the twin is its proof)."""
    rule = RULES[name]
    module = importlib.import_module(rule.__module__)
    tree = ast.parse(inspect.getsource(module))
    body = next(found for node in tree.body if (found := _declared(node, name, rule)) is not None)
    for item in body:
        if isinstance(item, ast.FunctionDef) and item.name not in ("forward", "forward_", "setup_context"):
            yield from _of(name, item, module)


def _declared(node: ast.stmt, name: str, rule: type[Rule]) -> list[Any] | None:
    """The functions of a rule: those in its class, or the formulas in its line of a table."""
    if isinstance(node, ast.ClassDef) and node.name == name:
        return node.body
    if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and isinstance(node.value, ast.Call)):
        return None
    arguments = [f"delta_{argument}" for argument in inspect.signature(rule.forward).parameters]
    lambdas = [part for part in node.value.args if isinstance(part, ast.Lambda)]
    named = [(k.arg, k.value) for k in node.value.keywords if isinstance(k.value, ast.Lambda)]
    return [
        ast.fix_missing_locations(
            ast.FunctionDef(method, formula.args, [ast.Return(formula.body)], [], None, lineno=1)  # type: ignore[call-overload]
        )
        for method, formula in [*zip(arguments, lambdas, strict=False), *named]
    ]


def helper_mutants(module: ModuleType) -> Iterator[Mutant]:
    """The mutants of the functions beside the rules in one file, which the formulas call."""
    for item in ast.parse(inspect.getsource(module)).body:
        if isinstance(item, ast.FunctionDef):
            yield from _of(module.__name__, item, module)


def _of(owner: str, item: ast.FunctionDef, module: ModuleType) -> Iterator[Mutant]:
    if item.returns is not None and ast.unparse(item.returns) == "list[str]":
        return  # words for error messages, no mathematics
    seen: Counter[str] = Counter()
    for kind, before, after, wrong in _variants(item):
        if before != after:
            text = f"{before} -> {after}"
            seen[text] += 1
            yield Mutant(owner, item.name, kind, before, after, seen[text], wrong, module)


SHARED = "manual_backprop.engine.terms", "manual_backprop.rules._through_time"
"""Files without a rule whose functions formulas call."""


def rule_modules() -> list[ModuleType]:
    """The files whose helper functions formulas call: those of rules, and what these share."""
    names = {rule.__module__ for rule in RULES.values() if issubclass(rule, Rule)}
    of_rules = sorted(name for name in names if name.startswith("manual_backprop.rules."))
    return [importlib.import_module(name) for name in (*of_rules, *SHARED)]


def calls_helpers_of(module: ModuleType, rule: type[Rule]) -> bool:
    """Whether a rule stands in a file of helpers, or in one that takes functions from there."""
    helpers = [f for f in vars(module).values() if isinstance(f, FunctionType) and f.__module__ == module.__name__]
    there = vars(importlib.import_module(rule.__module__))
    return rule.__module__ == module.__name__ or any(there.get(helper.__name__) is helper for helper in helpers)
