"""The README says what is so: its snippets run, its outputs are theirs, its table, links and commands exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import manual_backprop as mb
from manual_backprop.cli import COMMANDS, run

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docker/README.md"]


def layers_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layers", ROOT / "docs" / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_snippets_run_in_order_and_print_what_stands_below_them() -> None:
    """In a process of their own, where nothing else has imported anything."""
    snippets = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TEXT, re.DOTALL)
    assert len(snippets) == TEXT.count("```python")
    assert sum(bool(output) for _, output in snippets) == TEXT.count("```text")
    script = "\nprint('<end of snippet>')\n".join(
        ["import torch; torch.manual_seed(0)", *(code for code, _ in snippets)]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for (code, output), printed in zip(snippets, done.stdout.split("<end of snippet>\n")[1:], strict=True):
        if output:
            assert printed.rstrip() == output.rstrip(), code


def test_the_trace_shown_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """But for the numbers, whose last digits depend on the machine."""
    shown = re.search(r"\$ manual-backprop (trace .*)\n([^`]*)```", TEXT)
    assert shown is not None
    assert run(shown[1].split()) == 0

    def words(text: str) -> list[str]:
        return re.sub(r"\b\d+(\.\d+)?(e-\d+)?%?(?=\s|,|$)|--+", "#", text).split()

    assert words(capsys.readouterr().out) == words(shown[2])


def test_the_table_of_layers_is_what_the_code_says() -> None:
    script = layers_script()
    assert script.updated(TEXT) == TEXT, "run: make docs"
    assert len(list(script.rows())) > 40
    for shown, forward, backward, _ in script.rows():
        assert "delta" in backward, shown
        assert forward.count("`") >= 2, shown


def test_every_layer_is_in_the_table() -> None:
    block = TEXT.partition("<!-- layers")[2].partition("<!-- end of layers -->")[0]
    missing = [name for name in mb.nn.__all__ if f"`{name}`" not in block and not name.startswith("Lazy")]
    assert missing == ["Flatten", "Identity", "Unflatten"]  # have no rule, as the README says below the table


def test_a_readme_without_its_markers_is_refused() -> None:
    script = layers_script()
    with pytest.raises(ValueError, match="has lost the lines"):
        script.updated(TEXT.replace(script.END, ""))


def test_what_packages_export_is_written_for_type_checkers() -> None:
    for path, text in layers_script().written().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make docs"
    for package in (mb.rules, mb.functional, mb.nn):
        stub = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"))
        imported = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        defined = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
        assert set(package.__all__) <= imported | defined


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    for link in links:
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_commands_named_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    words = set(re.findall(r"manual-backprop ([a-z]+)\b", text))
    assert words <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=\s+#|`|$)", text, re.MULTILINE)) <= targets
    configs = {path.stem for path in (ROOT / "manual_backprop" / "training" / "configs").glob("*.yaml")}
    assert set(re.findall(r" -c (\w+)", text)) <= configs
