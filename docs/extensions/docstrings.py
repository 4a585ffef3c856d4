"""Sphinx extension: the docstrings of the API reference are plain text. Characters that reStructuredText would read as
markup are escaped; code between backticks stays code."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

MARKS = re.compile(r"([\\*|_])")


def escaped(line: str) -> str:
    """One line of plain text as reStructuredText."""
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(f"`{part}`" if i % 2 else MARKS.sub(r"\\\1", part) for i, part in enumerate(parts))


def plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Paragraphs of formulas and of code keep their line breaks; others do not."""
    shown: list[str] = []
    for paragraph in "\n".join(lines).strip().split("\n\n"):
        rows = paragraph.split("\n")
        if all(row.startswith("    ") for row in rows) or rows[0].startswith(">>>"):  # code
            shown += ["::", "", *("    " + row.strip("\n") for row in rows), ""]
        elif any(re.match(r"\s*[\w\[\], ]+ :?= ", row) for row in rows):
            shown += ["| " + escaped(row) for row in rows] + [""]
        else:
            shown += [*(escaped(row.strip()) for row in rows), ""]
    lines[:] = shown


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("autodoc-process-docstring", plain)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
