"""Import paths on the command line: modules of the current folder, for every command that takes one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manual_backprop.errors import BadInput
from manual_backprop.training.models import build

ROOT = Path(__file__).parents[2]
NET = """
import torch


class MyNet(torch.nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.layer = torch.nn.Linear(64, classes)

    def forward(self, x):
        return self.layer(torch.relu(x.flatten(1)))
"""


def command(folder: Path, *words: str, module: str = "manual_backprop") -> subprocess.CompletedProcess[str]:
    """Run in `folder`, which Python does not put on its path by itself (-P), as in the installed command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = (sys.executable, "-P", "-m", module, *words)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_package_is_the_command(tmp_path: Path) -> None:
    done = command(tmp_path, "--version")
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "manual-backprop", "")
    assert command(tmp_path, "fitt").returncode == 2


def test_a_module_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mymodule.py").write_text(NET)
    shown = command(tmp_path, "audit", "--model=mymodule.MyNet", "--input=2,1,8,8", "--explicit")
    assert "0 autograd" in shown.stdout, shown.stderr
    words = ("--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--run.pictures=false", "--run.test=false")
    shown = command(tmp_path, "fit", "--model.net=mymodule.MyNet", *words)
    assert "training digits_MyNet, run folder runs" in shown.stdout, shown.stderr
    shown = command(tmp_path, "fit", "--model.net=mymodul.MyNet", *words)
    assert shown.returncode == 2
    assert "module mymodul cannot be imported" in shown.stderr


def test_installed_modules_come_first(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('a module of this folder was imported in place of PyYAML')")
    shown = command(tmp_path, "fit", "--data.dataset=minst")
    assert shown.stderr.startswith("error: Unknown dataset 'minst'")


def test_a_name_that_an_installed_module_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"Unknown name in json \(which is .*, not your json.py: give that another name"):
        build("json.MyNet", (1, 8, 8), 10, {})
