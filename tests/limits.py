"""From how many elements tensors are recomputed, for tests on small ones."""

import pytest

from manual_backprop.engine import node
from manual_backprop.memory import saving as _saving


def large(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    """Count tensors of so many elements as large until the test ends; forget what native nodes have recorded."""
    monkeypatch.setattr(_saving, "LARGE", elements)
    node.forget()
    node.limits(elements, node.CALLS_IN_PYTHON)
