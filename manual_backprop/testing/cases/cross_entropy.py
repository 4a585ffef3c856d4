"""Rows of classification losses."""

import torch
from torch import tensor

from ..case import Spec, constant, index, normal, simplex, uniform
from ._make import function, layer

REDUCTIONS = ("none", "mean", "sum")
WEIGHT = tensor([0.5, 2.0, 1.0, 0.7])
ANOTHER_ORDER = {
    "forward": (1e-15, "the twin sums only the weights of labels that are not ignored; ours also adds zeros")
}

LOGITS, LABELS = normal(5, 4), index(4, 5)
IGNORING = (LOGITS, index(4, 5, ignore=1))
IMAGE = (normal(2, 4, 3, 2), index(4, 2, 3, 2, ignore=-100))
SOFT = (LOGITS, simplex(5, 4))
SOFT_IMAGE = (normal(2, 4, 3, 2), simplex(2, 4, 3, 2))

CROSS_ENTROPY = [
    layer("CrossEntropyLoss", inputs=(LOGITS, LABELS), row={"larger": (normal(64, 30), index(30, 64))}),
    layer("CrossEntropyLoss", inputs=(LOGITS, LABELS), reduction="none"),
    layer("CrossEntropyLoss", inputs=(LOGITS, LABELS), reduction="sum"),
    *(layer("CrossEntropyLoss", inputs=IGNORING, ignore_index=1, reduction=how) for how in REDUCTIONS),
    *(layer("CrossEntropyLoss", WEIGHT, inputs=IGNORING, ignore_index=1, reduction=how) for how in REDUCTIONS),
    *(layer("CrossEntropyLoss", inputs=IGNORING, ignore_index=1, reduction=h, label_smoothing=0.2) for h in REDUCTIONS),
    *(
        layer(
            "CrossEntropyLoss",
            WEIGHT,
            inputs=IGNORING,
            ignore_index=1,
            reduction=how,
            label_smoothing=0.2,
            row=ANOTHER_ORDER if how == "mean" else None,
        )
        for how in REDUCTIONS
    ),
    layer("CrossEntropyLoss", inputs=(LOGITS, LABELS), label_smoothing=1.0),
    layer("CrossEntropyLoss", inputs=(LOGITS, constant(tensor([0, 3, 2, 1, 0], dtype=torch.uint8))), tag="uint8",
          row={"without": {"transforms": "the twin cannot index with uint8 there; ours can"}}),
    layer("CrossEntropyLoss", inputs=(normal(4), index(4)), tag="unbatched"),
    layer("CrossEntropyLoss", inputs=(normal(4), index(4)), label_smoothing=0.2, tag="unbatched"),
    layer("CrossEntropyLoss", WEIGHT, inputs=(normal(2, 4, 3), index(4, 2, 3)), tag="1d"),
    layer("CrossEntropyLoss", inputs=IMAGE, tag="2d"),
    layer("CrossEntropyLoss", inputs=IMAGE, tag="2d", reduction="none"),
    layer("CrossEntropyLoss", WEIGHT, inputs=IMAGE, tag="2d", label_smoothing=0.2, row=ANOTHER_ORDER),
    layer("CrossEntropyLoss", inputs=(normal(2, 4, 2, 1, 2), index(4, 2, 2, 1, 2)), tag="3d"),
    function("cross_entropy", (LOGITS, LABELS)),
    function("cross_entropy", (normal(3, 1), index(1, 3, ignore=-100)), tag="one-class"),
    function("cross_entropy", (LOGITS, LABELS, uniform(4, low=0.5, high=2.0, grad=False)), tag="weight"),
]  # fmt: skip

PROBABILITIES_64 = torch.eye(4, dtype=torch.float64)[[0, 3, 2, 1, 1]]

SOFT_CROSS_ENTROPY = [
    *(layer("CrossEntropyLoss", inputs=SOFT, tag="soft", reduction=how) for how in REDUCTIONS),
    *(layer("CrossEntropyLoss", WEIGHT, inputs=SOFT, tag="soft", reduction=how) for how in REDUCTIONS),
    layer("CrossEntropyLoss", inputs=SOFT, tag="soft", label_smoothing=0.2),
    layer("CrossEntropyLoss", inputs=SOFT, tag="soft", label_smoothing=1.0),
    layer("CrossEntropyLoss", WEIGHT, inputs=SOFT, tag="soft", label_smoothing=0.2, reduction="none"),
    layer("CrossEntropyLoss", inputs=(normal(4), simplex(4, dim=0)), tag="soft-unbatched"),
    layer("CrossEntropyLoss", WEIGHT, inputs=SOFT_IMAGE, tag="soft-2d"),
    layer("CrossEntropyLoss", inputs=SOFT_IMAGE, tag="soft-2d", reduction="none"),
    function("cross_entropy", (LOGITS, simplex(5, 4, grad=False)), tag="soft-fixed-target"),
    function("cross_entropy", (LOGITS, constant(PROBABILITIES_64)), tag="soft-float64-target"),
    function("cross_entropy", (normal(3, 1), simplex(3, 1)), tag="soft-one-class"),
    function("cross_entropy", (normal(1, 1), simplex(1, 1)), tag="soft-one-number"),
    function("cross_entropy", (*SOFT, uniform(4, low=0.5, high=2.0)), tag="soft-weight"),
    function("cross_entropy", (*SOFT, uniform(4, low=0.5, high=2.0)), tag="soft-weight", label_smoothing=0.2),
    function("cross_entropy", (*SOFT_IMAGE, uniform(4, low=0.5, high=2.0)), tag="soft-weight-2d", reduction="none"),
    function("cross_entropy", (normal(4), simplex(4, dim=0), uniform(4, low=0.5)), tag="soft-weight-unbatched"),
]

