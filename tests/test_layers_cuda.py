"""Every check over every row on a GPU."""

from __future__ import annotations

import re

import pytest
import torch

from manual_backprop.testing import CHECKS, Subject
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_check

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
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_layer_on_cuda(case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # float32 with 24 bits, as everywhere else
    subject = Subject(case, "cuda")
    wrong = []
    for name in CHECKS:
        if any(re.fullmatch(rows, f"{case.name}-{name}") for rows in ON_CUDA):
            continue
        torch.use_deterministic_algorithms(name in UNORDERED, warn_only=True)
        try:
            result = run_check(subject, name)
        finally:
            torch.use_deterministic_algorithms(False)
        if result.outcome not in ("pass", "n/a"):
            wrong.append(result.detail)
    if wrong:
        pytest.fail("\n\n".join(wrong))
    assert "no Triton kernel" not in caplog.text
