"""Rows of losses with a margin."""

import torch

from ..case import Spec, constant, index, normal, uniform
from ._make import function, layer

SIGNS = constant(torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]]))
SIGNS_OF_TWO = constant(torch.tensor([[1.0, -1.0]]))
PAIRS = (normal(4, 3), normal(4, 3), SIGNS)
DISTANCES = (uniform(4, 3, high=2.0, specials=(1.0, 0.3, 0.0)), SIGNS)
TRIPLET = (normal(4, 3), normal(4, 3), normal(4, 3))
VECTORS = (normal(4), normal(4), normal(4))
CLASSES = (normal(4, 3), index(3, 4))
LISTS = (normal(3, 4), constant(torch.tensor([[3, 0, -1, 1], [1, -1, -1, -1], [-1, 2, 0, 1]])))
REPEATED = (normal(2, 4), constant(torch.tensor([[2, 2, 0, -1], [0, 1, 2, 3]])))
KEPT = {
    "without": dict.fromkeys(
        ("gradcheck", "gradgradcheck", "forward_mode", "batched_grad", "specials"),
        "a margin that is met exactly is a kink, where torch takes the slope 0",
    )
}


def fixed(*rows: list[float]) -> Spec:
    return Spec(lambda generator, dtype: torch.tensor(rows, dtype=dtype))


EMPTY = {"without": {"empty": "torch leaves the output of an empty batch uninitialized; ours is an empty sum, 0"}}
KEPT_OR_EMPTY = {"without": {**KEPT["without"], **EMPTY["without"]}}


def squared(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return ((one - other) * (one - other)).sum(-1)


SAME = Spec(lambda generator, dtype: torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=dtype))
EQUAL = {
    "without": dict.fromkeys(
        ("gradcheck", "gradgradcheck", "forward_mode", "float32", "bfloat16", "batched_grad", "layouts", "autocast"),
        "two equal distances are a kink, where torch takes the mean of both slopes",
    )
}

CASES = [
    *(layer("MarginRankingLoss", inputs=PAIRS, reduction=how) for how in ("mean", "none", "sum")),
    layer("MarginRankingLoss", inputs=PAIRS, margin=0.5),
    function("margin_ranking_loss", (normal(4, 3), normal(1, 3), normal(4, 1)), margin=0.3, tag="broadcast"),
    function("margin_ranking_loss", (fixed([2.0, 0.0]), fixed([1.0, 0.0]), SIGNS_OF_TWO), margin=1.0, row=KEPT),
    *(layer("HingeEmbeddingLoss", inputs=DISTANCES, reduction=how) for how in ("mean", "none", "sum")),
    layer("HingeEmbeddingLoss", inputs=DISTANCES, margin=0.3),
    function("hinge_embedding_loss", (normal(3), SIGNS), tag="broadcast"),
    function("hinge_embedding_loss", (normal(3), uniform(3, low=-1.0, grad=False)), tag="neither"),
    *(layer("TripletMarginLoss", inputs=TRIPLET, reduction=how) for how in ("mean", "none", "sum")),
    layer("TripletMarginLoss", inputs=TRIPLET, swap=True),
    layer("TripletMarginLoss", inputs=TRIPLET, margin=0.2, p=1.0, eps=0.1, swap=True, reduction="none"),
    function("triplet_margin_loss", VECTORS, p=3.0, tag="vectors"),
    function("triplet_margin_loss", (SAME, SAME, normal(2, 2)), swap=True, margin=9.0, tag="ties", row=EQUAL),
    function(
        "triplet_margin_loss", (fixed([0.0, 0.0]), fixed([3.0, 4.0]), fixed([0.0, 6.0])), eps=0.0, tag="kept", row=KEPT
    ),
    *(
        layer("TripletMarginWithDistanceLoss", inputs=TRIPLET, reduction=how, swap=swap)
        for how, swap in (("mean", False), ("none", True), ("sum", True))
    ),
    layer("TripletMarginWithDistanceLoss", inputs=TRIPLET, distance_function=squared, margin=0.5, swap=True),
    function("triplet_margin_with_distance_loss", TRIPLET),
    *(layer("MultiMarginLoss", inputs=CLASSES, reduction=how, row=EMPTY) for how in ("mean", "none", "sum")),
    layer("MultiMarginLoss", p=2, margin=0.5, inputs=CLASSES, reduction="none"),
    *(
        function(
            "multi_margin_loss",
            (*CLASSES, constant(p), constant(0.7), uniform(3, low=0.5, grad=False)),
            tag=f"p={p}",
            row=EMPTY,
        )
        for p in (1, 2)
    ),
    function("multi_margin_loss", (normal(3), index(3)), tag="vector"),
    function("multi_margin_loss", (fixed([1.0, 0.0, 0.5]), constant(torch.tensor([0]))), tag="kept", row=KEPT_OR_EMPTY),
    function(
        "multilabel_margin_loss",
        (fixed([1.0, 0.0, 0.5]), constant(torch.tensor([[0, -1, 2]]))),
        tag="kept",
        row=KEPT_OR_EMPTY,
    ),
    function("multi_margin_loss", (normal(), index(1)), tag="0d"),
    function("multilabel_margin_loss", (normal(), index(1)), tag="0d"),
    *(layer("MultiLabelMarginLoss", inputs=LISTS, reduction=how, row=EMPTY) for how in ("mean", "none", "sum")),
    layer("MultiLabelMarginLoss", inputs=REPEATED, reduction="none", tag="repeated"),
    function("multilabel_margin_loss", (normal(4), constant(torch.tensor([2, 0, -1, 1]))), tag="vector"),
]
