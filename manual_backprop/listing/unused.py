"""Removes from a file statements after a return, and functions, constants and imports that are never read."""

from __future__ import annotations

import ast

from .layout import blocks, code_of


def without_dead(tree: ast.AST) -> None:
    """Remove statements after a return; an empty block gets `pass`."""
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
    """Remove functions, methods, constants and imports that are never read; return whether there were any."""
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
