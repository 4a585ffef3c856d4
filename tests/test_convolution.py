"""Convolutions beyond the rows of the suite: outputs without any element."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import manual_backprop as mb

EMPTY: dict[str, tuple[str, Any, Any, int, dict[str, Any]]] = {
    # function, shapes of input and weight, outputs, options
    "no channels": ("conv1d", (1, 0, 3), (2, 0, 1), 2, {}),
    "no channels, no batch axis": ("conv2d", (0, 3, 3), (2, 0, 1, 1), 2, {"padding": 1}),
    "no channels in groups": ("conv2d", (2, 0, 3, 3), (4, 0, 2, 2), 4, {"groups": 2}),
    "no samples": ("conv3d", (0, 2, 3, 3, 3), (3, 2, 1, 1, 1), 3, {}),
    "no samples, channels or positions": ("conv1d", (0, 0, 0), (2, 0, 1), 2, {"padding": 1}),
    "transposed, all in the padding": ("conv_transpose1d", (2, 2, 1), (2, 1, 2), 2, {"groups": 2, "padding": 1}),
    "transposed, no samples": ("conv_transpose2d", (0, 2, 3, 3), (2, 3, 2, 2), 3, {}),
    "transposed, no samples or positions": ("conv_transpose1d", (0, 2, 0), (2, 2, 1), 2, {}),
}


@pytest.mark.parametrize("backend", ["auto", "formula"])
@pytest.mark.parametrize("which", EMPTY)
def test_an_output_without_elements_has_the_twin_s_gradients(which: str, backend: str) -> None:
    name, input, weight, outputs, options = EMPTY[which]
    results = []
    with mb.backend(backend):
        for functions in (mb.functional, torch.nn.functional):
            leaves = [torch.ones(shape, requires_grad=True) for shape in (input, weight, (outputs,))]
            output = getattr(functions, name)(*leaves, **options)
            first = torch.autograd.grad(output.sum(), leaves, create_graph=True)
            if functions is mb.functional:  # torch refuses some of these
                second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, allow_unused=True)
                assert not any(g.count_nonzero() for g in second if g is not None)
            apart = [torch.autograd.grad(output.sum(), leaf, retain_graph=True)[0] for leaf in leaves]
            results.append([output.detach(), *(g.detach() for g in first), *apart])
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)
