"""Rows of distances and angles of vectors."""

import math

import torch

from ..case import Spec, complex_normal, constant, normal, uniform
from ._make import COMPLEX, function, layer
from .margins import fixed

TWO = (normal(4, 3), normal(4, 3))
SIGNS = constant(torch.tensor([1.0, -1.0, -1.0, 1.0]))
ZEROS = Spec(lambda generator, dtype: torch.tensor([[0.0, 0.0], [0.5, -1.0], [-2.0, 2.0]], dtype=dtype))
NONE = Spec(lambda generator, dtype: torch.zeros(3, 2, dtype=dtype))
KINK = {"without": dict.fromkeys(("gradcheck", "gradgradcheck", "forward_mode", "batched_grad"),
                                 "a zero vector or equal maxima: a kink, where torch takes a subgradient")}  # fmt: skip
SHORT = {"without": {
    **dict.fromkeys(("gradcheck", "gradgradcheck", "forward_mode", "batched_grad"),
                    "as in torch, max(length, eps) gets the derivative 1, even below eps"),
    "transforms": "torch's forward mode takes that derivative as 0, unlike its own backward",
}}  # fmt: skip
CRASH = {"without": {"empty": "torch's backward without rows crashes the process"}}
APART = uniform(4, 3, low=-2.0, high=2.0, specials=(0.0, 1000.0, -1000.0, 1e-30))
POWERS = (0.0, 0.5, 1.0, 1.5, 3.0, math.inf)
EMBEDDED = (*TWO, SIGNS)
COUNTED = {"without": dict.fromkeys(("float32", "bfloat16", "specials", "empty", "autocast"),
                                    "for p = 0 torch gives no gradient, ours gives zeros")}  # fmt: skip

CASES = [
    layer("PairwiseDistance", inputs=TWO),
    *(layer("PairwiseDistance", p, inputs=TWO) for p in POWERS[1:]),
    layer("PairwiseDistance", 0.0, inputs=TWO, row=COUNTED),
    layer("PairwiseDistance", inputs=(normal(3), normal(4, 3)), p=2.0, eps=0.1, keepdim=True),
    layer("PairwiseDistance", inputs=(normal(3), normal(3)), tag="vectors"),
    *(function("pairwise_distance", (ZEROS, NONE), p=p, eps=0.0, tag="kinks", row=KINK) for p in (*POWERS[1:], 2.0)),
    function("pairwise_distance", TWO),
    function("pairwise_distance", (complex_normal(4, 3), complex_normal(4, 3)), tag="complex", row=COMPLEX),
    function("pairwise_distance", (complex_normal(4, 3), complex_normal(4, 3)), p=3.0, tag="complex", row=COMPLEX),
    function("pdist", (APART,), row=CRASH),
    *(function("pdist", (APART,), p=p, row=CRASH) for p in POWERS),
    layer("CosineSimilarity", inputs=TWO),
    layer("CosineSimilarity", inputs=(normal(2, 3, 4), normal(3, 1)), dim=-2, tag="broadcast"),
    layer("CosineSimilarity", inputs=TWO, eps=5.0, row=SHORT),
    function("cosine_similarity", (normal(3), normal(3)), dim=0),
    *(layer("CosineEmbeddingLoss", inputs=EMBEDDED, reduction=how) for how in ("mean", "none", "sum")),
    layer("CosineEmbeddingLoss", inputs=EMBEDDED, margin=0.3),
    function("cosine_embedding_loss", (normal(3), normal(3), constant(torch.tensor(-1.0))), margin=-1.0, tag="vectors"),
    function("normalize", (normal(4, 3),)),
    *(function("normalize", (normal(4, 3),), p=p) for p in POWERS[1:]),
    function("normalize", (normal(4, 3),), dim=0, eps=2.0),
    function("normalize", (normal(2, 4, 3),), dim=(0, 2)),
    function("normalize", (ZEROS,), tag="zero", row=KINK),
    function("normalize", (fixed([3.0, 4.0], [6.0, 8.0]),), eps=5.0, tag="kink", row=KINK),
    function("normalize", (complex_normal(4, 3),), tag="complex", row=COMPLEX),
]
