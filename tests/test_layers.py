"""Every check over every row: the proof of the library."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from manual_backprop.testing import CHECKS, SLOW_CHECKS, Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_check


@functools.lru_cache(maxsize=4)
def _subject(i: int, device: str = "cpu") -> Subject:
    return Subject(CASES[i], device)


ROWS = [pytest.param(i, id=case.name) for i, case in enumerate(CASES)]
# seconds where the others take milliseconds: by default on the first row of each public name, the rest is slow
HEAVY = ("gradgradcheck", "batched_grad", "forward_mode", "transforms", "compiled")


def _pairs() -> Iterator[Any]:
    seen: set[str] = set()
    for i, case in enumerate(CASES):
        first = case.covers not in seen
        seen.add(case.covers)
        for name in CHECKS:
            marks = [pytest.mark.slow] if name in HEAVY and not first else []
            yield pytest.param(i, name, id=f"{case.name}-{name}", marks=marks)


@pytest.mark.parametrize(("i", "name"), list(_pairs()))
def test_layer(i: int, name: str) -> None:
    result = run_check(_subject(i), name)
    assert result.outcome in ("pass", "n/a"), result.detail


@pytest.mark.slow
@pytest.mark.parametrize("i", ROWS)
@pytest.mark.parametrize("name", SLOW_CHECKS)
def test_layer_slow(i: int, name: str) -> None:
    result = run_check(_subject(i), name)
    assert result.outcome in ("pass", "n/a"), result.detail


FUSED_DROPOUT = (
    r"scaled_dot_product_attention-dropout_p|MultiheadAttention.*dropout=0\.4|Transformer.*(dropout=0\.3|-0\.3-)"
)
ON_CUDA = {
    r"(BCELoss|binary_cross_entropy)\b(?!_with).*-(specials|transforms)":
        "torch asserts on the GPU that probabilities lie in [0, 1], after which CUDA fails in this process",
    r"(CrossEntropyLoss|NLLLoss)\b.*unbatched-empty": "of no classes, where an index is asserted on the GPU",
    r"(batch|group)_norm\b.*bias-only-(float32|specials|autocast)": "torch fails on a bias without a weight",
    r"[Hh]ard(sigmoid|swish)\b.*-(forward|compiled|transforms)": "torch's kernels have 1/6 in float32, for float64 too",
    r"[Ss]oftsign-specials": "terms cancel in the twin and in ours, and division in a kernel is 2 units exact",
    r"Transformer.*-transforms": "torch's layer_norm by its weight, forward over reverse, is not what differences show",
    rf"({FUSED_DROPOUT}).*-(forward|specials|autocast|float32|bfloat16)": "torch's fused attention draws by itself",
    r"scaled_dot_product_attention\b.*mask.*-(forward|specials)": "torch's fused kernel: other strides, NaN for -inf",
    r"scaled_dot_product_attention\b.*-empty": "torch's fused kernels look at masks of empty batches in other ways",
    r"scaled_dot_product_attention-scale=-1\.0-autocast": "torch's fused kernel gives NaN",
    r"(scaled_dot_product_attention|Transformer).*-bfloat16": "P is rounded: see tests/test_triton_kernels.py",
}  # fmt: skip
"""Rows and checks in which torch on a GPU is no measure."""
UNORDERED = "gradcheck", "twice", "checkpoint"
"""Checks that compare one backward with another: sums whose order the GPU decides are told to have one."""


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation")
@pytest.mark.filterwarnings("ignore:Deterministic behavior was enabled")  # cuBLAS would want an environment variable
@pytest.mark.parametrize(("i", "name"), list(_pairs()))
def test_layer_cuda(i: int, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for rows, reason in ON_CUDA.items():
        if re.fullmatch(rows, f"{CASES[i].name}-{name}"):
            pytest.skip(reason)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # float32 with 24 bits, as everywhere else
    torch.use_deterministic_algorithms(name in UNORDERED, warn_only=True)
    try:
        result = run_check(_subject(i, "cuda"), name)
    finally:
        torch.use_deterministic_algorithms(False)
    assert result.outcome in ("pass", "n/a"), result.detail
    assert "no Triton kernel" not in caplog.text


def test_names_of_the_rows_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))
