"""Rows of the affine maps."""

from ..case import complex_normal, normal
from ._make import COMPLEX, function, layer

FLOAT32_INSIDE = {
    "without": {
        "autocast": "on a CPU the twin rounds intermediate products to bfloat16 although the result is float32; ours "
        "does not: test_bilinear.py compares both with float64"
    }
}

CASES = [
    layer("Linear", 4, 3, inputs=(normal(5, 4),), row={"larger": (normal(64, 4),)}),
    layer("Linear", 4, 3, inputs=(normal(5, 4),), bias=False),
    layer("Linear", 4, 3, inputs=(normal(4),), tag="vector"),
    layer("Linear", 4, 3, inputs=(normal(2, 3, 5, 4),), tag="4d"),
    layer("Linear", 4, 3, inputs=(normal(0, 4),), tag="empty"),
    function("linear", (normal(5, 4), normal(3, 4), normal(3))),
    function("linear", (normal(5, 4), normal(4)), tag="weight-vector"),
    function("linear", (normal(4), normal(4)), tag="vectors"),
    function("linear", (normal(5, 0), normal(3, 0), normal(3)), tag="no-features"),
    function("linear", (complex_normal(5, 4), complex_normal(3, 4), complex_normal(3)), tag="complex", row=COMPLEX),
    function("linear", (complex_normal(5, 4), complex_normal(4)), tag="complex-weight-vector", row=COMPLEX),
    layer(
        "Bilinear",
        4,
        3,
        2,
        inputs=(normal(5, 4), normal(5, 3)),
        row={"larger": (normal(64, 4), normal(64, 3)), **FLOAT32_INSIDE},
    ),
    layer("Bilinear", 4, 3, 2, inputs=(normal(5, 4), normal(5, 3)), bias=False, row=FLOAT32_INSIDE),
    layer("Bilinear", 4, 3, 2, inputs=(normal(4), normal(3)), tag="vectors", row=FLOAT32_INSIDE),
    layer("Bilinear", 4, 3, 2, inputs=(normal(2, 3, 4), normal(2, 3, 3)), tag="3d", row=FLOAT32_INSIDE),
    layer("Bilinear", 4, 3, 2, inputs=(normal(0, 4), normal(0, 3)), tag="empty", row=FLOAT32_INSIDE),
    function("bilinear", (normal(5, 4), normal(5, 3), normal(2, 4, 3), normal(2)), row=FLOAT32_INSIDE),
    function("bilinear", (normal(5, 4), normal(5, 3), normal(2, 4, 3)), tag="no-bias", row=FLOAT32_INSIDE),
]
