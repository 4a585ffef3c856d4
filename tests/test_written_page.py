"""docs/guides/written_out.md explains every line of the backward that it shows. Its snippets: test_pages.py."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "written_out.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_line_of_the_backward_is_annotated() -> None:
    backward = TEXT.partition("```text\ndef backward(")[2].partition("```")[0]
    names = re.findall(r"^    (delta_\w+|grad\[.*?\]) = ", backward, re.MULTILINE)
    table = TEXT.partition("| in a textbook |")[2].partition("\n\n")[0]
    assert len(names) == 8
    assert set(names) == set(re.findall(r"`([^`]+)`(?=[^|\n]*\| )", table))
