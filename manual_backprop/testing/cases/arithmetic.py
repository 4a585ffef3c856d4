"""Rows of the arithmetic."""

import torch

from ..case import complex_normal, constant, normal, tensors, uniform
from ._make import COMPLEX, function

positive = uniform(3, 4, low=0.5, high=2.0)

CASES = [
    function("add", (normal(3, 4), normal(3, 4)), row={"larger": (normal(32, 16), normal(32, 16))}),
    function("add", (normal(3, 4), normal(2, 1, 4)), tag="broadcast"),
    function("add", (normal(3, 4), normal(4)), alpha=2.5),
    function("add", (normal(3, 4), constant(2.0)), tag="number"),
    function("add", (constant(2.0), normal(3, 4)), tag="number-first"),
    function("add", (normal(3, 4), constant(torch.arange(4))), tag="integers"),
    function("add", (normal(3, 4), normal(3, 4)), alpha=2),
    function("sub", (normal(3, 4), normal(3, 4))),
    function("sub", (normal(3, 1), normal(4)), alpha=3),
    function("sub", (normal(3, 4), constant(2.0)), tag="number"),
    function("mul", (normal(3, 4), normal(3, 4))),
    function("mul", (normal(2, 3, 1), normal(4)), tag="broadcast"),
    function("mul", (normal(3, 4), constant(-1.5)), tag="number"),
    function("div", (normal(3, 4), positive)),
    function("div", (normal(4), positive), tag="broadcast"),
    function("div", (normal(3, 4), constant(4.0)), tag="number"),
    function("div", (constant(4.0), positive), tag="number-first"),
    function("matmul", (normal(3, 4), normal(4, 2)), row={"larger": (normal(2, 16, 8), normal(8, 16))}),
    function("matmul", (normal(4), normal(4)), tag="vectors"),
    function("matmul", (normal(4), normal(4, 2)), tag="vector-matrix"),
    function("matmul", (normal(3, 4), normal(4)), tag="matrix-vector"),
    function("matmul", (normal(5, 3, 4), normal(4)), tag="batch-vector"),
    function("matmul", (normal(4), normal(5, 4, 2)), tag="vector-batch"),
    function("matmul", (normal(5, 1, 3, 4), normal(2, 4, 2)), tag="broadcast"),
    function("matmul", (normal(5, 3, 4), normal(4, 2)), tag="batch-matrix"),
    function("matmul", (normal(3, 4), normal(5, 4, 2)), tag="matrix-batch"),
    function("matmul", (normal(5, 3, 4), normal(5, 4, 2)), tag="batches"),
    *(
        function(name, operands, tag=tag, row=COMPLEX)
        for name in ("add", "sub", "mul", "div")
        for tag, operands in (
            ("complex", (complex_normal(3, 4), complex_normal(3, 1))),
            ("complex-and-real", (complex_normal(3, 4), normal(4))),
            ("real-and-complex", (normal(3, 4), complex_normal(4))),
        )
    ),
    function("add", (complex_normal(3, 4), complex_normal(4)), alpha=2 - 1j, tag="complex", row=COMPLEX),
    function("sub", (complex_normal(3, 4), complex_normal(4)), alpha=2 - 1j, tag="complex", row=COMPLEX),
    function("mul", (complex_normal(3, 4), constant(2 - 1j)), tag="complex-number", row=COMPLEX),
    function("div", (complex_normal(3, 4), constant(2 - 1j)), tag="complex-number", row=COMPLEX),
    *(
        function("matmul", (complex_normal(*a), complex_normal(*b)), tag=f"complex-{tag}", row=COMPLEX)
        for tag, a, b in (
            ("matrices", (3, 4), (4, 2)),
            ("batch-matrix", (5, 3, 4), (4, 2)),
            ("matrix-batch", (3, 4), (5, 4, 2)),
        )
    ),
    function("cat", (tensors(normal(2, 3), normal(4, 3)),)),
    function("cat", (tensors(normal(2, 3), normal(2, 1), normal(2, 2)),), dim=-1),
    function("cat", (tensors(normal(2, 3), normal(0)),), tag="with-empty"),
    function("sum", (normal(3, 4),)),
    function("sum", (normal(3, 4, 2),), dim=1),
    function("sum", (normal(3, 4, 2),), dim=(0, -1), keepdim=True),
    function("mean", (normal(3, 4),)),
    function("mean", (normal(3, 4, 2),), dim=(2, 0)),
    function("mean", (normal(3, 4, 2),), dim=-1, keepdim=True),
    function("mean", (normal(3, 1),), dim=1),
    function("sum", (normal(3, 4),), dtype=torch.float64),
    function("mean", (normal(3, 4),), dtype=torch.float64),
]
