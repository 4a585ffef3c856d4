"""Rows of normalizations of each sample by itself."""

from ..case import constant, normal, uniform
from ._make import function, layer

ROWS = (normal(3, 4),)
DEEP = (normal(2, 3, 2, 2),)
GROUPED = (normal(2, 4, 3),)
# no infinity: for an infinite weight, the order of operations decides whether a result is NaN or infinite
WEIGHT = uniform(4, low=-1.0, specials=(0.0, 1000.0, float("nan")))
# torch.func's Hessian of layer_norm is not symmetric: its derivative of the weight's gradient by the input is wrong
# (torch 2.15); ours is compared with plain arithmetic in tests/test_normalization.py
WRONG = {"without": {"transforms: hessian": "the twin's is wrong: not symmetric"}}

CASES = [
    layer("LayerNorm", 4, inputs=ROWS, row={"larger": (normal(16, 4),), **WRONG}),
    layer("LayerNorm", 4, inputs=(normal(4),), tag="vector", row=WRONG),
    layer("LayerNorm", (2, 2), inputs=DEEP, row=WRONG),
    layer("LayerNorm", (3, 2, 2), inputs=DEEP, row=WRONG),
    layer("LayerNorm", (2, 3), inputs=(normal(2, 3),), tag="all-axes", row=WRONG),
    layer("LayerNorm", 4, inputs=ROWS, eps=0.1, row=WRONG),
    layer("LayerNorm", 4, inputs=ROWS, bias=False, row=WRONG),
    layer("LayerNorm", 4, inputs=ROWS, elementwise_affine=False),
    function("layer_norm", (*ROWS, constant([4]), WEIGHT, normal(4)), row=WRONG),
    function("layer_norm", (*ROWS, constant((4,))), tag="plain"),
    function("layer_norm", (*ROWS, constant([4]), constant(None), normal(4)), tag="bias-only"),
    layer("RMSNorm", 4, inputs=ROWS, row={"larger": (normal(16, 4),)}),
    layer("RMSNorm", 4, inputs=(normal(4),), tag="vector"),
    layer("RMSNorm", (2, 2), inputs=DEEP),
    layer("RMSNorm", 4, inputs=ROWS, eps=0.1),
    layer("RMSNorm", 4, inputs=ROWS, elementwise_affine=False),
    function("rms_norm", (*ROWS, constant([4]), normal(4))),
    function("rms_norm", (*ROWS, constant((4,))), eps=1e-3),
    layer("GroupNorm", 2, 4, inputs=GROUPED, row={"larger": (normal(4, 4, 5, 5),)}),
    layer("GroupNorm", 1, 4, inputs=GROUPED),
    layer("GroupNorm", 4, 4, inputs=GROUPED),
    layer("GroupNorm", 2, 8, inputs=(normal(3, 8),), tag="flat"),
    layer("GroupNorm", 2, 4, inputs=(normal(2, 4, 2, 2),), tag="image"),
    layer("GroupNorm", 2, 4, inputs=(normal(1, 4, 2, 1, 2),), tag="volume"),
    layer("GroupNorm", 2, 4, inputs=GROUPED, eps=0.1),
    layer("GroupNorm", 2, 4, inputs=GROUPED, affine=False),
    function("group_norm", (*GROUPED, constant(2), normal(4), normal(4))),
    function("group_norm", (*GROUPED, constant(4)), tag="plain"),
    function("group_norm", (*GROUPED, constant(2), normal(4)), tag="weight-only"),
    function("group_norm", (*GROUPED, constant(2), constant(None), normal(4)), tag="bias-only"),
]
