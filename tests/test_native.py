"""The C library: what it takes, its building at first use and its cache; without a compiler formulas run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop.kernels import native

pytestmark = pytest.mark.usefixtures("c_kernels")


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the C functions that run from now on."""
    names: list[str] = []
    run = native.call

    def noted(name: str, *arguments: Any, **options: bool) -> bool:
        names.append(name)
        return run(name, *arguments, **options)

    monkeypatch.setattr(native, "call", noted)
    return names


def test_the_backend_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with mb.backend("formula"):
        mb.functional.max_pool2d(x, 2).sum().backward()
    assert names == []
    mb.functional.max_pool2d(x, 2).sum().backward()
    assert names == ["max_pool_winners_float", "max_pool_delta_input_float"]


BUILD = """
import logging, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
import manual_backprop as mb
x = torch.tensor([[[[-1.0, 2.0]]]], requires_grad=True)
for _ in range(2):
    mb.functional.max_pool2d(x, (1, 2)).sum().backward()
print(x.grad.flatten().tolist(), mb.kernels.native.library() is not None)
"""


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, str]:
    """A compiler that does not optimize, where it is the building that is tested: 2 seconds in place of 14."""
    command = tmp_path / "cc"
    command.write_text(f'#!/bin/sh\nexec {os.environ.get("CC", "cc")} "$@" -O0\n')
    command.chmod(0o755)
    return {"CC": str(command)}


def built(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_compiler_formulas_run_and_say_so_once(tmp_path: Path) -> None:
    printed = built({"CC": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path)})
    assert printed.count("no C kernels, formulas run in their place") == 1
    assert "no-such-compiler" in printed
    assert printed.endswith("[0.0, 2.0] False\n")
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'maxpool.c: bad' >&2; exit 1\n")
    broken.chmod(0o755)
    printed = built({"CC": str(broken), "XDG_CACHE_HOME": str(tmp_path)})
    assert "maxpool.c: bad" in printed
    assert not list((tmp_path / "manual_backprop").iterdir()), "nothing half-written is left"


def test_it_is_built_once_and_by_many_at_the_same_time(tmp_path: Path, quick: dict[str, str]) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path), **quick}
    command = [sys.executable, "-W", "ignore", "-c", BUILD]
    together = [
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [p.communicate()[0] for p in together] == ["[0.0, 2.0] True\n"] * 3
    (library,) = (tmp_path / "manual_backprop").iterdir()
    made = library.stat().st_mtime_ns
    assert built(environment) == "[0.0, 2.0] True\n"
    assert library.stat().st_mtime_ns == made


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, quick: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path), **quick}
    assert built(environment) == "[0.0, 2.0] True\n"


@pytest.mark.parametrize("name", ["MaxPool2d", "AvgPool2d", "BatchNorm2d", "LayerNorm", "Dropout", "Mish", "NLLLoss"])
def test_results_lie_where_their_inputs_do(name: str) -> None:
    """Whatever the default device is."""
    arguments = {"BatchNorm2d": (8,), "LayerNorm": (32,), "Dropout": (0.5,)}.get(name, (2,) if "Pool" in name else ())
    layer, x = getattr(mb.nn, name)(*arguments), torch.randn(16, 8, 64, 32, requires_grad=True)
    targets = (torch.randint(8, (16, 64, 32)),) if name == "NLLLoss" else ()
    with torch.device("meta"):
        output = layer(x, *targets)
        output.sum().backward()
    assert output.device == x.grad.device == torch.device("cpu")
