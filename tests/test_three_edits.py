"""A layer is three edits, those that CONTRIBUTING.md shows: made in a copy of the package, where all else follows.

The package has that layer already, in three files of its own: the copy has not.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import manual_backprop as mb

ROOT = Path(__file__).parent.parent
PACKAGE = Path(mb.__file__).parent
RULE, MODULE, ROW = (
    textwrap.dedent(code)
    for code in re.findall(r" {3}```python\n(.*?) {3}```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
)

HEADS = {
    "rules": "import torch.nn.functional as F\nfrom torch import Tensor\n\n"
    "from ..engine.rule import Rule\nfrom .loss import FLOAT32, per_loss\n",
    "nn": "import torch\nfrom torch import Tensor\n\nfrom .. import functional as F\n",
    "cases": "from ..case import uniform\nfrom ._make import layer\n\nCASES = [\n]\n",
}
"""What a file of its own begins with."""

FILES = {False: "loss.py", True: "margin.py"}
"""Of the family, and of the layer's own."""

HERE = "soft_margin.py"
"""The file of each folder in which the package has the layer."""

FOLLOWS = """
import inspect, sys, torch
import manual_backprop as mb
from manual_backprop.bench.rows import rows
assert mb.__file__.startswith(sys.argv[1]), mb.__file__

twin, F = torch.nn.SoftMarginLoss, torch.nn.functional
assert mb.rules.RULES["SoftMarginLoss"] is mb.rules.SoftMarginLoss
for space, name in ((mb.rules, "SoftMarginLoss"), (mb.nn, "SoftMarginLoss"), (mb.functional, "soft_margin_loss")):
    assert name in space.__all__
ours, theirs = (inspect.signature(f).parameters for f in (mb.functional.soft_margin_loss, F.soft_margin_loss))
assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]

assert type(mb.convert(twin())) is mb.nn.SoftMarginLoss
x, y = torch.randn(4, 3, requires_grad=True), torch.ones(4, 3)
with mb.explicit():
    loss = F.soft_margin_loss(x, y)
assert mb.rule_of(loss.grad_fn).__name__ == "SoftMarginLoss"
report = mb.testing.check(mb.nn.SoftMarginLoss(reduction="none"), x.detach(), y.long(), checks=("forward", "gradcheck"))
assert report.ok
assert "SoftMarginLoss" in [row.name for row in rows()]
"""

COMMANDS = """
from manual_backprop.cli import main
for command in (["check", "--layer", "SoftMarginLoss"], ["bench", "--layer", "SoftMarginLoss", "--rounds", "1"]):
    status = main(command)
    assert not status, command
"""


def edited(to: Path, own: bool) -> None:
    """A copy of the package and of docs/, with the three edits, in files of their own or the family's."""
    shutil.copytree(PACKAGE, to / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", HERE))
    built = shutil.ignore_patterns("images", "_build", "rules", "__pycache__")
    shutil.copytree(ROOT / "docs", to / "docs", ignore=built)
    for folder, code in {"rules": RULE, "nn": MODULE}.items():
        path = to / PACKAGE.name / folder / FILES[own]
        before = HEADS[folder] if own else path.read_text("utf-8")
        path.write_text(f"{before}\n\n{code}", "utf-8")
    path = to / PACKAGE.name / "testing" / "cases" / FILES[own]
    before = HEADS["cases"] if own else path.read_text("utf-8")
    assert before.endswith("\n]\n"), "the list of CASES"
    path.write_text(f"{before.removesuffix(']' + chr(10))}    {ROW.strip()},\n]\n", "utf-8")


def forgotten(copy: Path) -> None:
    """Drop what `make stubs` has written of the layer."""
    for path in (copy / PACKAGE.name).rglob("*.pyi"):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not re.search("SoftMarginLoss|[^l]soft_margin_loss", line)]
        path.write_text("".join(kept), "utf-8")


def changed(copy: Path) -> set[str]:
    """The files of a copy that are other than in the package, and those that are not there."""
    paths = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {
        path.as_posix()
        for path in paths
        if not (ROOT / path).is_file() or not filecmp.cmp(copy / path, ROOT / path, shallow=False)
    }


def python(copy: Path, *arguments: str) -> str:
    """What a program prints that finds the copy of the package."""
    done = subprocess.run([sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, cwd=copy)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_a_layer_that_torch_does_not_have_is_not_here() -> None:
    with pytest.raises(AttributeError, match="no attribute 'HardMarginLoss'"):
        mb.nn.HardMarginLoss  # noqa: B018


@pytest.mark.parametrize("own", [False, True], ids=["in the family's files", "in files of its own"])
def test_three_edits_are_a_layer(own: bool, tmp_path: Path) -> None:
    edited(tmp_path, own)
    files = {f"manual_backprop/{folder}/{FILES[own]}" for folder in ("rules", "nn", "testing/cases")}
    assert changed(tmp_path) == files
    printed = python(tmp_path, "-c", FOLLOWS + ("" if own else COMMANDS), str(tmp_path))
    assert own or re.search(r"1 rows: (19|2\d) checks passed, 0 failed", printed), printed
    forgotten(tmp_path)
    python(tmp_path, "-m", "docs.stubs")
    written = {f"manual_backprop/{package}/__init__.pyi" for package in ("rules", "nn", "functional")}
    assert changed(tmp_path) - files <= written
    stub = (tmp_path / "manual_backprop/functional/__init__.pyi").read_text("utf-8")
    assert "def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None" in stub
