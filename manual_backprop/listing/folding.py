"""Leaves out of a written file what its own run never does: branches that are not taken, functions not called.

The file is run once with every condition noted. One that has the same answer at each call is answered in the text: the
other branch goes. The formulas of a layer with many options are so reduced to those in use. A method that returned its
own tensor at each call (`.to` of the dtype that it has, `.reshape` to its own shape) goes, too. What counts axes or
works out sizes (`.dim()`, `[n - 1 for n in ...]`) becomes the number, where that is the same at each call.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .layout import blocks, code_of, notes_of, printed

NOTED, CALLED, TURNED, WORTH, FIRST = "__noted__", "__called__", "__turned__", "__worth__", "__first__"
NEUTRAL = (
    "to",
    "reshape",
    "view",
    "sum_to_size",
    "contiguous",
    "expand",
    "movedim",
    "transpose",
    "permute",
    "conj",
    "conjugate",
    "long",
    "float",
    "double",
    "resolve_conj",
    "squeeze",
    "real",
    "narrow",
)
"""Methods that may return what they are called on."""
FUNCTIONS = ("unsafe_view",)
"""Functions that may return their first argument."""
OF_LISTS = ("append", "extend", "insert", "index")
COUNTS = ("dim", "is_complex", "is_floating_point")
"""Methods whose answer depends on what kind of tensor it is."""

Run = Callable[[dict[str, Any]], object]


def noted(node: ast.AST) -> bool:
    """Whether a run says something about a node."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in NEUTRAL
    return isinstance(node, (ast.If, ast.IfExp)) or (isinstance(node, ast.Attribute) and node.attr == "mH")


def sized(node: ast.AST) -> bool:
    """Whether a node may be worth a number, or several, that depend on sizes alone."""
    if isinstance(node, ast.Call):
        method = isinstance(node.func, ast.Attribute) and node.func.attr in COUNTS and not node.args
        return method or (isinstance(node.func, ast.Name) and node.func.id == "len")
    return isinstance(node, ast.ListComp)


def returns_first(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS


@dataclass(frozen=True)
class Worth:
    """What an expression is worth at a call."""

    value: Any


def answered(tree: ast.Module, run: Run) -> dict[int, set[Any]]:
    """What each condition answered in one run, by the number of its node (ast.walk); of a method, whether it returned
    its own tensor; of `.mH`, what says the same."""
    wrapped = copy.deepcopy(tree)
    found: dict[int, set[Any]] = defaultdict(set)
    numbers = {id(node): number for number, node in enumerate(ast.walk(wrapped))}
    _Worth(numbers).visit(wrapped)
    for node in list(ast.walk(wrapped)):
        number = numbers.get(id(node), -1)
        if number < 0 or not noted(node):
            continue
        if isinstance(node, (ast.If, ast.IfExp)):
            node.test = ast.Call(ast.Name(NOTED, ast.Load()), [ast.Constant(number), node.test], [])
        elif isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Attribute)
            node.args = [ast.Constant(number), node.func.value, ast.Constant(node.func.attr), *node.args]
            node.func = ast.Name(CALLED, ast.Load())
        else:
            assert isinstance(node, ast.Attribute)
            node.value = ast.Call(ast.Name(TURNED, ast.Load()), [ast.Constant(number), node.value], [])

    def note(number: int, value: Any) -> Any:
        found[number].add(bool(value))
        return value

    def turned(number: int, value: Tensor) -> Tensor:
        found[number].add("mH" if value.is_complex() else "T" if value.dim() == 2 else "mT")
        return value

    def call(number: int, owner: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(owner, name)(*args, **kwargs)
        found[number].add(same(owner, result))
        return result

    def worth(number: int, value: Any) -> Any:
        listed = isinstance(value, list) and all(isinstance(v, int) for v in value)
        plain = isinstance(value, int) or listed
        found[number].add(Worth(tuple(value) if listed else value) if plain else None)
        return value

    def first(number: int, function: Any, *args: Any) -> Any:
        result = function(*args)
        found[number].add(same(args[0], result))
        return result

    names: dict[str, Any] = {NOTED: note, CALLED: call, TURNED: turned, WORTH: worth, FIRST: first}
    names["__name__"] = "written"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(ast.fix_missing_locations(wrapped), "<written>", "exec"), names)
    found.clear()
    try:
        run(names)
    except Exception as error:
        error.add_note(printed(tree)[-20000:])
        raise
    return found


def same(one: Any, other: Any) -> bool:
    """Whether a method returned what it was called on."""
    if not isinstance(one, Tensor):
        return type(one) is type(other) and isinstance(one, (int, float)) and one == other
    if one is other:
        return True
    if not isinstance(other, Tensor) or one.layout != torch.strided or other.layout != torch.strided:
        return False
    where = (
        one.data_ptr() == other.data_ptr() and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )
    alike = one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype
    return where and alike and one.is_conj() == other.is_conj() and one.is_neg() == other.is_neg()


