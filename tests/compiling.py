"""A small kernel, and programs that run one, for tests of how kernels are compiled and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manual_backprop import engine
from manual_backprop.engine.compiler import loaded

TRIPLE = "int kernel(int x) { return 3 * x; }"


def triple() -> bool:
    """Whether a kernel can be had; it is right if so."""
    library = loaded("triple", (), (), TRIPLE)
    return library is not None and library.kernel(5) == 15


def compiles(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The results of compiles from now on."""
    seen: list[Path] = []
    run = engine.compiler._compile

    def noted(to: Path, *arguments: Any) -> None:
        seen.append(to)
        run(to, *arguments)

    monkeypatch.setattr(engine.compiler, "_compile", noted)
    return seen


def compiler(folder: Path, script: str) -> str:
    """A compiler that knows its version; the script does the rest."""
    path = folder / "a-compiler"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{script}\n')
    path.chmod(0o755)
    return str(path)


PROGRAM = """
import logging, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from manual_backprop import rules
from manual_backprop.kernels import pointwise
from manual_backprop.engine.rule import KERNELS
formula, output, delta = rules.Tanh.delta_input, torch.linspace(-0.9, 0.9, 7), torch.ones(7)
torch.testing.assert_close(KERNELS[formula](delta, output), formula(delta, output))
print(pointwise.compiled(formula, torch.float32) is not None)
"""


def run(environment: dict[str, str], program: str = PROGRAM) -> str:
    """What another process prints that runs a kernel and compares it with its formula."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout
