"""Rows of bags of rows of a table."""

import torch

from ..case import constant, normal, uniform
from ._make import function, layer
from .embedding import MEAN, RENORM

BAGS = (constant(torch.tensor([[1, 2, 4], [0, 1, 1]])),)
ROW = constant(torch.tensor([1, 2, 4, 0, 1, 1]))
JOINED = (ROW, constant(torch.tensor([0, 2, 2, 5])))
ALL = (ROW, constant(torch.tensor([0, 2, 6])))
CUT = (ROW, constant(torch.tensor([0, 2, 5])))
TABLE = normal(5, 3)
MODES = ("sum", "mean", "max")
NONE = constant(None)
FAST = "entries after the last offset: torch adds them in float64, but not where it uses a faster sum"
BEHIND = {"without": {"empty": "without offsets there are no bags",
                      **dict.fromkeys(("float32", "bfloat16", "autocast", "forward", "native"), FAST)}}  # fmt: skip
EMPTY = {"without": {"empty": "without offsets there are no bags"}}


def weighted(*shape: int) -> tuple:
    """The positional arguments offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights."""
    return (NONE, NONE, constant(2.0), constant(False), constant("sum"), constant(False), uniform(*shape, low=0.5))


CASES = [
    *(layer("EmbeddingBag", 5, 3, mode=mode, inputs=BAGS) for mode in MODES),
    *(layer("EmbeddingBag", 5, 3, mode=mode, inputs=JOINED, row=EMPTY, tag="offsets") for mode in MODES),
    *(layer("EmbeddingBag", 5, 3, mode=mode, padding_idx=1, inputs=JOINED, row=EMPTY) for mode in MODES),
    layer("EmbeddingBag", 5, 3, mode="sum", padding_idx=-1, include_last_offset=True, inputs=ALL, row=EMPTY),
    layer("EmbeddingBag", 5, 3, mode="sum", include_last_offset=True, inputs=CUT, row=BEHIND, tag="cut"),
    layer("EmbeddingBag", 5, 3, mode="mean", include_last_offset=True, inputs=ALL, row=EMPTY),
    layer("EmbeddingBag", 5, 3, mode="sum", scale_grad_by_freq=True, inputs=BAGS, row=MEAN),
    layer("EmbeddingBag", 5, 3, mode="mean", scale_grad_by_freq=True, inputs=BAGS, row=MEAN),
    layer("EmbeddingBag", 5, 3, max_norm=0.9, inputs=BAGS, row=RENORM),
    function("embedding_bag", (*BAGS, TABLE, *weighted(2, 3)), tag="weighted"),
    function("embedding_bag", (*BAGS, TABLE, *weighted(2, 3)), padding_idx=1, tag="weighted"),
    function("embedding_bag", (*BAGS, TABLE)),
]
