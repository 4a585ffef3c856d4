"""Rows of the exponential linear units."""

from ..case import normal
from ._make import function, layer

# ATen's vector and scalar loops disagree on derivatives at NaN; below 16 elements it runs the scalar loop, like CUDA
X = (normal(3, 4),)
LARGER = {"larger": (normal(16, 8),)}

CASES = [
    layer("ELU", inputs=X, row=LARGER),
    layer("ELU", inputs=X, alpha=0.3),
    layer("ELU", inputs=X, alpha=-0.5),
    layer("ELU", inputs=X, inplace=True),
    layer("ELU", inputs=X, alpha=0.3, inplace=True),
    layer("CELU", inputs=X, row=LARGER),
    layer("CELU", inputs=X, alpha=2.0),
    layer("CELU", inputs=X, alpha=-0.5),
    layer("CELU", inputs=X, inplace=True),
    layer("CELU", inputs=X, alpha=2.0, inplace=True),
    layer("SELU", inputs=X, row=LARGER),
    layer("SELU", inputs=X, inplace=True),
    function("elu", X, alpha=0.3),
    function("elu", X, alpha=0.3, inplace=True),
    function("elu_", X, alpha=0.3),
    function("celu", X, alpha=2.0),
    function("celu", X, alpha=2.0, inplace=True),
    function("celu_", X, alpha=2.0),
    function("selu", X),
    function("selu", X, inplace=True),
    function("selu_", X),
]
