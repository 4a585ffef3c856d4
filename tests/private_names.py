"""Private names of torch in a program, found in its source.

A private name begins with one underscore. It is torch's where it, or what it is looked up in, was imported from torch,
or where torch's tensors, modules, storages, Functions or nodes have an attribute of that name. The operators that rules
stand in for are named as torch.ops.aten has them, with or without an underscore: without one its rule is not called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from manual_backprop.engine import torch_private

SOURCE = Path(torch_private.__file__).read_text("utf-8")
"""The one file that may use them."""

IN_TEXT = ("torch._", "_C.")
"""What a string has in it that names something private by its path."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _objects() -> list[Any]:
    layers = [cls for cls in vars(torch.nn).values() if isinstance(cls, type) and issubclass(cls, torch.nn.Module)]
    made = (torch.nn.Linear(1, 1), torch.nn.Conv2d(1, 1, 1), torch.nn.MultiheadAttention(1, 1))
    leaf = torch.ones((), requires_grad=True)
    return [
        torch, torch.nn.functional, torch.autograd, torch.autograd.graph, torch.autograd.forward_ad, torch.cuda,
        torch.nn.modules.module, torch.ops.aten, torch.Tensor, torch.UntypedStorage, torch.autograd.Function,
        torch.autograd.function.FunctionCtx, torch.autograd.function.BackwardCFunction, torch.autograd.Variable,
        torch.autograd.graph.Node, (leaf * 2).grad_fn, *layers, *made,
    ]  # fmt: skip


OF_TORCH = frozenset(name for thing in _objects() for name in dir(thing) if is_private(name))
"""The private attributes of torch's own objects."""


def _operators(tree: ast.Module) -> Iterator[ast.AST]:
    """What names an operator that a rule or function stands in for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("stands_for", "elemental", "linear", "rule"):
            yield from node.args
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "operator":
            yield node.value
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "torch.ops.aten":
            yield node


def private_names(program: str) -> Iterator[tuple[int, str]]:
    """(line, name) of each private name of torch that a program uses."""
    tree = ast.parse(program)
    roots = set()  # names in the program that stand for something of torch's
    passed: set[ast.AST] = set(_operators(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    roots.add((alias.asname or alias.name).split(".")[0])
                    if any(map(is_private, alias.name.split("."))):
                        yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "torch":
            for alias in node.names:
                roots.add(alias.asname or alias.name)
                if any(map(is_private, [*(node.module or "").split("."), alias.name])):
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name in OF_TORCH:
                    yield member.lineno, member.name
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node not in passed:
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if node.attr in OF_TORCH or (isinstance(root, ast.Name) and root.id in roots):
                yield node.lineno, node.attr
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed:
            text = node.value
            if text in OF_TORCH or any(part in text for part in IN_TEXT):
                yield node.lineno, text


def loaded(gone: str = "") -> ModuleType:
    """The file, in a torch in which a private name is gone."""
    assert not gone or SOURCE.count(gone)
    module = ModuleType("torch_private")
    exec(compile(SOURCE.replace(gone, "_gone") if gone else SOURCE, torch_private.__file__, "exec"), vars(module))
    return module
