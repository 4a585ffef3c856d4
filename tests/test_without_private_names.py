"""The package in a torch that lacks a private name: what stands in for it gives right results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.engine import rule, torch_private
from manual_backprop.kernels import matmul
from manual_backprop.testing import CHECKS, Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_check
from tests.private_names import loaded

MEMORY = ("GELU", "LayerNorm-4", "ReLU-inplace=True", "BatchNorm2d-2")
ATTENTION = ("scaled_dot_product_attention",)
ROWS = {
    "_are_functorch_transforms_active": (
        "Linear-4-3", "GroupNorm-2-4-image", "Dropout", "MaxPool2d-2", "binary_cross_entropy_with_logits-weights",
        *ATTENTION, "embedding", "ReLU-inplace=True", "linear_cross_entropy", "add-broadcast",
    ),
    "_current_level": ("Linear-4-3", "LayerNorm-4", "ReLU-inplace=True", "embedding", "MaxPool2d-2", "cross_entropy"),
    "_is_any_autocast_enabled": ("Linear-4-3", "LayerNorm-4"),
    "_len_torch_function_stack": ("Linear-4-3",),
    "_len_torch_dispatch_stack": ("ReLU-inplace=True",),
    "is_functorch_wrapped_tensor": ("Linear-4-3", "add-broadcast", "ReLU-inplace=True"),
    "is_legacy_batchedtensor": ("GELU", "LayerNorm-4", "MaxPool2d-2"),
    "_is_alias_of": ("add-broadcast",),
    "suggest_memory_format": ("GroupNorm-2-4-image",),
    "_current_graph_task_id": MEMORY,
    "_backward_cls": MEMORY,
    "_execution_engine": MEMORY,
    "_get_sequence_nr": ("GELU",),
    "_sequence_nr": ("GELU",),
    "_top_saved_tensors_default_hooks": ("GELU",),
    "_linear_pointwise": ("Linear-4-3",),
    "_unsafe_view": ("Linear-4-3-4d",),
    "_scaled_dot_product_flash_attention_for_cpu": ATTENTION,
    "_fused_sdp_choice": ATTENTION,
    "_ctc_loss": ("CTCLoss-reduction=mean", "CTCLoss-joined", "CTCLoss-zero_infinity=True"),
    "_batch_norm_impl_index": ("BatchNorm2d-2", "batch_norm-weight-only"),
}  # fmt: skip
"""A private name -> rows of the check suite that use what stands in for it."""

UNFUSED = ("forward", "specials", "autocast")
EXCUSED = {
    ("_fused_sdp_choice", *ATTENTION): UNFUSED,
    ("_scaled_dot_product_flash_attention_for_cpu", *ATTENTION): UNFUSED,
    ("_ctc_loss", "CTCLoss-reduction=mean"): ("forward",),
    ("_ctc_loss", "CTCLoss-joined"): ("forward",),
    ("_ctc_loss", "CTCLoss-zero_infinity=True"): ("forward",),
    ("_are_functorch_transforms_active", *ATTENTION): UNFUSED,
    ("_are_functorch_transforms_active", "ReLU-inplace=True"): ("explicit",),
}
"""Checks that ask for more than right results: the bits of a fused forward of torch's, and no copy of torch's."""

CHECKED = [name for name in CHECKS if name not in ("compiled", "layouts", "bfloat16")]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The whole package in a torch that lacks a name."""

    def give(gone: str) -> None:
        module = loaded(gone)
        for user in [m for name, m in sys.modules.items() if name.startswith("manual_backprop.")]:
            for key, value in list(vars(user).items()):
                if user is not torch_private and value is vars(torch_private).get(key, loaded):
                    monkeypatch.setattr(user, key, vars(module)[key])
        forget()

    yield give
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Clear what was found out with another torch."""
    rule.plain.cache_clear()
    matmul.faster.cache_clear()


HERE = {case.name for case in CASES}
"""The rows of this torch: an older one has no linear_cross_entropy."""


@pytest.mark.parametrize(("gone", "row"), [(gone, row) for gone in ROWS for row in ROWS[gone] if row in HERE])
def test_a_row_without_a_name(gone: str, row: str, without: Callable[[str], None]) -> None:
    without(gone)
    (case,) = (case for case in CASES if case.name == row)
    subject = Subject(case, "cpu")
    results = [run_check(subject, name) for name in CHECKED if name not in EXCUSED.get((gone, row), ())]
    assert [result.detail for result in results if result.outcome not in ("pass", "n/a")] == []


def gradients(saving: str = "exact") -> list[torch.Tensor]:
    """Of a network whose activations are recomputed, some inside of a checkpoint, with writes in place, two passes of
    backward, and arithmetic inside of `mb.explicit`."""
    torch.manual_seed(0)
    nn = mb.nn
    first, last = nn.Sequential(nn.Linear(8, 128), nn.GELU(), nn.LayerNorm(128)), nn.Linear(128, 8)
    middle = nn.Sequential(nn.Linear(128, 128), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(128, 128), nn.SiLU())
    x = torch.randn(256, 8, requires_grad=True)
    with mb.saving(saving), mb.explicit():
        y = checkpoint(middle, first(x), use_reentrant=False)
        y = last(torch.tanh(y) + y)
        part, loss = y[:, 0].sum(), mb.functional.mse_loss(y, torch.ones_like(y))
    leaves = [x, *first.parameters(), *middle.parameters(), *last.parameters()]
    once = torch.autograd.grad(part, leaves, retain_graph=True)
    return [*once, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("gone", sorted({*ROWS, "_push_on_torch_function_stack", "get_unwrapped", "_global"}))
def test_a_network_without_a_name(gone: str, without: Callable[[str], None]) -> None:
    expected = gradients()
    without(gone)
    for ours, theirs in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gone", ["_backward_cls", "_current_graph_task_id"])
def test_all_is_saved_where_nodes_cannot_recompute(gone: str, without: Callable[[str], None]) -> None:
    block = mb.nn.Sequential(mb.nn.Linear(64, 256), mb.nn.GELU(), mb.nn.Linear(256, 64))
    x = torch.randn(256, 64)
    assert mb.saved_bytes(block, x).ratio < 0.6
    expected = gradients("off")
    without(gone)
    assert mb.saved_bytes(block, x).ratio == 1
    for ours, theirs in zip(gradients("int4"), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
