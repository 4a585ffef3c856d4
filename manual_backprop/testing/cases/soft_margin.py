"""Rows of the logistic loss of two classes."""

import torch.nn.functional as theirs
from torch import Tensor

from ..case import uniform
from ._make import function, layer

PAIR = (uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0, grad=False))
BOTH = (uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0))


def composed(input: Tensor, target: Tensor) -> Tensor:
    """torch's own has no derivative by the target."""
    return theirs.softplus(-target * input).mean()


CASES = [
    *(layer("SoftMarginLoss", inputs=PAIR, reduction=how) for how in ("mean", "none", "sum")),
    function("soft_margin_loss", BOTH, twin=composed, tag="target",
             row={"forward": (2.0**-50, "the same number by other functions"),
                  "without": {"autocast": "the twin is another function, of which autocast casts less"}}),
]  # fmt: skip
