"""Sizes given as one number or one per axis; the same change to query, key and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Axes = tuple[int, ...]


def axes(value: Any, count: int, message: str) -> Axes:
    """A tuple of `count` numbers: an int is repeated for each axis. RuntimeError(message) for another length."""
    if not isinstance(value, (tuple, list)):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    if len(value) != count:
        raise RuntimeError(message)
    return tuple(value)


def alike(change: Callable[[Tensor], Tensor], query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """The change applied to each of the three. Arguments that are the same tensor give the same result tensor."""
    changed_query = change(query)
    changed_key = changed_query if key is query else change(key)
    return changed_query, changed_key, changed_key if value is key else change(value)
