"""Rows of products of Householder reflections."""

from ._make import COMPLEX, function
from ._matrices import both, matrices, without

C = COMPLEX
INSIDE = without("torch's backward runs matmuls in 16 bits; ours computes in float32", "autocast")
NOTHING = without("for an empty input torch gives no gradient, ours gives an empty one", "empty")

CASES = [
    function("linalg_householder_product", (matrices(4, 3), matrices(3)), row=INSIDE),
    function("linalg_householder_product", (matrices(2, 4, 3), matrices(2, 2)), tag="fewer", row=both(INSIDE, NOTHING)),
    function("linalg_householder_product", (matrices(4, 3, of=True), matrices(2, of=True)), tag="complex", row=C),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(4, 3)), row=NOTHING),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(3, 4)), left=False),
    function("ormqr", (matrices(2, 4, 2), matrices(2, 2), matrices(2, 4, 3)), transpose=True, row=NOTHING),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(3, 4)), left=False, transpose=True, row=NOTHING),
    function(
        "ormqr",
        (matrices(4, 2, of=True), matrices(2, of=True), matrices(4, 3, of=True)),
        tag="complex",
        row=both(C, NOTHING),
    ),
    function(
        "ormqr",
        (matrices(4, 2, of=True), matrices(2, of=True), matrices(3, 4, of=True)),
        left=False,
        transpose=True,
        tag="complex",
        row=C,
    ),
]
