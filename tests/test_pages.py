"""The pages say what is so: their Python blocks run and print what stands below them, their links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from extensions import snippets  # noqa: E402

BY_HAND = sorted([*DOCS.glob("*.md"), *DOCS.glob("guides/*.md"), *DOCS.glob("derivations/*.md")])


@pytest.mark.parametrize("page", snippets.pages(DOCS), ids=lambda page: page.stem)
def test_blocks_run_and_print_what_stands_below_them(page: Path) -> None:
    assert snippets.check(page) > 0
    text = page.read_text(encoding="utf-8")
    assert text.count("```python") == len(snippets.snippets(text))
    assert text.count("```text") == sum(bool(printed) for _, printed in snippets.snippets(text))


def test_a_block_that_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")
    with pytest.raises(snippets.Differs, match="got:\n2"):
        snippets.check(page)
    page.write_text("```python\nraise ValueError('no')\n```\n", encoding="utf-8")
    with pytest.raises(snippets.Differs, match="ValueError: no"):
        snippets.check(page)


@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page: Path) -> None:
    """Pages that `make docs` writes lie below rules/ and api/."""
    for link in re.findall(r"\]\((?!https?:|#|<)([^)#\s]+)", page.read_text(encoding="utf-8")):
        written = link.startswith(("rules/", "../rules/", "api/", "../api/"))
        assert written or (page.parent / link).exists(), link
