"""Rows of functions composed of others, of weight norm, of grouped matmuls, and of operators that are derivatives."""

from functools import partial
from typing import Any

import torch

import manual_backprop as mb
from manual_backprop import rules
from manual_backprop.engine.torch_private import weight_norm_parametrization

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
CRASH = {"without": {"empty": "torch divides by an integer zero there, which crashes the process"}}
V = uniform(4, 3, low=-2.0)
ALONG = uniform(4, 1, low=0.5)
FUSED = {**CRASH, "forward": (2.0**-50, "torch's fused kernel multiplies in another order")}


def norm_of(v: torch.Tensor, g: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """What torch's parametrization computes."""
    result: torch.Tensor = weight_norm_parametrization(dim)(g, v)
    return result


def rule(name: str, rule: Any, *inputs: Spec, **more: Any) -> Case:
    """A rule called directly, without a twin: torch's operator does not support float64."""
    return Case(name, lambda: partial(mb.functional.call, rule), None, inputs, **more)


def grouped(tag: str, *inputs: Spec) -> Case:
    return rule(f"grouped_mm-{tag}", rules.GroupedMM, *inputs, constant(None))


CASES = [
    function("conv_tbc", (normal(5, 2, 3), normal(3, 3, 4), normal(4))),
    function("conv_tbc", (normal(5, 2, 3), normal(2, 3, 4), normal(4)), pad=1),
    function("gumbel_softmax", (normal(4, 3),)),
    function("gumbel_softmax", (normal(4, 3),), tau=0.5, dim=0),
    function("gumbel_softmax", (normal(4, 3),), hard=True, row=THROUGH),
    function("weight_norm", (V, ALONG), twin=norm_of, row=FUSED),
    function("weight_norm", (uniform(4, 3, 2, low=-2.0), uniform(1, 3, 1, low=0.5)), twin=norm_of, dim=1,
             row=CRASH),
    function("weight_norm", (uniform(4, low=-2.0), uniform(4, low=0.5)), twin=norm_of, tag="vector", row=FUSED),
    function("weight_norm", (V, uniform(low=0.5)), twin=norm_of, dim=-1, row=CRASH),
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
