"""The tests run in one process per core (pytest-xdist), each with one thread: small tensors gain nothing from more."""

import functools
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

# Kernels that are tested with two threads run beside the other workers: threads that spin while they wait for one
# another would take the cores from those. OpenMP reads it when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

from manual_backprop.engine import cache
from manual_backprop.engine import compiler as build
from manual_backprop.kernels import memory, native, pointwise
from tests.limits import large
from tests.older_torch import RELEASE

torch.set_num_threads(1)

_lost: list[str] = []
"""Tests after which this process can compute nothing more on the GPU."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    """After an illegal access CUDA refuses all that the process asks for, so that every later test would fail."""
    if call.excinfo is not None and re.search(r"CUDA error:|Triton Error \[CUDA\]", str(call.excinfo.value)):
        _lost.append(item.nodeid)
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _lost and "PYTEST_XDIST_WORKER" in os.environ:
        print(f"CUDA has failed in {_lost[0]}: {item.nodeid} is left to a new process", flush=True)
        os._exit(1)  # pytest-xdist calls this test crashed, and runs the rest in a new worker


@functools.cache
def compiler() -> bool:
    """Whether the C compiler takes the flags of the kernels, which Apple's does not: an empty program shows it."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        command = [*shlex.split(os.environ.get("CC", "cc")), *build.C.flags, "-x", "c", "-o", file.name, "-"]
        try:
            return subprocess.run(command, input="", text=True, capture_output=True, timeout=60).returncode == 0
        except OSError:
            return False


@pytest.fixture(autouse=True)
def small_tensors_count_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 16,384 elements on tensors are recomputed, so that tests need none that are larger; and what the tests
    before have recorded is forgotten."""
    large(monkeypatch, 2**14)


@pytest.fixture
def c_kernels() -> None:
    """Kernels in C, with the same random numbers for each test; without a compiler formulas run, tested elsewhere."""
    if not compiler():
        pytest.skip("no C compiler on this machine that knows OpenMP and its processor")
    assert native.library() is not None
    torch.manual_seed(0)


@pytest.fixture
def loops_at_any_size(c_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed forwards that ATen's would stand in for, below some size, run for every tensor."""
    monkeypatch.setattr(pointwise, "WORTHWHILE", 0)
    monkeypatch.setattr(pointwise, "HUGE_FROM", 0)
    monkeypatch.setattr(memory, "around", lambda *_: True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache folder of a user with an empty home; the temporary folder is tmp_path / "tmp"."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_told", set())
    monkeypatch.setattr(cache, "_refused", set())
    monkeypatch.setattr(build, "_compiler", functools.cache(build._compiler.__wrapped__))
    monkeypatch.setattr(cache, "_temporary", functools.cache(cache._temporary.__wrapped__))
    yield tmp_path / "cache" / "manual_backprop"
    if cache._temporary.cache_info().currsize:
        cache._temporary().cleanup()


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The user's own folder below the temporary one."""
    return tmp_path / "tmp" / f"manual_backprop-{os.geteuid()}"


@functools.cache
def why_no_fake_gpu() -> str | None:
    """Why tensors cannot say here that they lie on a GPU."""
    if not torch.backends.cuda.is_built():
        return "torch is built without CUDA"
    if RELEASE <= (2, 9):  # it refuses, or after other tests ends the process
        return "this torch asks for a driver even for a fake tensor on a GPU"
    return None


@pytest.fixture
def fake_gpu() -> None:
    """Tensors that only say they lie on a GPU."""
    if (reason := why_no_fake_gpu()) is not None:
        pytest.skip(reason)
