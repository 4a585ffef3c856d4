"""Rows of Embedding."""

from ..case import index, normal
from ._make import function, layer

# both are meant to change the gradient: it is not the derivative, neither here nor in torch
WITHHELD = {
    "without": dict.fromkeys(("gradcheck", "autocast"), "padding_idx withholds the gradient of a row on purpose")
}
SCALED = {"without": dict.fromkeys(("gradcheck", "autocast"), "scale_grad_by_freq scales the gradient on purpose")}
PLACES = index(5, 3, 4)

CASES = [
    layer("Embedding", 5, 3, inputs=(PLACES,), row={"larger": (index(5, 40),)}),
    layer("Embedding", 5, 3, inputs=(index(5),), tag="scalar"),
    layer("Embedding", 5, 3, inputs=(PLACES,), padding_idx=2, row=WITHHELD),
    layer("Embedding", 5, 3, inputs=(PLACES,), padding_idx=-1, row=WITHHELD),
    layer("Embedding", 5, 3, inputs=(PLACES,), scale_grad_by_freq=True, row=SCALED),
    layer("Embedding", 5, 3, inputs=(PLACES,), scale_grad_by_freq=True, padding_idx=1, row=SCALED),
    function("embedding", (PLACES, normal(5, 3))),
    function("embedding", (PLACES, normal(5, 3)), padding_idx=0, row=WITHHELD),
]
