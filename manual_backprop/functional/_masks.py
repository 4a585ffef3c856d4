"""Attention masks, with torch's errors and warnings."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor


def additive(
    mask: Tensor | None, name: str, dtype: torch.dtype, other_name: str = "", other: Tensor | None = None
) -> Tensor | None:
    """The mask in the form that is added to the scores. A bool mask, True for a hidden key, becomes 0 and -inf.

    AssertionError for integers; warns where the other mask has another dtype.
    """
    if mask is None:
        return None
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported. got: {mask.dtype}")
    if other is not None and mask.dtype != other.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=2,
        )
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
