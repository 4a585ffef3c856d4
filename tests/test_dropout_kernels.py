"""The products of dropout (kernels/dropout.py) are the formulas to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import c
from manual_backprop.kernels.registry import REGISTERED
from manual_backprop.rules import AlphaDropout, Dropout

WORDS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}
RULES = pytest.mark.parametrize("rule", [Dropout, AlphaDropout])


pytestmark = pytest.mark.usefixtures("c_kernels")


@RULES
@pytest.mark.parametrize("dtype", c.TYPES)
def test_bit_for_bit(rule: Any, dtype: torch.dtype) -> None:
    shape = (40, 31, 5)
    mask = torch.rand(shape) > 0.3
    deltas = torch.randn(shape), torch.randn(shape[::-1]).permute(2, 1, 0), torch.ones(1, 31, 5).expand(shape)
    deltas[0].view(-1)[:4] = torch.tensor([torch.inf, -torch.inf, torch.nan, -0.0])
    formula, kernel = rule.delta_input, KERNELS[rule.delta_input]
    cases = [(delta.to(dtype), mask, p) for delta in deltas for p in (0.1, 0.3, 1.0)]
    expected = [formula(*case) for case in cases]
    for case, truth in zip(cases, expected, strict=True):
        found, numbers = kernel(*case), ~truth.isnan()
        assert torch.equal(found.isnan(), truth.isnan())  # any of the NaNs
        assert torch.equal(found[numbers].view(WORDS[dtype]), truth[numbers].view(WORDS[dtype]))
    left = [case[2] for case in cases if REGISTERED[formula,]["cpu"].run(*case) is NotImplemented]
    assert left == ([1.0] * 3 if rule is Dropout else []), "what is left to the formula"


@RULES
def test_other_tensors_go_to_the_formula(rule: Any) -> None:
    mask, delta = torch.rand(6, 4) > 0.3, torch.randn(6, 4)
    kernel = KERNELS[rule.delta_input]
    assert torch.equal(kernel(delta.half(), mask, 0.5), rule.delta_input(delta.half(), mask, 0.5))
    assert torch.equal(kernel(delta, mask[:, :1], 0.5), rule.delta_input(delta, mask[:, :1], 0.5))
    found = torch.func.vmap(lambda d, m: kernel(d, m, 0.5))(delta, mask)
    assert torch.equal(found, rule.delta_input(delta, mask, 0.5))


@pytest.mark.parametrize("name", ["Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
def test_layers_are_their_twins(name: str) -> None:
    x, results = torch.randn(30, 20, 5, 5), []
    for nn in (mb.nn, torch.nn):
        torch.manual_seed(5)
        leaf = x.clone().requires_grad_()
        output = getattr(nn, name)(0.1)(leaf)
        output.square().sum().backward()
        results.append((output, leaf.grad))
    for ours, theirs in zip(*results, strict=True):
        near = 1e-6 if "Alpha" in name else 0.0  # torch multiplies and adds alpha dropout's numbers in another order
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