NLL = [
    *(layer("NLLLoss", inputs=(LOGITS, LABELS), reduction=how) for how in REDUCTIONS),
    *(layer("NLLLoss", WEIGHT, inputs=IGNORING, ignore_index=1, reduction=how) for how in REDUCTIONS),
    layer("NLLLoss", inputs=(normal(4), index(4)), tag="unbatched"),
    layer("NLLLoss", inputs=IMAGE, tag="2d"),
    layer("NLLLoss", WEIGHT, inputs=IMAGE, tag="2d", reduction="none"),
    layer("NLLLoss", inputs=(normal(2, 4, 3), index(4, 2, 3)), tag="1d"),
    function("nll_loss", (LOGITS, LABELS), row={"larger": (normal(64, 30), index(30, 64))}),
]

# probabilities at the ends of [0, 1], next to them, and outside
EDGES = (0.0, 1.0, 1e-30, 1 - 2**-24, float("nan"), 2.0, -0.5)
PROBABILITIES = uniform(4, 3, low=0.1, high=0.9, specials=EDGES)
YES_OR_NO = uniform(4, 3, specials=(0.0, 1.0, 2.0))
ROW_WEIGHT = tensor([[0.5], [2.0], [1.0], [0.3]])
CLASS_WEIGHT = tensor([0.5, 2.0, 1.0])
YES = normal(4, 3)


def logit_inputs(weight: Spec, pos_weight: Spec, reduction: str) -> tuple[Spec, ...]:
    """(input, target, weight, size_average, reduce, reduction, pos_weight)"""
    return YES, YES_OR_NO, weight, constant(None), constant(None), constant(reduction), pos_weight


BINARY = [
    layer("BCELoss", inputs=(PROBABILITIES, YES_OR_NO),
          row={"larger": (uniform(64, 20, low=0.1, high=0.9), uniform(64, 20))}),
    layer("BCELoss", inputs=(PROBABILITIES, YES_OR_NO), reduction="none"),
    layer("BCELoss", inputs=(PROBABILITIES, YES_OR_NO), reduction="sum"),
    *(layer("BCELoss", ROW_WEIGHT, inputs=(PROBABILITIES, YES_OR_NO), reduction=how) for how in REDUCTIONS),
    layer("BCELoss", inputs=(uniform(5, low=0.1, high=0.9), uniform(5)), tag="vector"),
    function("binary_cross_entropy", (PROBABILITIES, YES_OR_NO)),
    function("binary_cross_entropy", (PROBABILITIES, YES_OR_NO, uniform(3, low=0.5, grad=False)), tag="weight"),
    layer("BCEWithLogitsLoss", inputs=(YES, YES_OR_NO), row={"larger": (normal(64, 20), uniform(64, 20))}),
    layer("BCEWithLogitsLoss", inputs=(YES, YES_OR_NO), reduction="none"),
    layer("BCEWithLogitsLoss", inputs=(YES, YES_OR_NO), reduction="sum"),
    *(layer("BCEWithLogitsLoss", ROW_WEIGHT, inputs=(YES, YES_OR_NO), reduction=how) for how in REDUCTIONS),
    *(layer("BCEWithLogitsLoss", inputs=(YES, YES_OR_NO), pos_weight=CLASS_WEIGHT, reduction=h) for h in REDUCTIONS),
    layer("BCEWithLogitsLoss", ROW_WEIGHT, inputs=(YES, YES_OR_NO), pos_weight=CLASS_WEIGHT),
    function("binary_cross_entropy_with_logits", (YES, YES_OR_NO)),
    function("binary_cross_entropy_with_logits",
             logit_inputs(uniform(3, low=0.5, grad=False), uniform(3, low=0.5, grad=False), "mean"), tag="weights"),
]  # fmt: skip

# the twin multiplies all rows at once, ours blocks of rows; so sums are in another order
LINEAR = {"forward": (1e-14, "a mean over the rows' losses; the twin sums weights and losses separately")}
LINEAR_CROSS_ENTROPY = [] if not hasattr(torch.nn, "LinearCrossEntropyLoss") else [
    layer("LinearCrossEntropyLoss", 3, 4, inputs=(normal(5, 3), LABELS), row=LINEAR),
    layer("LinearCrossEntropyLoss", 3, 4, inputs=(normal(5, 3), LABELS), bias=True, reduction="none", row=LINEAR),
    *(
        layer(
            "LinearCrossEntropyLoss", 3, 4, inputs=(normal(5, 3), index(4, 5, ignore=1)), bias=True, ignore_index=1,
            weight=WEIGHT, label_smoothing=0.2, reduction=how, row=LINEAR,
        )
        for how in REDUCTIONS
    ),
    layer("LinearCrossEntropyLoss", 3, 4, inputs=(normal(3), index(4)), tag="vector", row=LINEAR),
    layer("LinearCrossEntropyLoss", 3, 4, inputs=(normal(5, 3), simplex(5, 4)), bias=True, tag="soft", row=LINEAR),
    layer("LinearCrossEntropyLoss", 3, 4, inputs=(normal(5, 3), index(4, 5, 2)), out_features=(2,), row=LINEAR),
    function("linear_cross_entropy", (normal(5, 3), normal(4, 3), LABELS), row=LINEAR),
]  # fmt: skip

CASES = [*CROSS_ENTROPY, *LINEAR_CROSS_ENTROPY, *SOFT_CROSS_ENTROPY, *NLL, *BINARY]
