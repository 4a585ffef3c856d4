"""Helpers of the training tests: short digits runs through the command line, in this process or in one of their own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from manual_backprop.training import checkpoints, cli

# a net with everything that has state or draws random numbers
NET = ("--model.net_args={hidden: [32], norm: true, dropout: 0.3}", "--data.augment.shift=1")


def arguments(command: str, folder: Path, *more: str) -> list[str]:
    return [command, f"--run.folder={folder}", "--trainer.accelerator=cpu", *more]


def fit(folder: Path, *more: str) -> Path:
    """Train on digits in this process; returns the run folder."""
    options = ("--run.pictures=false", "--run.test=false", "--trainer.max_epochs=2")
    cli.main(arguments("fit", folder, *options, *more))
    return max(folder.glob("*/*"), key=lambda run: run.stat().st_mtime_ns)


def start(*words: str, **variables: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, its output in a pipe."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    # as many threads as here: the order of a sum, and with it the last bit, depends on it
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads()), **variables}
    command = [sys.executable, "-m", "manual_backprop.cli", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def saved_checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The list to which each checkpoint that becomes a last.ckpt from now on is added."""
    saved: list[bytes] = []
    write = checkpoints.write_atomically

    def remember(path: Path, data: bytes) -> None:
        write(path, data)
        if path.name in ("last.ckpt", "last.ckpt.new"):
            saved.append(data)

    monkeypatch.setattr(checkpoints, "write_atomically", remember)
    return saved


def last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """The places at which two nested structures of tensors and numbers differ, to the last bit."""
    if isinstance(a, torch.Tensor):
        return [] if isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b) else [where]
    if isinstance(a, dict):
        if not isinstance(b, dict) or a.keys() != b.keys():
            return [where]
        return [place for key in a for place in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [where]
        return [place for i, (x, y) in enumerate(zip(a, b, strict=True)) for place in differences(x, y, f"{where}.{i}")]
    return [] if a == b else [where]


def assert_same_training(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Weights, buffers, optimizer and schedule of two checkpoints are equal to the last bit."""
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(one[key], other[key], key) == []
