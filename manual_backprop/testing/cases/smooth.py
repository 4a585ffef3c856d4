"""Rows of the smooth activations."""

from ..case import complex_normal, normal
from ._make import COMPLEX, function, layer

X = (normal(3, 4, scale=2.0),)
LARGER = {"larger": (normal(16, 8, scale=3.0),)}

CASES = [
    layer("Sigmoid", inputs=X, row=LARGER),
    layer("LogSigmoid", inputs=X, row=LARGER),
    layer("Tanh", inputs=X, row=LARGER),
    layer("Tanhshrink", inputs=X, row=LARGER),
    layer("Softplus", inputs=X, row=LARGER),
    layer("Softplus", inputs=X, beta=2.0, threshold=1.0),
    layer("Softplus", inputs=X, beta=-2.0),
    layer("Softplus", inputs=X, beta=0.5, threshold=0.0),
    layer("Softsign", inputs=X, row=LARGER),
    layer("SiLU", inputs=X, row=LARGER),
    layer("SiLU", inputs=X, inplace=True),
    layer("Mish", inputs=X, row=LARGER),
    layer("Mish", inputs=X, inplace=True),
    layer("Sigmoid", inputs=(normal(),), tag="scalar"),
    layer("Tanh", inputs=(normal(2, 3, 2, 2),), tag="4d"),
    function("sigmoid", X),
    function("logsigmoid", X),
    function("tanh", X),
    function("tanhshrink", X),
    function("softplus", X),
    function("softplus", X, beta=3, threshold=2),
    function("softsign", X),
    function("silu", X),
    function("silu", X, inplace=True),
    function("mish", X),
    function("mish", X, inplace=True),
    *[
        function(name, (complex_normal(3, 4),), tag="complex", row=COMPLEX)
        for name in ("sigmoid", "tanh", "tanhshrink")
    ],
]
