"""A tensor is recomputed by what made it: kernels or formulas, so that "exact" is exact at every size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop import nn
from manual_backprop.engine import rule as _rule
from manual_backprop.kernels import batchnorm, native, pointwise, pools, rows, softmax
from tests.limits import large

from .test_saving_modes import NETS, gradients, made, same


@pytest.fixture(autouse=True)
def kernels_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    if native.library() is None:
        pytest.skip("no C compiler on this machine")
    for module in (batchnorm, pointwise, pools, rows):
        monkeypatch.setattr(module, "WORTHWHILE", 0)
    monkeypatch.setattr(softmax, "WORTHWHILE", dict.fromkeys(softmax.WORTHWHILE, 0))
    monkeypatch.setattr(softmax, "SHORTEST", {})
    large(monkeypatch, 1)


def logits(width: int) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 50), nn.LayerNorm(50), nn.Mish(), nn.Linear(50, 1600)), torch.randn(width, 3)


@pytest.mark.parametrize("name", NETS)
def test_exact_is_exact(name: str) -> None:
    net, x = made(name)
    with mb.saving("off"):
        expected = gradients(net, x)
    with mb.saving("exact"):
        assert same(gradients(net, x), expected)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_log_probabilities(norm: bool, again: bool) -> None:
    net, x = logits(9)
    if norm:  # logits that can be recomputed without being asked
        net.append(nn.LayerNorm(1600))
    labels = torch.arange(9)

    def run(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return mb.functional.cross_entropy(net(x), labels)

    with mb.saving("off"):
        expected = gradients(net, x, run)
    with mb.saving("exact", logits_again=again):
        assert same(gradients(net, x, run), expected)


def test_another_function_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def formula_alone(formula: Any) -> Any:
        def run(*args: Any) -> Any:
            with mb.backend("formula"):
                return formula(*args)

        return run

    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(64, 512), nn.Mish(), nn.Linear(512, 8)), torch.randn(256, 64)
    with mb.saving("off"):
        expected = gradients(net, x)
    monkeypatch.setattr(_rule, "chosen", formula_alone)
    with mb.saving("exact"):
        assert not same(gradients(net, x), expected)
