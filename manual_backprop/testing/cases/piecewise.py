"""Rows of activations made of line and parabola segments."""

import torch.nn.functional as F

from ..case import normal
from ._make import function, layer

# ATen's vector and scalar loops disagree on derivatives at NaN; below 16 elements it runs the scalar loop, like CUDA
X = (normal(3, 4, scale=3.0, kinks=(0.5, -0.5, 3.0, -3.0, 6.0)),)
LARGER = {"larger": (normal(16, 8, scale=3.0),)}
SIXTH = {"without": {"transforms": "the twin's float64 derivative is 1/6 rounded to float32; see the row -exact"}}
EXACT = {
    "forward": (1e-15, "operations in another order"),
    "without": {"specials": "relu6 has a different derivative at NaN; see the other rows"},
}

CASES = [
    layer("Hardtanh", inputs=X, row=LARGER),
    layer("Hardtanh", inputs=X, min_val=-0.5, max_val=3.0),
    layer("Hardtanh", inputs=X, inplace=True),
    layer("ReLU6", inputs=X, row=LARGER),
    layer("ReLU6", inputs=X, inplace=True),
    layer("Hardshrink", inputs=X, row=LARGER),
    layer("Hardshrink", 3.0, inputs=X),
    layer("Hardshrink", 0.0, inputs=X),
    layer("Hardshrink", -0.5, inputs=X),
    layer("Softshrink", inputs=X, row=LARGER),
    layer("Softshrink", 3.0, inputs=X),
    layer("Softshrink", 0.0, inputs=X),
    layer("Hardsigmoid", inputs=X, row={**LARGER, **SIXTH}),
    layer("Hardsigmoid", inputs=X, inplace=True, row=SIXTH),
    layer("Hardswish", inputs=X, row=LARGER),
    layer("Hardswish", inputs=X, inplace=True),
    function("hardtanh", X, min_val=-3.0, max_val=0.5),
    function("hardtanh", X, min_val=-3.0, max_val=0.5, inplace=True),
    function("hardtanh", X, min_val=0.5, max_val=0.5),
    function("hardtanh_", X),
    function("relu6", X),
    function("relu6", X, inplace=True),
    function("hardshrink", X),
    function("softshrink", X),
    function("hardsigmoid", X, row=SIXTH),
    function("hardsigmoid", X, inplace=True, row=SIXTH),
    function("hardsigmoid", X, twin=lambda input: F.relu6(input + 3) / 6, tag="exact", row=EXACT),
    function("hardswish", X),
    function("hardswish", X, inplace=True),
]
