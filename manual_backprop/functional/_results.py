"""Several results as one named tuple, as torch returns them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, return_types


def named(function: str, results: tuple[Tensor, ...]) -> Any:
    """The results as torch's function of that name (linalg_svd) returns them: a tuple with an attribute for each."""
    return getattr(return_types, function)(results)
