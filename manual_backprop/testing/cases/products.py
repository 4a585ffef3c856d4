"""Rows of matmuls with an added input (addmm and others), and of products of vectors."""

from ..case import complex_normal, normal
from ._make import COMPLEX, function

CASES = [
    function("addmm", (normal(3, 2), normal(3, 4), normal(4, 2))),
    function("addmm", (normal(2), normal(3, 4), normal(4, 2)), beta=0.5, alpha=-2.0),
    function("addmm", (normal(3, 1), normal(3, 4), normal(4, 2)), beta=0),
    function(
        "addmm",
        (complex_normal(3, 2), complex_normal(3, 4), complex_normal(4, 2)),
        beta=2 - 1j,
        alpha=1 + 3j,
        row=COMPLEX,
    ),
    function("addmv", (normal(3), normal(3, 4), normal(4))),
    function("addmv", (normal(3), normal(3, 4), normal(4)), beta=2, alpha=2),
    function("addmv", (normal(1), normal(3, 4), normal(4)), beta=0.5, alpha=-2.0),
    function(
        "addmv", (complex_normal(3), complex_normal(3, 4), complex_normal(4)), beta=2 - 1j, alpha=1 + 3j, row=COMPLEX
    ),
    function("addr", (normal(3, 2), normal(3), normal(2))),
    function("addr", (normal(2), normal(3), normal(2)), beta=0.5, alpha=-2.0),
    function(
        "addr", (complex_normal(3, 2), complex_normal(3), complex_normal(2)), beta=2 - 1j, alpha=1 + 3j, row=COMPLEX
    ),
    function("baddbmm", (normal(5, 3, 2), normal(5, 3, 4), normal(5, 4, 2))),
    function("baddbmm", (normal(3, 1), normal(5, 3, 4), normal(5, 4, 2)), beta=0.5, alpha=-2.0),
    function(
        "baddbmm",
        (complex_normal(2), complex_normal(5, 3, 4), complex_normal(5, 4, 2)),
        beta=2 - 1j,
        alpha=1 + 3j,
        row=COMPLEX,
    ),
    function("addbmm", (normal(3, 2), normal(5, 3, 4), normal(5, 4, 2))),
    function("addbmm", (normal(2), normal(5, 3, 4), normal(5, 4, 2)), beta=0.5, alpha=-2.0),
    function(
        "addbmm",
        (complex_normal(3, 2), complex_normal(5, 3, 4), complex_normal(5, 4, 2)),
        beta=2 - 1j,
        alpha=1 + 3j,
        row=COMPLEX,
    ),
    function("dot", (normal(4), normal(4))),
    function("dot", (complex_normal(4), complex_normal(4)), tag="complex", row=COMPLEX),
    function("vdot", (normal(4), normal(4))),
    function("vdot", (complex_normal(4), complex_normal(4)), tag="complex", row=COMPLEX),
    function("linalg_cross", (normal(2, 3), normal(2, 3))),
    function("linalg_cross", (normal(3, 2, 4), normal(3, 1, 4)), dim=0),
    function("linalg_cross", (complex_normal(2, 3), complex_normal(2, 3)), tag="complex", row=COMPLEX),
]
