"""docs/guides/written_out.md says what is so: its snippets run and print what stands below them, its links exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from manual_backprop.cli import COMMANDS

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "written_out.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_snippets_run_in_order_and_print_what_stands_below_them() -> None:
    """In a process of their own, where nothing else has imported anything."""
    snippets = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TEXT, re.DOTALL)
    assert len(snippets) == TEXT.count("```python")
    assert sum(bool(output) for _, output in snippets) == TEXT.count("```text")
    script = "\nprint('<end of snippet>')\n".join(["", *(code for code, _ in snippets)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for (code, output), printed in zip(snippets, done.stdout.split("<end of snippet>\n")[1:], strict=True):
        assert printed.rstrip() == output.rstrip(), code


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert len(links) >= 6
    for link in links:
        assert (PAGE.parent / link).exists(), link


def test_every_line_of_the_backward_is_annotated() -> None:
    backward = TEXT.partition("```text\ndef backward(")[2].partition("```")[0]
    names = re.findall(r"^    (delta_\w+|grad\[.*?\]) = ", backward, re.MULTILINE)
    table = TEXT.partition("| in a textbook |")[2].partition("\n\n")[0]
    assert len(names) == 8
    assert set(names) == set(re.findall(r"`([^`]+)`(?=[^|\n]*\| )", table))


def test_commands_named_in_the_text_exist() -> None:
    words = set(re.findall(r"manual-backprop ([a-z]+)\b", TEXT))
    assert words == {"write", "exercise", "fit"}
    assert words <= set(COMMANDS)
