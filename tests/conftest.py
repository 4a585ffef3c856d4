"""The tests run in one process per core (pytest-xdist), each with one thread: small tensors gain nothing from more."""

import os
import shutil

# Kernels that are tested with two threads run beside the other workers: threads that spin while they wait for one
# another would take the cores from those. OpenMP reads it when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

from manual_backprop.kernels import memory, native, pointwise

torch.set_num_threads(1)


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
