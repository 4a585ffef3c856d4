"""Rows of the softmax with clusters of rare classes."""

import torch

from ..case import constant, index, normal
from ._make import layer

REASON = "which rows a cluster gets depends on the values of a tensor"
TRACED = {
    "without": {
        **dict.fromkeys(("compiled", "transforms", "batched_grad"), REASON),
        "autocast": "the twin refuses to write a cluster's 16-bit results into a float32 tensor",
    }
}

CASES = [
    layer("AdaptiveLogSoftmaxWithLoss", 4, 10, cutoffs=[3, 6], div_value=2.0, inputs=(normal(5, 4), index(10, 5)), row=TRACED),
    layer("AdaptiveLogSoftmaxWithLoss", 8, 10, cutoffs=[3, 6, 8], div_value=1.5, head_bias=True, row=TRACED,
          inputs=(normal(4, 8), constant(torch.tensor([9, 0, 9, 4])))),
    layer("AdaptiveLogSoftmaxWithLoss", 4, 10, cutoffs=[3], inputs=(normal(4), constant(torch.tensor(7))), row=TRACED,
          tag="vector"),
]  # fmt: skip
