"""Rows of products of Householder reflections."""

from ._make import function
from ._matrices import complex_row, matrices

C = complex_row()

CASES = [
    function("linalg_householder_product", (matrices(4, 3), matrices(3))),
    function("linalg_householder_product", (matrices(2, 4, 3), matrices(2, 2)), tag="fewer"),
    function("linalg_householder_product", (matrices(4, 3, of=True), matrices(2, of=True)), tag="complex", row=C),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(4, 3))),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(3, 4)), left=False),
    function("ormqr", (matrices(2, 4, 2), matrices(2, 2), matrices(2, 4, 3)), transpose=True),
    function("ormqr", (matrices(4, 2), matrices(2), matrices(3, 4)), left=False, transpose=True),
    function("ormqr", (matrices(4, 2, of=True), matrices(2, of=True), matrices(4, 3, of=True)), tag="complex", row=C),
    function(
        "ormqr",
        (matrices(4, 2, of=True), matrices(2, of=True), matrices(3, 4, of=True)),
        left=False,
        transpose=True,
        tag="complex",
        row=C,
    ),
]
