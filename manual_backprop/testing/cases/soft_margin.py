"""Rows of the logistic loss of two classes."""

import torch.nn.functional as theirs
from torch import Tensor

from ..case import uniform
from ._make import function, layer

PAIR = (uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0, grad=False))
BOTH = (uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0))


def composed(input: Tensor, target: Tensor) -> Tensor:
    """The loss by other functions of torch, because torch's own has no derivative by the target."""
    return theirs.softplus(-target * input).mean()


CASES = [
    *(layer("SoftMarginLoss", inputs=PAIR, reduction=how) for how in ("mean", "none", "sum")),
    function("soft_margin_loss", BOTH, twin=composed, tag="target",
             row={"forward": (2.0**-50, "the twin computes the same value with other functions"),
                  "without": {"autocast": "the twin uses other functions, and autocast casts fewer of them"}}),
]  # fmt: skip
