"""Rows of attention."""

import torch

from ..case import constant, normal
from ._make import function

SPECIALS: dict = {
    "specials": "scores of 80 are known to 5e-6 in float32, and so are weights e^score, the twin's as well as ours: "
    "more than the 4e-6 allowed there; infinities and NaN are held in tests/test_attention.py"
}
BLOCKS = {"forward": (1e-14, "sums over keys in another order than the twin's kernel"), "without": SPECIALS}
EMPTY: dict = {**BLOCKS, "without": {**SPECIALS, "empty": "the twin has no gradient for the mask of an empty batch"}}
QKV = (normal(2, 2, 5, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4))
CROSS = (normal(2, 3, 4), normal(2, 6, 4), normal(2, 6, 2))
MASK = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 1, 1, 1, 0]]).bool()

CASES = [
    function("scaled_dot_product_attention", QKV, row=BLOCKS),
    function("scaled_dot_product_attention", CROSS, tag="cross", row=BLOCKS),
    function("scaled_dot_product_attention", QKV, is_causal=True, row=BLOCKS),
    function("scaled_dot_product_attention", QKV, scale=0.3, row=BLOCKS),
    function("scaled_dot_product_attention", (*QKV, constant(MASK)), tag="mask", row=BLOCKS),
    function("scaled_dot_product_attention", (*QKV, normal(5, 5)), tag="added", row=EMPTY),
    function("scaled_dot_product_attention", (*CROSS, normal(2, 1, 6)), tag="broadcast", row=EMPTY),
    function(
        "scaled_dot_product_attention", (normal(2, 4, 3, 4), normal(2, 2, 3, 4), normal(2, 2, 3, 4)), enable_gqa=True,
        row=BLOCKS,
    ),
    function("scaled_dot_product_attention", (normal(3, 4), normal(3, 4), normal(3, 4)), tag="matrices", row=BLOCKS),
]  # fmt: skip
