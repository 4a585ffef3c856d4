"""Private names of torch in a program, found in its source.

A private name begins with one underscore. It is torch's where it, or what it is looked up in, was imported from torch,
or where torch's tensors, modules, storages, Functions or nodes have an attribute of that name. An operator that a
function `@stands_for` is none: its name is compared with those that torch calls, and looked up nowhere.
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


def private_names(program: str) -> Iterator[tuple[int, str]]:
    """(line, name) of each private name of torch that a program uses."""
    tree = ast.parse(program)
    roots = set()  # names in the program that stand for something of torch's
    documentation: set[ast.expr] = set()  # and names of operators
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
            documentation.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "stands_for":
            documentation.update(node.args)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if node.attr in OF_TORCH or (isinstance(root, ast.Name) and root.id in roots):
                yield node.lineno, node.attr
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            text = node.value
            if text in OF_TORCH or any(part in text for part in IN_TEXT):
                yield node.lineno, text


def loaded(gone: str = "") -> ModuleType:
    """The file, in a torch in which a private name is gone."""
    assert not gone or SOURCE.count(gone)
    module = ModuleType("torch_private")
    exec(compile(SOURCE.replace(gone, "_gone") if gone else SOURCE, torch_private.__file__, "exec"), vars(module))
    return module
