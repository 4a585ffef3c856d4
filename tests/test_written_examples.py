"""The listings of examples/written_out are what make.py writes, and each runs with torch alone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.running_alone import agreeing, alone

FOLDER = Path(__file__).parent.parent / "examples" / "written_out"
CHECKED = {
    "perceptron": ["fc2.weight", "fc2.bias", "fc1.weight", "fc1.bias"],
    "lenet": ["fc3.weight", "fc2.bias", "conv2.weight", "conv1.bias"],
    "resnet_block": ["bn2.weight", "bn2.bias", "conv2.weight", "bn1.weight", "bn1.bias", "conv1.weight"],
    "lstm": 6,
    "gpt_block": 6,
}
"""Whose gradients each file compares with finite differences, or how many."""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_written_out", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_version(text: str) -> str:
    assert len(re.findall(r"torch \d+\.\d+\.\d+\S*\.$", text, re.MULTILINE)) == 1
    return re.sub(r"torch \d+\.\d+\.\d+\S*\.$", "torch.", text, flags=re.MULTILINE)


def test_each_listing_is_what_make_writes(make: ModuleType) -> None:
    programs = make.listings()
    assert sorted(programs) == sorted(CHECKED)
    assert {path.stem for path in FOLDER.glob("*.py")} == {*CHECKED, "make"}
    for name, program in programs.items():
        shown = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert without_version(shown) == without_version(str(program)), "run: python examples/written_out/make.py"


@pytest.mark.parametrize("name", CHECKED)
def test_each_runs_by_itself_and_agrees_with_finite_differences(name: str) -> None:
    found = agreeing(alone(FOLDER / f"{name}.py"))
    assert found == CHECKED[name] if isinstance(CHECKED[name], list) else len(found) == CHECKED[name]


def test_make_writes_into_a_folder(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make.listings()["perceptron"]
    monkeypatch.setattr(make, "listings", lambda: {"perceptron": program})
    assert make.main([str(tmp_path)]) == 0
    assert (tmp_path / "perceptron.py").read_text(encoding="utf-8") == str(program)
