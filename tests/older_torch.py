"""Rows of which an older torch, the measure of them, does otherwise than the newest; measured on 2.9 and 2.11."""

from __future__ import annotations

import pytest
import torch

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
PICKLES_GRAPHS = RELEASE > (2, 9)
"""Whether torch.fx can pickle a graph with a function whose annotations are strings."""
UP_TO_2_11 = {
    "scaled_dot_product_attention-one-batch-axis": "attention with one batch axis runs another kernel of ATen's there: "
    "equal to rounding, not to the last bit",
    "group_norm-bias-only": "group_norm with a bias and no weight has no backward there",
}
"""Row -> what torch does."""


def marks(row: str) -> list[pytest.MarkDecorator]:
    """The reason to skip a row on this torch, if there is one."""
    if RELEASE <= (2, 11) and row in UP_TO_2_11:
        return [pytest.mark.skip(reason=f"torch {torch.__version__}: {UP_TO_2_11[row]}")]
    return []
