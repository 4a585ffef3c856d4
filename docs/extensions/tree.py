"""Sphinx extension: what a page links to outside of docs/, a program or a table of results, becomes a page of the site.

On the site `[...](../../examples/linear_unit.py)` leads to a page with that program. Links to folders are plain text.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from .rules import ROOT, written

LINK = re.compile(r"\]\(((?:\.\./)+)([\w./-]+\.(?:py|md))(#[\w-]+)?\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([\w./-]+\.(?:png|svg))\)")
FOLDER = "tree"


def outside(page: Path) -> dict[str, Path]:
    """Each link of a page that leads out of docs/ to a file, with that file."""
    found = {}
    for up, path, _ in LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / up / path).resolve()
        if file.is_file() and not file.is_relative_to(ROOT / "docs"):
            found[up + path] = file
    return found


def name(file: Path) -> str:
    return "-".join(file.relative_to(ROOT).with_suffix("").parts)


def write_page(file: Path, folder: Path) -> None:
    """The page of one file: a program as code; Markdown as it is, with its pictures beside it."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        text = f"# {file.relative_to(ROOT)}\n\n````python\n{text}````\n"
    for picture in PICTURE.findall(text):
        if (file.parent / picture).is_file():
            shutil.copyfile(file.parent / picture, folder / Path(picture).name)
    written(folder / f"{name(file)}.md", f"---\norphan: true\n---\n\n{text}")


def write_linked(docs: Path) -> None:
    """Writes the pages of all files that guides and derivations link to."""
    (docs / FOLDER).mkdir(exist_ok=True)
    for page in [*docs.glob("guides/*.md"), *docs.glob("derivations/*.md")]:
        for file in outside(page).values():
            write_page(file, docs / FOLDER)


def lead(app: Sphinx, document: str, source: list[str]) -> None:
    """Leads the links of a page to those pages."""
    page = Path(app.env.doc2path(document))
    if page.suffix != ".md" or page.parent.name == FOLDER:
        return
    for link, file in outside(page).items():
        up = "../" * (len(Path(document).parts) - 1)
        source[0] = source[0].replace(f"]({link}", f"]({up}{FOLDER}/{name(file)}.md")


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("source-read", lead)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
