"""Rows of the pseudo-inverse and of least squares."""

from ._make import function
from ._matrices import complex_row, matrices, through

C = complex_row()


def product(F, X, Y, *others):
    """A matrix of a rank that is less than its axes."""
    return F.matmul(X, Y), *others


CASES = [
    function("linalg_pinv", (matrices(4, 2),)),
    function("linalg_pinv", (matrices(2, 2, 4),), tag="wide"),
    function("linalg_pinv", (matrices(3, 3, of=True),), tag="complex", row=C),
    through("linalg_pinv", (matrices(4, 2), matrices(2, 3)), product, tag="rank-2"),
    through("linalg_pinv", (matrices(3, 2, of=True), matrices(2, 4, of=True)), product, tag="rank-2-complex", row=C),
    function("linalg_lstsq", (matrices(4, 2), matrices(4, 3)), driver="gels"),
    function("linalg_lstsq", (matrices(2, 4), matrices(2, 3)), driver="gels", tag="wide"),
    function("linalg_lstsq", (matrices(2, 4, 2), matrices(2, 4)), driver="gelsd", tag="vectors"),
    function("linalg_lstsq", (matrices(4, 2, of=True), matrices(4, 3, of=True)), driver="gels", tag="complex", row=C),
]
