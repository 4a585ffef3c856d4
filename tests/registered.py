"""The registry of kernels as it was, for tests that register kernels or bring those for a GPU into use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manual_backprop.engine import node
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels.registry import DEVICES, REGISTERED
from manual_backprop.memory.recompute import FUSED


@contextmanager
def put_back() -> Iterator[None]:
    """What is registered, or brought into use, inside of it ends with it."""
    tables: list[dict[Any, Any]] = [KERNELS, FUSED, DEVICES, REGISTERED]
    registered = {formula: dict(kernels) for formula, kernels in REGISTERED.items()}
    before = [dict(KERNELS), dict(FUSED), dict(DEVICES), registered]
    try:
        yield
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)
        node.forget()
