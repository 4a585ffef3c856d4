"""Rows of changes of shape."""

from ..case import constant, normal
from ._make import function, layer

IDENTITY = {
    "without": {
        name: "Identity returns its input itself: there is no rule to check" for name in ("explicit", "deltas", "twice")
    }
}

CASES = [
    layer("Identity", inputs=(normal(3, 4),)),
    layer("Identity", 54, inputs=(normal(3, 4),), unused=1),
    layer("Flatten", inputs=(normal(2, 3, 2, 2),), row={"larger": (normal(16, 8, 4, 4),)}),
    layer("Flatten", inputs=(normal(3, 4),), tag="nothing-to-do"),
    layer("Flatten", 0, inputs=(normal(),), tag="0d"),
    layer("Flatten", 0, 1, inputs=(normal(2, 3, 4),)),
    layer("Flatten", inputs=(normal(2, 3, 4),), start_dim=-2),
    layer("Unflatten", 1, (2, 3), inputs=(normal(4, 6),)),
    layer("Unflatten", -1, [3, -1], inputs=(normal(4, 6),)),
    function("reshape", (normal(4, 6), constant((3, -1)))),
    function("reshape", (normal(), constant((1, 1))), tag="0d"),
    function("flatten", (normal(2, 3, 2),)),
    function("flatten", (normal(2, 3, 2, 1),), start_dim=1, end_dim=2),
    function("permute", (normal(2, 3, 4), constant((2, 0, -2)))),
    function("permute", (normal(), constant(())), tag="0d"),
    function("transpose", (normal(2, 3, 4), constant(0), constant(-1))),
    function("unflatten", (normal(2, 6, 2), constant(1), constant((3, -1)))),
]
