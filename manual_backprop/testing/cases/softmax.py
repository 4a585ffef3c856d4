"""Rows of softmax, softmin and log_softmax."""

import torch

from ..case import normal
from ._make import function, layer

X = (normal(3, 4),)
CUBE = (normal(2, 3, 4),)
LARGER = {"larger": (normal(16, 8),)}

CASES = [
    layer("Softmax", 1, inputs=X, row=LARGER),
    layer("Softmax", 0, inputs=CUBE),
    layer("Softmax", -2, inputs=CUBE),
    layer("Softmax", 0, inputs=(normal(),), tag="scalar"),
    layer("Softmin", 1, inputs=X, row=LARGER),
    layer("Softmin", -2, inputs=CUBE),
    layer("Softmax2d", inputs=(normal(2, 3, 2, 2),), row={"larger": (normal(4, 8, 3, 3),)}),
    layer("Softmax2d", inputs=(normal(3, 2, 2),), tag="unbatched"),
    layer("LogSoftmax", 1, inputs=X, row=LARGER),
    layer("LogSoftmax", 0, inputs=CUBE),
    layer("LogSoftmax", -2, inputs=CUBE),
    layer("LogSoftmax", 0, inputs=(normal(),), tag="scalar"),
    function("softmax", X, dim=-1),
    function("softmax", X, dim=-1, dtype=torch.float64),
    function("softmin", X, dim=-1),
    function("softmin", X, dim=-1, dtype=torch.float64),
    function("log_softmax", X, dim=-1),
    function("log_softmax", X, dim=-1, dtype=torch.float64),
]
