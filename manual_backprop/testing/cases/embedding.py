"""Rows of the lookup in a table."""

import torch

from ..case import constant, index, normal
from ._make import function, layer

WORDS = (index(5, 4),)
SENTENCES = (index(5, 3, 4),)
PADDED = (constant(torch.tensor([[1, 2, 2], [0, 1, 4]])),)
NO_GRADIENT = "by definition the padding row receives no gradient, though the output depends on it"
PADDING = {"without": dict.fromkeys(("gradcheck", "batched_grad", "forward_mode", "autocast"), NO_GRADIENT)}
BY_FREQUENCY = "by definition the gradient is the mean over the places of a row, where its derivative is their sum"
MEAN = {
    "without": {
        **dict.fromkeys(("gradcheck", "batched_grad", "forward_mode", "autocast"), BY_FREQUENCY),
        "gradgradcheck": "as in torch, of the two backwards that a second derivative passes only one divides",
    }
}
WRITES = "the forward writes into the weight: differences of its values say nothing, and torch does not checkpoint it"
DERIVATIVES = ("gradcheck", "gradgradcheck", "batched_grad", "forward_mode", "transforms", "checkpoint")
RENORM = {
    "without": dict.fromkeys(DERIVATIVES, WRITES),
    "forward": (2.0**-50, "the second call finds the rows of the first, whose norm may exceed max_norm by rounding"),
}

CASES = [
    layer("Embedding", 5, 3, inputs=SENTENCES, row={"larger": (index(5, 20, 8),)}),
    layer("Embedding", 5, 3, inputs=WORDS, tag="vector"),
    layer("Embedding", 5, 3, inputs=(index(5),), tag="scalar"),
    layer("Embedding", 5, 3, 1, inputs=PADDED, row=PADDING),
    layer("Embedding", 5, 3, -3, inputs=PADDED, row=PADDING),
    layer("Embedding", 5, 3, 0, inputs=PADDED, row=PADDING),
    layer("Embedding", 5, 3, inputs=PADDED, scale_grad_by_freq=True, row=MEAN),
    layer("Embedding", 5, 3, inputs=PADDED, max_norm=0.9, row=RENORM),
    layer("Embedding", 5, 3, inputs=PADDED, max_norm=1.5, norm_type=1.0, row=RENORM),
    function("embedding", (*SENTENCES, normal(5, 3))),
    function("embedding", (index(5, 4, 1), normal(5, 1)), tag="narrow"),
    function("embedding", (*PADDED, normal(5, 3)), padding_idx=2, scale_grad_by_freq=True, row=MEAN),
]
