"""Rows of functions that select values by their order. Indices, and which of equal values gets the delta, are as in
torch."""

import torch

from ..case import Spec, normal, uniform
from ._make import function

mixed: Spec = uniform(3, 5, low=-2.0, high=2.0, specials=(0.0, 1.0, -1.0, float("inf"), float("nan")))
cube: Spec = uniform(2, 3, 4, low=-2.0, high=2.0)

ties: Spec = Spec(lambda generator, dtype: torch.tensor([[2.0, -1.0, 2.0], [3.0, 3.0, 3.0], [1.0, 2.0, 1.0]]).to(dtype))

KINK = {
    "without": {
        check: "finite differences at ties" for check in ("gradcheck", "gradgradcheck", "forward_mode", "batched_grad")
    }
}

CASES = [
    *(
        function(name, (ties,), tag="ties", row=KINK)
        for name in ("max", "min", "median", "nanmedian", "amax", "amin", "aminmax")
    ),
    *(
        function(name, (ties,), dim=1, tag="ties", row=KINK)
        for name in ("max", "min", "median", "mode", "amax", "amin", "aminmax", "cummax", "cummin")
    ),
    *(
        row
        for name in ("max", "min", "median", "nanmedian")
        for row in (
            function(name, (mixed,)),
            function(name, (mixed,), dim=1),
            function(name, (cube,), dim=-2, keepdim=True),
            function(name, (normal(),), dim=0, tag="0d"),
        )
    ),
    function("mode", (mixed,)),
    function("mode", (cube,), dim=0, keepdim=True),
    function("kthvalue", (mixed,), k=2),
    function("kthvalue", (cube,), k=1, dim=1, keepdim=True),
    function("topk", (mixed,), k=2),
    function("topk", (cube,), k=2, dim=1, largest=False),
    function("sort", (mixed,)),
    function("sort", (cube,), dim=1, descending=True, stable=True),
    function("sort", (normal(),), tag="0d"),
    *(
        row
        for name in ("cummax", "cummin")
        for row in (
            function(name, (uniform(3, 5, low=-2.0, high=2.0, specials=(0.0, 1.0)),), dim=1),
            function(name, (cube,), dim=-3),
            function(name, (normal(),), dim=0, tag="0d"),
        )
    ),
    *(
        row
        for name in ("amax", "amin")
        for row in (
            function(name, (mixed,)),
            function(name, (cube,), dim=[0, -1]),
            function(name, (cube,), dim=1, keepdim=True),
        )
    ),
    function("aminmax", (mixed,)),
    function("aminmax", (cube,), dim=1),
    function("aminmax", (cube,), dim=0, keepdim=True),
]
