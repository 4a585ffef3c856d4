"""Sizes given as one number or one per axis."""

from __future__ import annotations

from typing import Any

Axes = tuple[int, ...]


def axes(value: Any, count: int, message: str) -> Axes:
    """An int repeated for each axis, or the given tuple or list; RuntimeError(message) where it has another length."""
    if not isinstance(value, (tuple, list)):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    if len(value) != count:
        raise RuntimeError(message)
    return tuple(value)
