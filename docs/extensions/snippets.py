"""Runs the Python blocks of a page, in order and in one fresh process, and compares what they print with the page.

A block of text right below a Python block is what that block prints. `torch.manual_seed(0)` comes before the first.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SNIPPET = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
MARK = "<end of snippet>"


class Differs(AssertionError):
    """A block fails, or prints something different from the text on its page."""


def snippets(text: str) -> list[tuple[str, str]]:
    """Each Python block with what the page says it prints."""
    return [(match[1], match[2] or "") for match in SNIPPET.finditer(text)]


def check(page: Path) -> int:
    """Runs the blocks of a page and returns their number. Raises Differs if one prints other text than the page has."""
    found = snippets(page.read_text(encoding="utf-8"))
    if not found:
        return 0
    script = f"\nprint('{MARK}')\n".join(["import torch; torch.manual_seed(0)", *(code for code, _ in found)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, cwd=page.parent)
    if done.returncode:
        raise Differs(f"{page}: {done.stderr[-3000:]}")
    printed = done.stdout.split(f"{MARK}\n")[1:]
    for (code, expected), got in zip(found, printed, strict=True):
        if expected and got.rstrip() != expected.rstrip():
            raise Differs(f"{page}, below\n{code}\ngot:\n{got}\nexpected:\n{expected}")
    return len(found)


def pages(folder: Path) -> list[Path]:
    """The pages with Python blocks that are written by hand."""
    found = [*folder.glob("guides/*.md"), *folder.glob("derivations/*.md")]
    return sorted(page for page in found if snippets(page.read_text(encoding="utf-8")))


def check_changed(app: Sphinx) -> None:
    """Checks the pages that have changed since the last build that checked them."""
    for page in pages(Path(app.srcdir)):
        seal = Path(app.doctreedir) / "checked" / page.name
        if not seal.exists() or seal.stat().st_mtime < page.stat().st_mtime:
            try:
                check(page)
            except Differs as error:
                raise ExtensionError(str(error)) from error
            seal.parent.mkdir(parents=True, exist_ok=True)
            seal.touch()


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("builder-inited", check_changed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
