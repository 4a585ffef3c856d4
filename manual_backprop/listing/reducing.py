"""A file reduced to what its own run does: conditions answered, constants written in, helpers in place."""

from __future__ import annotations

import ast
import re

from .deciding import decided
from .folding import Run, folded, without_dead, without_unused
from .inlining import inlined, unnamed
from .layout import notes_of, parsed, printed
from .parameters import specialized
from .tidying import tidied

ENGINE = re.compile(r"vmap|torch\.compile|derivative|differentiat|CUDA|\bGPU\b")
"""Comments on why a formula suits torch's transforms: a file has none of these."""


def reduced(text: str, run: Run, keep: tuple[str, ...]) -> str:
    """The text of a file, without what `run`, given the file's names, does not need. `keep`: functions that stay as
    they are called."""
    tree = parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            notes_of(node)[:] = [note for note in notes_of(node) if not ENGINE.search(note[0])]
    folded(tree, run)
    simplify(tree, keep)
    return printed(tree)


def simplify(tree: ast.Module, keep: tuple[str, ...]) -> None:
    """Without a run: as far as constants go."""
    changed, plain = True, set[str]()
    while changed:
        without_unused(tree, keep)
        before = ast.dump(tree)
        decided(tree)
        without_dead(tree)
        specialized(tree, keep)
        tidied(tree, keep)
        unnamed(tree)
        inlined(tree, keep, plain)
        changed = ast.dump(tree) != before
    ast.fix_missing_locations(tree)
