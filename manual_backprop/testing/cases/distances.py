"""Rows of the distances between all pairs of points."""

import torch

from ..case import Spec, normal
from ._make import function

INF = float("inf")
JACREV = {"without": {"transforms: jacrev": "torch's result is wrong: it differs from torch's own backward"}}
NO_DERIVATIVE = {
    "without": dict.fromkeys(
        ("gradcheck", "gradgradcheck", "batched_grad", "forward_mode", "transforms"), "two points are the same"
    )
}


def on_a_grid(*shape: int) -> Spec:
    """Points with integer coordinates; some are equal, and others differ in only one coordinate."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
        return torch.randint(3, shape, generator=generator).to(dtype)

    return Spec(make)


CASES = [
    function("cdist", (normal(4, 3), normal(5, 3)), row=JACREV),
    *(function("cdist", (normal(4, 3), normal(2, 5, 3)), p=p, row=JACREV) for p in (0.0, 0.5, 1.0, 1.5, 3.0, INF)),
    function("cdist", (normal(2, 1, 4, 3), normal(3, 5, 3)), tag="broadcast", row=JACREV),
    function("cdist", (normal(4, 3), normal(2, 5, 3)), compute_mode="use_mm_for_euclid_dist"),
    function("cdist", (normal(2, 4, 3), normal(5, 3)), compute_mode="use_mm_for_euclid_dist", tag="broadcast"),
    function(
        "cdist",
        (on_a_grid(6, 2), on_a_grid(5, 2)),
        compute_mode="use_mm_for_euclid_dist",
        tag="same",
        row=NO_DERIVATIVE,
    ),
    *(
        function("cdist", (on_a_grid(6, 2), on_a_grid(5, 2)), p=p, tag="same", row=NO_DERIVATIVE)
        for p in (0.5, 1.0, 2.0, 3.0, INF)
    ),
    function("cdist", (normal(30, 3), normal(2, 3)), tag="many"),
    function("cdist", (normal(4, 3), normal(2, 3)), compute_mode="donot_use_mm_for_euclid_dist", row=JACREV),
]
