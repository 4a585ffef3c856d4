"""Every example runs, shows what it says, and its numbers are right."""

from __future__ import annotations

import importlib
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """run(name, *arguments) -> what main() of that example returns."""
    monkeypatch.syspath_prepend(EXAMPLES)
    with mpl.rc_context():  # the examples set the look of their pictures for the whole process
        yield lambda name, *arguments: importlib.import_module(name).main([str(a) for a in arguments])


def assert_picture(path: Path) -> None:
    """A picture of a sensible size that is not blank, and nothing else in its folder."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) >= 500
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_every_example_is_tested_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("[!_]*.py")}
    assert names
    assert names <= set(re.findall(r'"(\w+)"', Path(__file__).read_text()))


def test_a_script_runs_by_itself_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "linear_unit.py", "--out", tmp_path / "pictures"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "least squares, solved directly: w = (1.4295, -1.0506)" in done.stdout
    assert done.stderr == ""


def test_linear_unit(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("linear_unit", "--out", tmp_path)
    assert found["falls"]
    assert found["last"] < found["first"] / 100
    assert found["distance"] < 1e-3  # how near 60 steps at this rate come: measured 4e-5
    assert found["difference"] < 1e-6  # float32 rounding (1.2e-7) of numbers up to 4
    assert "   0  -1.5000   1.6000   4.2626   -1.1680" in capsys.readouterr().out
    assert_picture(tmp_path / "linear_unit.png")


def test_matrix_form(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("matrix_form", "--out", tmp_path)
    assert set(found) == {"library", "autograd"}
    assert max(found.values()) < 1e-14  # rounding only: float64's 2.2e-16, a few dozen operations deep
    printed = capsys.readouterr().out
    for layer, shape in enumerate(("(5, 3)", "(4, 5)", "(2, 4)"), start=1):
        assert f"layer {layer}: W {shape}" in printed
    assert_picture(tmp_path / "matrix_form.png")


def test_left_right(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("left_right", "--out", tmp_path)
    assert found["off_prediction"] == 0
    assert found["difference"] < 1e-12  # rounding only: float64's 2.2e-16 over up to 32 layers of 64 terms
    assert round(found["ratio"]) == 1025  # 32 layers of width 64: 132,188,160 over 129,024
    assert "132,188,160" in capsys.readouterr().out
    assert_picture(tmp_path / "left_right.png")


def test_adjoint_graph(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("adjoint_graph", "--out", tmp_path)
    assert max(found["deltas"], found["weight"]) < 1e-13  # rounding only: float64's 2.2e-16, numbers up to 18
    assert found["smallest_part"] > 0.1  # no path is idle, so a sum that forgot one would show
    assert "through skip" in capsys.readouterr().out
    assert_picture(tmp_path / "adjoint_graph.png")


@pytest.mark.parametrize("name", ["mnist_plain", "mnist_lightning"])
def test_digits_without_mnist(run: Any, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(name, "--root", tmp_path)
    assert found["dataset"] == "digits"
    assert found["accuracy"] > 0.95  # measured 97.2 %; 2 % are 8 images
    assert f"digits: {found['accuracy']:.2%} of 360 test images right" in capsys.readouterr().out


def test_mnist_files_are_read(run: Any, tmp_path: Path) -> None:
    """Files in MNIST's format, filled with the small digits enlarged to 28 x 28."""
    images, labels = load_digits(return_X_y=True)
    large = np.pad(np.kron(images.reshape(-1, 8, 8) * 15, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for kind, part in (("train", slice(360, None)), ("t10k", slice(360))):
        header = struct.pack(">iiii", 2051, len(large[part]), 28, 28)
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(header + large[part].tobytes())
        header = struct.pack(">ii", 2049, len(labels[part]))
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(header + labels[part].astype(np.uint8).tobytes())
    found = run("mnist_plain", "--root", tmp_path)
    assert found["dataset"] == "MNIST"
    assert found["accuracy"] > 0.75  # 45 steps only; guessing gives 0.1


def test_write_a_rule(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("write_a_rule")
    assert found["ok"]
    assert found["node"] == "SquaredReLUBackward"
    assert "gradcheck" in found["caught"]["NoFactor"]
    # right numbers once, so plain gradcheck is content: the deltas fed twice show it
    assert "gradcheck" not in found["caught"]["Spoiler"]
    assert {"deltas", "twice"} <= set(found["caught"]["Spoiler"])
    printed = capsys.readouterr().out
    assert "wrong: the factor 2 is missing" in printed
