"""Rows of the activations with a gate."""

from ..case import normal
from ._make import function, layer

X = (normal(3, 4, scale=2.0),)
LARGER = {"larger": (normal(16, 8, scale=3.0),)}

CASES = [
    layer("GELU", inputs=X, row=LARGER),
    layer("GELU", inputs=X, approximate="tanh", row=LARGER),
    layer("GLU", inputs=X, row=LARGER),
    layer("GLU", 1, inputs=(normal(2, 4, 3),)),
    layer("GLU", inputs=(normal(6),), tag="vector"),
    function("gelu", X),
    function("gelu", X, approximate="tanh"),
    function("glu", X),
    function("glu", (normal(4, 3),), dim=0),
]
