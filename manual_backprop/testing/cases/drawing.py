"""Rows of random numbers."""

from torch import Tensor

import manual_backprop as mb

from ..case import Case, constant, normal, uniform
from ._make import function

DRAWN = {
    "without": {
        check: "torch treats random draws as constants; finite differences do not"
        for check in ("gradcheck", "batched_grad", "forward_mode")
    }
}


SHAPES = {
    "without": {
        "gradcheck": "the derivative holds the distribution function's value fixed, not the random numbers",
        "gradgradcheck": "torch has no second derivative either",
        **dict.fromkeys(("forward_mode", "transforms", "batched_grad"), "torch supports plain reverse mode only"),
    }
}


def overwritten(input: Tensor) -> Tensor:
    return mb.functional.uniform_(mb.functional.mul(input, 2.0), -1.0, 1.0)


CASES = [
    function("normal", (normal(3, 4), uniform(3, 4)), row=DRAWN),
    function("normal", (normal(3, 1), constant(2.0)), tag="number", row=DRAWN),
    function("normal", (constant(2.0), uniform(3, 4)), tag="number-first", row=DRAWN),
    Case("uniform_", lambda: overwritten, lambda: lambda x: (x * 2.0).uniform_(-1.0, 1.0), (normal(3, 4),)),
    function("bernoulli", (uniform(3, 4, low=0.1, high=0.9),)),
    function("poisson", (uniform(3, 4, low=0.1, high=2.0),)),
    function(mb.rules.StandardGamma.operator, (uniform(3, 4, low=0.5, high=3.0),), row=SHAPES),
    function("native_dropout", (normal(3, 4), constant(0.4), constant(True))),
    function("native_dropout", (normal(3, 4), constant(0.4), constant(False)), tag="evaluation"),
    function("native_dropout", (normal(3, 4), constant(1.0), constant(True)), tag="all"),
]
