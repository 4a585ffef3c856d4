"""Rows of the distances between all pairs of points."""

from ..case import normal
from ._make import function

INF = float("inf")
JACREV = {"without": {"transforms: jacrev": "torch's own is wrong: it is not that of its backward, which ours is"}}

CASES = [
    function("cdist", (normal(4, 3), normal(5, 3)), row=JACREV),
    *(function("cdist", (normal(4, 3), normal(2, 5, 3)), p=p, row=JACREV) for p in (0.0, 0.5, 1.0, 1.5, 3.0, INF)),
    function("cdist", (normal(2, 1, 4, 3), normal(3, 5, 3)), tag="broadcast", row=JACREV),
    function("cdist", (normal(4, 3), normal(2, 5, 3)), compute_mode="use_mm_for_euclid_dist"),
    function("cdist", (normal(30, 3), normal(2, 3)), tag="many"),
    function("cdist", (normal(4, 3), normal(2, 3)), compute_mode="donot_use_mm_for_euclid_dist", row=JACREV),
]
