"""What an older torch, which is the measure of the rows, does otherwise than the newest."""

from __future__ import annotations

import pytest
import torch

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
PICKLES_GRAPHS = RELEASE > (2, 9)
"""Whether torch.fx can pickle a graph with a function whose annotations are strings."""
SUMS = "its attention adds in another order: equal to rounding, not to the last bit"
ROWS = {
    "scaled_dot_product_attention-one-batch-axis": ((2, 11), SUMS),
    "MultiheadAttention-4-2-batch_first=True": ((2, 9), SUMS),
    "MultiheadAttention-4-2-batch_first=True-no-weights": ((2, 9), SUMS),
    "group_norm-bias-only": ((2, 11), "its group_norm with a bias and no weight has no backward"),
}
"""Row -> (the last release seen to do so, what it does)."""


def marks(row: str) -> list[pytest.MarkDecorator]:
    """The reason to skip a row on this torch, if there is one."""
    last, reason = ROWS.get(row, ((0, 0), ""))
    return [pytest.mark.skip(reason=f"torch {torch.__version__}: {reason}")] if last >= RELEASE else []
