"""Rows of the pseudo-inverse and of least squares."""

from ._make import COMPLEX, function
from ._matrices import both, matrices, through, without

COMPILED = both(COMPLEX, without("torch.compile's result differs from torch's own", "compiled"))
INSIDE = without("torch runs matmuls inside in 16 bits, or refuses them; ours computes in float32", "autocast")
SHAPE = without("torch.compile cannot tell whether there are residuals", "compiled")


def product(F, X, Y, *others):
    """A matrix whose rank is less than either of its sizes."""
    return F.matmul(X, Y), *others


CASES = [
    function("linalg_pinv", (matrices(4, 2),), row=INSIDE),
    function("linalg_pinv", (matrices(2, 2, 4),), tag="wide", row=INSIDE),
    function("linalg_pinv", (matrices(3, 3, of=True),), tag="complex", row=COMPILED),
    through("linalg_pinv", (matrices(4, 2), matrices(2, 3)), product, tag="rank-2", row=INSIDE),
    through(
        "linalg_pinv", (matrices(3, 2, of=True), matrices(2, 4, of=True)), product, tag="rank-2-complex", row=COMPILED
    ),
    function("linalg_lstsq", (matrices(4, 2), matrices(4, 3)), driver="gels", row=SHAPE),
    function("linalg_lstsq", (matrices(2, 4), matrices(2, 3)), driver="gels", tag="wide", row=SHAPE),
    function("linalg_lstsq", (matrices(1, 4, 2), matrices(2, 4, 3)), driver="gels", tag="one-matrix", row=SHAPE),
    function("linalg_lstsq", (matrices(2, 4, 2), matrices(1, 4, 3)), driver="gels", tag="one-side", row=SHAPE),
    function("linalg_lstsq", (matrices(2, 4, 2), matrices(2, 4)), driver="gelsd", tag="vectors", row=SHAPE),
    function(
        "linalg_lstsq",
        (matrices(4, 2, of=True), matrices(4, 3, of=True)),
        driver="gels",
        tag="complex",
        row=both(COMPLEX, SHAPE),
    ),
]
