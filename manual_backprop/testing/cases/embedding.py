"""Rows of the lookup in a table."""

import torch

from ..case import constant, index, normal
from ._make import function, layer

WORDS = (index(5, 4),)
SENTENCES = (index(5, 3, 4),)
PADDED = (constant(torch.tensor([[1, 2, 2], [0, 1, 4]])),)
NO_GRADIENT = "by definition the padding row gets no gradient, although the output depends on it"
PADDING = {"without": dict.fromkeys(("gradcheck", "batched_grad", "forward_mode", "autocast"), NO_GRADIENT)}
BY_FREQUENCY = "by definition the gradient is a mean over the occurrences of a row; the derivative is their sum"
MEAN = {
    "without": {
        **dict.fromkeys(("gradcheck", "batched_grad", "forward_mode", "autocast"), BY_FREQUENCY),
        "gradgradcheck": "as in torch, only one of the two backwards of a second derivative divides by the frequency",
    }
}
WRITES = "the forward changes the weight: finite differences mean nothing, and torch cannot checkpoint it"
DERIVATIVES = ("gradcheck", "gradgradcheck", "batched_grad", "forward_mode", "transforms", "checkpoint")
AGAIN = "rows scaled in the first call may exceed max_norm by rounding and are scaled again"
RENORM = {
    "without": {**dict.fromkeys(DERIVATIVES, WRITES), "native": AGAIN},
    "forward": (2.0**-50, AGAIN),
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
