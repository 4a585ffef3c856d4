"""Rows of functions that are composed of others, of weight norm, grouped products, and of derivatives as operators."""

from functools import partial
from typing import Any

import torch

import manual_backprop as mb
from manual_backprop import rules

from ..case import Case, Spec, constant, normal, uniform
from ._make import function

TWO_GROUPS = constant(torch.tensor([2, 5], dtype=torch.int32))
LAST = constant(torch.tensor([2, 8], dtype=torch.int32))
THROUGH = {
    "without": dict.fromkeys(
        ("gradcheck", "batched_grad", "forward_mode", "gradgradcheck"),
        "by definition the derivative is that of the softmax, not of the one-hot output",
    )
}
NO_LENGTH = {"without": {"empty": "a g of size zero fits no length"}}
V = uniform(4, 3, low=-2.0)
ALONG = uniform(4, 1, low=0.5)


def norm_of(v: torch.Tensor, g: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """As torch computes it where it does not fuse."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


def rule(name: str, rule: Any, *inputs: Spec, **more: Any) -> Case:
    """A rule without a function of its own, and without a twin: of float64, too, which torch's has not."""
    return Case(name, lambda: partial(mb.functional.call, rule), None, inputs, **more)


def grouped(tag: str, *inputs: Spec) -> Case:
    return rule(f"grouped_mm-{tag}", rules.GroupedMM, *inputs, constant(None))


CASES = [
    function("conv_tbc", (normal(5, 2, 3), normal(3, 3, 4), normal(4))),
    function("conv_tbc", (normal(5, 2, 3), normal(2, 3, 4), normal(4)), pad=1),
    function("gumbel_softmax", (normal(4, 3),)),
    function("gumbel_softmax", (normal(4, 3),), tau=0.5, dim=0),
    function("gumbel_softmax", (normal(4, 3),), hard=True, row=THROUGH),
    function("weight_norm", (V, ALONG), twin=norm_of),
    function("weight_norm", (uniform(4, 3, 2, low=-2.0), uniform(1, 3, 1, low=0.5)), twin=norm_of, dim=1,
             row=NO_LENGTH),
    function("weight_norm", (V, uniform(low=0.5)), twin=norm_of, dim=-1),
    grouped("rows", normal(5, 8), normal(2, 8, 8), TWO_GROUPS),
    grouped("rows-and-a-rest", normal(6, 8), normal(2, 8, 8), TWO_GROUPS),
    grouped("columns", normal(2, 4, 8), normal(8, 8), LAST),
    grouped("columns-and-a-rest", normal(2, 4, 8), normal(8, 8), TWO_GROUPS),
    grouped("inner", normal(4, 8), normal(8, 8), LAST),
    grouped("batch", normal(2, 4, 8), normal(2, 8, 8), constant(None)),
    rule("safe_softmax", rules.SafeSoftmax, normal(4, 3), constant(1), constant(None)),
    rule("softmax_backward", rules.SoftmaxBackward, normal(4, 3), uniform(4, 3), constant(1), constant(torch.float64)),
    rule(
        "log_softmax_backward", rules.LogSoftmaxBackward, normal(4, 3), normal(4, 3), constant(1),
        constant(torch.float64),
    ),
]  # fmt: skip
