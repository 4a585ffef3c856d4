"""Reduces a file to what a run of it needs: one branch of a condition, constants, helpers written in place."""

from __future__ import annotations

import ast
import re

from .constants import functions_of
from .deciding import decided
from .folding import Run, folded
from .inlining import inlined, unnamed
from .layout import is_docstring, notes_of, parsed, printed
from .parameters import specialized
from .results import without_unread
from .tidying import tidied
from .unused import without_dead, without_unused

ENGINE = re.compile(r"vmap|torch\.compile|derivative|differentiat|CUDA|\bGPU\b")
"""Comments on torch's transforms, compilation or GPUs, none of which a written file uses: they are left out."""


def reduced(text: str, run: Run, keep: tuple[str, ...]) -> str:
    """The text of a file without what `run` does not need. `run` is called with the file's names. `keep`: functions
    whose parameters and results stay."""
    tree = parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            notes_of(node)[:] = [note for note in notes_of(node) if not ENGINE.search(note[0])]
    before = {name: arguments(f) for name, f in functions_of(tree).items()}
    for _ in range(2):  # the second round sees conditions that the first has simplified
        folded(tree, run)
        simplify(tree, keep)
    without_unused(tree, keep)
    for name, function in functions_of(tree).items():
        without_docstring_on(function, before[name] - arguments(function))
    if not any(isinstance(node, ast.AnnAssign) for node in ast.walk(tree)):  # functions are written without
        tree.body[:] = [node for node in tree.body if getattr(node, "module", "") != "__future__"]
    return printed(tree)


def arguments(function: ast.FunctionDef) -> set[str]:
    return {a.arg for a in function.args.args}


def without_docstring_on(function: ast.FunctionDef, gone: set[str]) -> None:
    """Leave out a docstring that explains an argument that was removed."""
    first = function.body[0]
    text = ast.get_docstring(function) or ""
    if is_docstring(first) and any(re.search(rf"`{name}`|^{name}:", text, re.MULTILINE) for name in gone):
        del function.body[0]


def simplify(tree: ast.Module, keep: tuple[str, ...]) -> None:
    """Simplify what depends on constants alone. This needs no run."""
    changed, plain = True, set[str]()
    while changed:
        without_unused(tree, (*keep, "F"))  # a private operator of torch may have become a function of F
        before = ast.dump(tree)
        decided(tree)
        without_dead(tree)
        specialized(tree, keep)
        tidied(tree, keep)
        unnamed(tree)
        inlined(tree, keep, plain)
        without_unread(tree, keep)
        changed = ast.dump(tree) != before
    ast.fix_missing_locations(tree)
