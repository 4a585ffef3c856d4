"""Rows of batch normalization."""

from typing import Any

import torch

import manual_backprop as mb

from ..case import Case, constant, normal, uniform
from ._make import function, layer

FLAT = (normal(5, 3),)
LINE = (normal(4, 3, 2),)
IMAGE = (normal(3, 2, 2, 3),)
VOLUME = (normal(2, 2, 2, 1, 2),)
RUNNING = (normal(3, grad=False), uniform(3, low=0.5, high=2.0, grad=False))
NONE = constant(None)
# no infinity: for an infinite weight, the order of operations decides whether a result is NaN or infinite
WEIGHT = uniform(3, low=-1.0, specials=(0.0, 1000.0, float("nan")))

# torch.func's Hessian of batch_norm is not symmetric: its derivative of the weight's gradient by the input is wrong
# (torch 2.15); ours is compared with plain arithmetic in tests/test_normalization.py
TWIN_IS_WRONG = {"transforms: hessian": "the twin's is wrong: not symmetric"}
WRONG = {"without": TWIN_IS_WRONG}
READS = {
    **TWIN_IS_WRONG,
    "compiled": "the cumulative average reads the number of batches, which breaks the twin's graph, too",
}
EMPTIED = {"without": {"empty": "makes the running statistics empty, too; the twin does not check them then"}}


def in_one_process(*arguments: Any) -> Any:
    """`SyncBatchNorm` in one process; tests/test_sync_batchnorm.py runs several."""
    return mb.functional.call(mb.rules.SyncBatchNorm, *arguments, 0.3, 1e-5, None)[0]


def batch_norm(input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any) -> Any:
    return torch.nn.functional.batch_norm(input, running_mean, running_var, weight, bias, True, 0.3)


ONCE = dict.fromkeys(("gradgradcheck", "transforms"), "a sum over processes is not differentiated")
FORWARD = dict.fromkeys(
    ("forward_mode", "autocast"), "it has no tangent formula: processes would have to exchange tangents, too"
)
SYNC: dict[str, Any] = {
    "forward": (1e-6, "another order of operations"),
    "without": {
        **ONCE,
        **FORWARD,
        "specials": "a channel with one value everywhere is rounded differently",
        "empty": "makes the weights empty, too",
    },
}

CASES = [
    *(Case(f"SyncBatchNorm-rule{tag}", lambda: in_one_process, lambda: batch_norm, (*LINE, *affine, NONE, NONE), **SYNC)
      for tag, affine in (("", (normal(3), normal(3))), ("-plain", (NONE, NONE)))),
    layer("SyncBatchNorm", 2, inputs=IMAGE, row=WRONG),
    layer("SyncBatchNorm", 3, momentum=None, inputs=LINE, row={"without": READS}),
    layer("SyncBatchNorm", 2, inputs=IMAGE, train=False),
    layer("BatchNorm1d", 3, inputs=FLAT, tag="flat", row={"larger": (normal(64, 3),), **WRONG}),
    layer("BatchNorm1d", 3, inputs=LINE, row=WRONG),
    layer("BatchNorm1d", 3, inputs=LINE, train=False),
    layer("BatchNorm1d", 3, inputs=(normal(1, 3),), train=False, tag="one-sample"),
    layer("BatchNorm2d", 2, inputs=IMAGE, row={"larger": (normal(8, 2, 5, 5),), **WRONG}),
    layer("BatchNorm2d", 2, inputs=IMAGE, train=False),
    layer("BatchNorm2d", 2, inputs=IMAGE, eps=0.1, momentum=0.3, row=WRONG),
    layer("BatchNorm2d", 2, inputs=IMAGE, affine=False),
    layer("BatchNorm2d", 2, inputs=IMAGE, affine=False, train=False),
    layer("BatchNorm2d", 2, inputs=IMAGE, momentum=None, row={"without": READS}),
    layer("BatchNorm2d", 2, inputs=IMAGE, track_running_stats=False, row=WRONG),
    layer("BatchNorm2d", 2, inputs=IMAGE, track_running_stats=False, train=False, row=WRONG),
    layer("BatchNorm3d", 2, inputs=VOLUME, row=WRONG),
    layer("BatchNorm3d", 2, inputs=VOLUME, train=False),
    function("batch_norm", (*LINE, *RUNNING, normal(3), normal(3))),
    function("batch_norm", (*LINE, *RUNNING), tag="plain", row=EMPTIED),
    function("batch_norm", (*LINE, *RUNNING, normal(3)), tag="weight-only"),
    function("batch_norm", (*LINE, *RUNNING, NONE, normal(3)), tag="bias-only"),
    function("batch_norm", (*LINE, *RUNNING, WEIGHT, normal(3)), training=True, momentum=0.2, row=WRONG),
    function("batch_norm", (*LINE, NONE, NONE, WEIGHT), training=True, tag="weight-only", row=WRONG),
    function("batch_norm", (*LINE, NONE, NONE, NONE, normal(3)), training=True, tag="bias-only"),
]  # fmt: skip
