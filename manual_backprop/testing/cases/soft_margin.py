"""Rows of the logistic loss of two classes."""

from ..case import uniform
from ._make import layer

CASES = [
    layer("SoftMarginLoss", inputs=(uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0, grad=False))),
    layer("SoftMarginLoss", inputs=(uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0, grad=False)),
          reduction="none"),
    layer("SoftMarginLoss", inputs=(uniform(4, 3, low=-5.0, high=5.0), uniform(4, 3, low=-1.0, grad=False)),
          reduction="sum"),
]  # fmt: skip
