"""Rows of selection by value."""

import torch

from ..case import complex_normal, constant, normal
from ._make import COMPLEX, function

mask = constant(torch.tensor([[True, False, False, True], [False] * 4, [True] * 4]))
bounds = (0.5, -0.5)
halves, ones = constant(torch.full((3, 4), 0.5)), constant(torch.ones(3, 4))
FILLED = {"without": {"forward_mode": "gradgradcheck confuses two outputs, for torch.fill as well"}}

CASES = [
    *(
        function(name, operands, tag=tag)
        for name in ("maximum", "minimum", "fmax", "fmin", "clamp_min", "clamp_max")
        for tag, operands in (
            ("", (normal(3, 4), normal(3, 4))),
            ("ties", (normal(3, 4, kinks=bounds), halves)),
            ("ties-of-the-other", (halves, normal(3, 4, kinks=bounds))),
            ("broadcast", (normal(3, 1), normal(2, 1, 4))),
        )
    ),
    function("clamp_min", (normal(3, 4, kinks=bounds), constant(0.5)), tag="number"),
    function("clamp_max", (normal(3, 4, kinks=bounds), constant(0.5)), tag="number"),
    function("clamp", (normal(3, 4, kinks=bounds),), min=-0.5, max=0.5),
    function("clamp", (normal(3, 4, kinks=bounds),), min=0.5),
    function("clamp", (normal(3, 4, kinks=bounds),), max=0.5),
    function("clamp", (normal(3, 4, kinks=bounds),), min=0.5, max=-0.5),
    function("clamp", (normal(3, 4), normal(3, 4), normal(3, 4)), tag="tensors"),
    function("clamp", (normal(3, 1), normal(2, 1, 4), normal(4)), tag="broadcast"),
    function("clamp", (normal(3, 4), normal(3, 4)), tag="tensor-min"),
    function("clamp", (normal(3, 4), constant(None), normal(3, 4)), tag="tensor-max"),
    function("clamp", (normal(3, 4, kinks=bounds), halves, ones), tag="ties"),
    function("clamp", (normal(3, 4, kinks=bounds), halves, halves), tag="one-bound"),
    function("clamp", (normal(3, 4, kinks=bounds), ones, halves), tag="bounds-in-reverse"),
    function("clamp", (halves, normal(3, 4, kinks=bounds), ones), tag="ties-of-min"),
    function("clamp", (halves, ones, normal(3, 4, kinks=bounds)), tag="ties-of-max"),
    function("clamp", (halves, normal(3, 4, kinks=bounds), halves), tag="min-on-max"),
    function("clamp", (halves, halves, normal(3, 4, kinks=bounds)), tag="max-on-min"),
    function("clamp", (halves, constant(torch.zeros(3, 4)), normal(3, 4, kinks=bounds)), tag="ties-with-max"),
    function("where", (mask, normal(3, 4), normal(3, 4))),
    function("where", (mask, normal(3, 1), normal(2, 1, 4)), tag="broadcast"),
    function("where", (mask, normal(3, 4), constant(2.0)), tag="number"),
    function("where", (mask, constant(2.0), normal(3, 4)), tag="number-first"),
    function("where", (mask, complex_normal(3, 4), complex_normal(4)), tag="complex", row=COMPLEX),
    function("masked_fill", (normal(3, 4), mask, constant(2.0))),
    function("masked_fill", (normal(2, 3, 4), mask, normal()), tag="tensor"),
    function("masked_fill", (normal(4), mask, normal()), tag="broadcast"),
    function("masked_fill", (complex_normal(3, 4), mask, complex_normal()), tag="complex", row=COMPLEX),
    function("fill", (normal(3, 4), constant(2.0))),
    function("fill", (normal(3, 4), normal()), tag="tensor", row=FILLED),
    function("fill", (normal(3, 4, grad=False), normal()), tag="tensor-alone"),
    function("zero", (normal(3, 4),)),
]