class _Worth(ast.NodeTransformer):
    """Notes what expressions are worth."""

    def __init__(self, numbers: dict[int, int]) -> None:
        self.numbers = numbers

    def _noted(self, node: Any) -> Any:
        self.generic_visit(node)
        if not sized(node) and not returns_first(node):
            return node
        number = ast.Constant(self.numbers[id(node)])
        if sized(node):
            return ast.Call(ast.Name(WORTH, ast.Load()), [number, node], [])
        node.args = [number, node.func, *node.args]
        node.func = ast.Name(FIRST, ast.Load())
        return node

    visit_Call = visit_ListComp = _noted


class _Answer(ast.NodeTransformer):
    def __init__(self, answers: dict[int, set[Any]]) -> None:
        self.answers = answers
        """By the node's id."""

    def _only(self, node: ast.AST) -> Any:
        found = self.answers.get(id(node), set())
        return next(iter(found)) if len(found) == 1 else None

    def visit_If(self, node: ast.If) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        return node if answer is None else taken(node, bool(answer))

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        return node if answer is None else (node.body if answer else node.orelse)

    def visit_Call(self, node: ast.Call) -> Any:
        answer = self._only(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr not in OF_LISTS:
            node.args = [self._sizes(a) or a for a in node.args]
        self.generic_visit(node)
        if isinstance(answer, Worth):
            return ast.Constant(answer.value)
        if returns_first(node) and answer is True:
            return node.args[0]
        return node.func.value if answer is True and isinstance(node.func, ast.Attribute) else node

    def visit_Assign(self, node: ast.Assign) -> Any:
        node.value = self._sizes(node.value) or node.value
        self.generic_visit(node)
        return node

    def _sizes(self, node: ast.AST) -> ast.Tuple | None:
        """A list of numbers as a tuple of literals."""
        answer = self._only(node)
        if isinstance(answer, Worth) and isinstance(answer.value, tuple):
            return ast.Tuple([ast.Constant(v) for v in answer.value], ast.Load())
        return None

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        if isinstance(answer, str):
            node.attr = answer
        return node


def taken(node: ast.If, answer: bool) -> list[ast.stmt]:
    """The statements of the branch that stays; with the comment above the condition where it holds."""
    if answer:
        notes_of(node.body[0])[:0] = [(text, False) for text, _ in notes_of(node)]
    return node.body if answer else node.orelse


def folded(tree: ast.Module, run: Run) -> None:
    """Answer in a tree what one run of it answers."""
    answers = answered(tree, run)
    _Answer({id(node): answers[k] for k, node in enumerate(ast.walk(tree)) if k in answers}).visit(tree)
    without_dead(tree)


def without_dead(tree: ast.AST) -> None:
    """Without statements behind a return, and no empty blocks."""
    for block in blocks(tree):
        for k, statement in enumerate(block):
            if isinstance(statement, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
                del block[k + 1 :]
                break
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list) and not isinstance(node, ast.Module):
            if not code_of(node.body) and not isinstance(node, ast.ClassDef):
                node.body.append(ast.Pass())
            elif len(code_of(node.body)) > 1:
                node.body[:] = [s for s in node.body if not isinstance(s, ast.Pass)]


def without_unused(tree: ast.Module, roots: tuple[str, ...]) -> bool:
    """Without functions, methods, constants and imports that nothing reads. Whether there were any."""
    found = False
    while True:
        read, asked = set(roots), set()
        for node in tree.body:
            own = {node.name} if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else set()
            for scope in [*node.bases, *node.body] if isinstance(node, ast.ClassDef) else [node]:
                local = own | (locals_of(scope) if isinstance(scope, ast.FunctionDef) else set())
                for inner in ast.walk(scope):
                    if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
                        asked.add((inner.value.id, inner.attr))
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load) and inner.id not in local:
                        read.add(inner.id)
        before = sum(len(block) for block in blocks(tree))
        tree.body[:] = [n for n in tree.body if not bound(n) or bound(n) & read]
        for cls in tree.body:
            if isinstance(cls, ast.ClassDef) and not cls.bases:
                cls.body[:] = [f for f in cls.body if not isinstance(f, ast.FunctionDef) or (cls.name, f.name) in asked]
        if sum(len(block) for block in blocks(tree)) == before:
            return found
        found = True


def locals_of(function: ast.FunctionDef) -> set[str]:
    """The names that a function binds."""
    found = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return found | {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement of a file binds."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return set()
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign):
        return {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return set()
