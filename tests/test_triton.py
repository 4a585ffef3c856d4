"""The Triton kernels interpreted on the CPU, and their place in the library: off the path of all who have no GPU."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop import rules
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import cuda, registry
from tests.registered import put_back

TESTS = Path(__file__).parent
WITH_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="the package triton is not installed: its kernels never run here"
)


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=TESTS.parent, env=os.environ | variables
    )


SOME = "pointwise or softmax or norms_of_rows or is_caught or has_its_kernel"
"""Of each way of writing a kernel one, for `make test`; the rest is slow."""


@WITH_TRITON
@pytest.mark.parametrize(
    ("tier", "which"),
    [
        ("not slow", SOME),
        pytest.param("not slow", f"not ({SOME})", marks=pytest.mark.slow),
        pytest.param("slow", "test", marks=pytest.mark.slow),
    ],
)
def test_the_kernels_interpreted(tier: str, which: str) -> None:
    """A process of its own: TRITON_INTERPRET must be set before Triton is imported, and would turn every kernel of this
    one into numpy. numpy warns where the arithmetic of infinities gives NaN, which is what is tested there, and of how
    Triton 3.6's interpreter takes numbers out of arrays."""
    ignored = "-W", "ignore::RuntimeWarning", "-W", "ignore::DeprecationWarning"
    options = "-n0", "-q", "-p", "no:cacheprovider", *ignored, "-m", tier, "-k", which
    done = python("-m", "pytest", str(TESTS / "test_triton_kernels.py"), *options, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_import_brings_no_triton() -> None:
    code = "import sys, manual_backprop; sys.exit(any(m.split('.')[0] == 'triton' for m in sys.modules))"
    done = python("-W", "ignore", "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def table() -> Iterator[dict]:
    """A table of kernels that ends with the test."""
    with put_back():
        yield KERNELS


def test_a_process_without_cuda_asks_no_kernel_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_initialized():
        pytest.skip("CUDA is initialized in this process")
    monkeypatch.setattr(cuda, "here", lambda tensor: pytest.fail("it was asked where a tensor lies"))
    delta, output = torch.randn(4, 6), torch.randn(4, 6).softmax(-1)
    KERNELS[rules.Softmax.delta_input](delta, output, -1)
    assert rules.LinearCrossEntropyLoss.losses not in KERNELS, "there is a kernel on CUDA alone"
    assert cuda.register in [call for call, _ in torch.cuda._queued_calls]


def test_without_triton_the_formulas_run_and_it_is_said(
    table: dict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(table)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cuda.register.__wrapped__()
    assert table == before
    assert "the package triton is not installed" in caplog.text


def test_the_library_works_without_triton() -> None:
    """Even where an import of it fails."""
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, manual_backprop as mb\n"
        "from manual_backprop.kernels import cuda\n"
        "cuda.register()\n"
        "x = torch.randn(4, 6, requires_grad=True)\n"
        "mb.nn.Sequential(mb.nn.LayerNorm(6), mb.nn.Softmax(-1))(x).square().sum().backward()\n"
        "assert x.grad.isfinite().all()\n"
    )
    done = python("-W", "ignore", "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_switch_looks_where_tensors_lie(table: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    formula = rules.Softmax.delta_input
    on_cpu = table[formula]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(cuda, "kernel", lambda name, formula: lambda *args: (name, formula, args))
    cuda.register.__wrapped__()
    assert all(formula in table for formulas in cuda.SERVED.values() for formula in formulas)
    delta, output = torch.randn(4, 6), torch.randn(4, 6).softmax(-1)
    assert torch.equal(table[formula](delta, output, -1), on_cpu(delta, output, -1))
    monkeypatch.setattr(cuda, "here", lambda tensor: True)
    found: Any = table[formula](delta, output, -1)
    assert found == ("rows", formula, (delta, output, -1))


@pytest.mark.parametrize(
    "layer", [torch.nn.BatchNorm1d(6), torch.nn.Softmax(-1), torch.nn.GELU(), torch.nn.LayerNorm(6)]
)
def test_behind_the_switch_16_bits_are_widened_as_before(
    layer: torch.nn.Module, table: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = mb.convert(copy.deepcopy(layer)), torch.randn(5, 6).bfloat16()

    def gradients() -> list[torch.Tensor]:
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(leaf)
        return list(torch.autograd.grad(y.float().square().sum(), [leaf, *layer.parameters()]))

    before = gradients()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    cuda.register.__wrapped__()
    for found, expected in zip(gradients(), before, strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_a_kernel_that_cannot_be_built_steps_aside_once(
    table: dict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    built = []

    def broken(*args: Any) -> None:
        built.append(args)
        raise RuntimeError("ptxas has crashed")

    formula = rules.Softmax.delta_input
    monkeypatch.setattr(cuda, "here", lambda tensor: True)
    monkeypatch.setattr(cuda, "kernel", lambda name, formula: broken)
    run = registry.chain(formula, ["cuda"])
    with pytest.raises(RuntimeError, match="must match"):  # the caller's mistake is the caller's
        run(torch.randn(4, 6), torch.randn(4, 5), -1)
    assert caplog.text == ""
    delta, output = torch.randn(4, 6), torch.randn(4, 6).softmax(-1)
    for _ in range(2):
        assert torch.equal(run(delta, output, -1), formula(delta, output, -1))
    assert caplog.text.count("no Triton kernel for Softmax.delta_input") == 1
    assert "ptxas has crashed" in caplog.text
    assert len(built) == 2
