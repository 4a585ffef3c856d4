"""The tests run in one process per core (pytest-xdist), each with one thread: small tensors gain nothing from more."""

import os
import re
import shutil
from collections.abc import Generator
from typing import Any

import pytest
import torch

from manual_backprop.kernels import memory, native, pointwise

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


@pytest.fixture
def c_kernels() -> None:
    """Kernels in C, with the same random numbers for each test; without a compiler formulas run, tested elsewhere."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    assert native.library() is not None
    torch.manual_seed(0)


@pytest.fixture
def loops_at_any_size(c_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed forwards that ATen's would stand in for, below some size, run for every tensor."""
    monkeypatch.setattr(pointwise, "WORTHWHILE", 0)
    monkeypatch.setattr(pointwise, "HUGE_FROM", 0)
    monkeypatch.setattr(memory, "around", lambda *_: True)
