"""Rows of functions that rearrange elements."""

from ..case import complex_normal, normal
from ._make import COMPLEX, function

MIXED = {"without": {**COMPLEX["without"], "empty": "torch's backward omits the row of an empty vector"}}

CASES = [
    function("roll", (normal(3, 4),), shifts=[1, 2], dims=[0, 1]),
    function("roll", (normal(3, 4),), shifts=[5], dims=[], tag="as-one-row"),
    function("roll", (complex_normal(3, 4),), shifts=[-1], dims=[1], tag="complex", row=COMPLEX),
    function("flip", (normal(3, 4),), dims=[0]),
    function("flip", (complex_normal(2, 3, 4),), dims=[0, -1], tag="complex", row=COMPLEX),
    function("rot90", (normal(3, 4),), k=1, dims=[0, 1]),
    function("rot90", (normal(2, 3, 4),), k=-2, dims=[0, -1]),
    *(
        row
        for name in ("tril", "triu")
        for row in (
            function(name, (normal(3, 4),)),
            function(name, (normal(2, 4, 3),), diagonal=-1),
            function(name, (complex_normal(4, 4),), diagonal=1, tag="complex", row=COMPLEX),
        )
    ),
    function("diag_embed", (normal(2, 3),)),
    function("diag_embed", (normal(2, 3),), offset=-1, dim1=0, dim2=2),
    function("diag_embed", (complex_normal(3),), offset=1, tag="complex", row=COMPLEX),
    function("repeat", (normal(3, 4),), repeats=[2, 1, 3]),
    function("repeat", (normal(3, 4),), repeats=[2, 0], tag="none"),
    function("repeat", (normal(),), repeats=[2], tag="0d"),
    function("repeat", (normal(),), repeats=[], tag="once"),
    function("repeat", (complex_normal(2, 3),), repeats=[1, 2], tag="complex", row=COMPLEX),
    function("block_diag", (normal(2, 3), normal(3, 1))),
    function("block_diag", (normal(2, 3), normal(4), normal(), complex_normal(1, 2)), tag="mixed", row=MIXED),
]
