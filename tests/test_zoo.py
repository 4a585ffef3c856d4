"""Whole networks of others, converted: torch's loss and gradients, and no autograd in their graphs."""

from __future__ import annotations

import pytest

pytest.importorskip("timm", reason="networks to try; install the extra zoo")
pytest.importorskip("transformers", reason="networks to try; install the extra zoo")

from .zoo import TOLERANCE, step
from .zoo_networks import NETWORKS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AUTOGRAD = {"transformers:bloom": {"GeLUFunctionBackward"}}
"""Network -> nodes in its graph that are no rules: a backward that its authors have written."""


@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_is_torchs(name: str) -> None:
    found = step(name)
    assert set(found.autograd) <= AUTOGRAD.get(name, set())
    assert found.loss <= TOLERANCE
    assert found.gradients <= found.tolerance
