"""The README says what is so: its snippets run, its outputs are theirs, its formula is the code's, its links and
commands exist; and what packages export is written for type checkers."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import manual_backprop as mb
from manual_backprop.cli import COMMANDS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from extensions import snippets  # noqa: E402

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = sorted(f"docs/guides/{path.name}" for path in (ROOT / "docs" / "guides").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docker/README.md"]


def stubs_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "docs" / "stubs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_snippets_run_in_order_and_print_what_stands_below_them() -> None:
    """In a process of their own, where nothing else has imported anything."""
    assert snippets.check(ROOT / "README.md") == TEXT.count("```python")
    assert TEXT.count("```text") == sum(bool(printed) for _, printed in snippets.snippets(TEXT))


def test_it_is_a_page_of_at_most_eight_kilobytes() -> None:
    assert len(TEXT.encode()) <= 8192


def test_the_formula_shown_is_the_one_in_the_code() -> None:
    shown = re.findall(r"```py\n(.*?)```", TEXT, re.DOTALL)
    assert shown == [inspect.getsource(mb.rules.Softmax.delta_input)]


def test_the_trace_shown_sets_its_seed_and_names_every_layer() -> None:
    """That its numbers are those of a run, the snippets' test says."""
    code, printed = next((code, printed) for code, printed in snippets.snippets(TEXT) if "mb.trace(" in code)
    assert code.startswith("torch.manual_seed(")
    rows = [line.split()[:2] for line in printed.splitlines()]
    assert rows == [["0", "Linear"], ["1", "ReLU"], ["2", "Linear"], ["(loss)", "CrossEntropyLoss"]]


def test_numbers_shown_are_those_of_the_committed_benchmarks() -> None:
    results = ROOT / "benchmarks" / "results"
    steps = json.loads((results / "steps.json").read_text())
    table = (results / "steps.md").read_text()
    assert steps["machine"]["cpu"] in TEXT
    assert f"torch {steps['machine']['torch'].rpartition('.')[0]}" in TEXT
    for shown, network in {"ResNet-18": "resnet18", "ViT tiny": "vit-tiny", "GPT": "gpt"}.items():
        time = re.search(rf"^\| {network} \| [\d.]+ .s \| ([\d.]+) ", table, re.MULTILINE)
        kept = re.search(rf"^\| {network} \| [\d.]+ MiB \| ([\d.]+) ", table, re.MULTILINE)
        assert time is not None
        assert kept is not None
        assert f"| {shown} | {time[1]} | {float(kept[1]):.2f} |" in TEXT
    mean = re.search(r"time ([\d.]+) .*?bytes ([\d.]+)", table)
    assert mean is not None
    assert f"| geometric mean of six networks | {float(mean[1]):.2f} | {float(mean[2]):.2f} |" in TEXT


def test_what_packages_export_is_written_for_type_checkers() -> None:
    for path, text in stubs_script().written().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make stubs"
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


@pytest.mark.parametrize("page", [*PAGES, *GUIDES])
def test_commands_named_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    words = set(re.findall(r"manual-backprop ([a-z]+)\b", text))
    assert words <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=\s+#|`|$)", text, re.MULTILINE)) <= targets
    configs = {path.stem for path in (ROOT / "manual_backprop" / "training" / "configs").glob("*.yaml")}
    assert set(re.findall(r" -c (\w+)", text)) <= configs
