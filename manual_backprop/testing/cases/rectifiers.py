"""Rows of activations that return positive inputs unchanged."""

from ..case import normal, uniform
from ._make import function, layer

# ATen's vector and scalar loops disagree on derivatives at NaN; below 16 elements it runs the scalar loop, like CUDA
X = (normal(3, 4),)
HALF = (normal(3, 4, kinks=(0.5,)),)
LARGER = {"larger": (normal(16, 8),)}
SLOPES = uniform(4, low=0.1, high=0.4, specials=(0.0, -0.5, 1.0, float("nan"), float("inf")))

CASES = [
    layer("ReLU", inputs=X, row=LARGER),
    layer("ReLU", inputs=X, inplace=True),
    layer("ReLU", inputs=(normal(),), tag="scalar"),
    layer("ReLU", inputs=(normal(1, 3, 2, 2),), tag="4d"),
    layer("Threshold", 0.5, -7.0, inputs=HALF, row=LARGER),
    layer("Threshold", 0.5, 2.0, inputs=HALF, inplace=True),
    layer("LeakyReLU", inputs=X, row=LARGER),
    layer("LeakyReLU", inputs=X, negative_slope=0.3),
    layer("LeakyReLU", inputs=X, negative_slope=-0.5),
    layer("LeakyReLU", inputs=X, negative_slope=0.0),
    layer("LeakyReLU", inputs=X, inplace=True),
    layer("LeakyReLU", inputs=X, negative_slope=0.0, inplace=True),
    layer("PReLU", inputs=X, row=LARGER),
    layer("PReLU", 4, inputs=X, init=0.1),
    layer("PReLU", 3, inputs=(normal(1, 3, 2, 2),), tag="4d"),
    layer("PReLU", inputs=(normal(5),), tag="vector"),
    layer("PReLU", inputs=(normal(),), tag="scalar"),
    layer("RReLU", inputs=X, row=LARGER),
    layer("RReLU", inputs=X, lower=-0.2, upper=0.9),
    layer("RReLU", inputs=X, lower=0.2, upper=0.2),
    layer("RReLU", inputs=X, inplace=True),
    layer("RReLU", inputs=X, train=False, row=LARGER),
    layer("RReLU", inputs=X, train=False, lower=-0.9, upper=0.1),
    layer("RReLU", inputs=X, train=False, inplace=True),
    function("relu", X),
    function("relu", X, inplace=True),
    function("relu_", X),
    function("threshold", HALF, threshold=0.5, value=-7.0),
    function("threshold", HALF, threshold=0.5, value=-7.0, inplace=True),
    function("threshold_", HALF, threshold=0.5, value=-7.0),
    function("leaky_relu", X, negative_slope=0.3),
    function("leaky_relu", X, negative_slope=0.3, inplace=True),
    function("leaky_relu_", X, negative_slope=0.3),
    function("prelu", (*X, SLOPES)),
    function("prelu", (*X, uniform()), tag="scalar-weight"),
    function("rrelu", X),
    function("rrelu", X, training=True),
    function("rrelu", X, training=True, inplace=True),
    function("rrelu_", X, training=True),
]
