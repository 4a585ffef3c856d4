"""Rows of the losses that compare two tensors element by element."""

from ..case import Spec, complex_normal, constant, normal, simplex, uniform
from ._make import COMPLEX, function, layer

PAIR = (normal(4, 3), normal(4, 3))
LARGER = {"larger": (normal(64, 20), normal(64, 20))}
WEIGHT = uniform(4, 3, low=0.5, high=2.0)


def weighted(reduction: str) -> tuple[Spec, ...]:
    """(input, target, size_average, reduce, reduction, weight) of mse_loss and l1_loss."""
    return (*PAIR, constant(None), constant(None), constant(reduction), WEIGHT)


# the only special case of a probability is 0 log 0
PROBABILITIES = simplex(4, 3)
LOG_PROBABILITIES = simplex(4, 3, log=True)
DIVERGENCE = (LOG_PROBABILITIES, PROBABILITIES)
LOG_DIVERGENCE = (LOG_PROBABILITIES, LOG_PROBABILITIES)

CASES = [
    *(layer(name, inputs=PAIR, reduction=how) for name in ("MSELoss", "L1Loss") for how in ("none", "sum")),
    layer("MSELoss", inputs=PAIR, row=LARGER),
    layer("MSELoss", inputs=(normal(), normal()), tag="0d"),
    layer("L1Loss", inputs=PAIR, row=LARGER),
    function("mse_loss", PAIR),
    function("mse_loss", (normal(4, 3), normal(4, 3, grad=False)), tag="fixed-target"),
    *(function("mse_loss", weighted(how), tag=f"weight-{how}") for how in ("none", "mean", "sum")),
    function("l1_loss", PAIR),
    *(function("l1_loss", weighted(how), tag=f"weight-{how}") for how in ("none", "mean", "sum")),
    function("l1_loss", (complex_normal(4, 3), normal(4, 3)), tag="complex-and-real", row=COMPLEX),
    layer("SmoothL1Loss", inputs=PAIR, row=LARGER),
    layer("SmoothL1Loss", inputs=(normal(4, 3, kinks=(0.3, -0.3)), normal(4, 3)), beta=0.3),
    layer("SmoothL1Loss", inputs=PAIR, beta=0.0),
    layer("SmoothL1Loss", inputs=PAIR, reduction="sum", beta=2.0),
    layer("SmoothL1Loss", inputs=PAIR, reduction="none", beta=0.5),
    function("smooth_l1_loss", PAIR),
    layer("HuberLoss", inputs=PAIR, row=LARGER),
    layer("HuberLoss", inputs=PAIR, delta=0.5),
    layer("HuberLoss", inputs=PAIR, reduction="sum", delta=2.0),
    layer("HuberLoss", inputs=PAIR, reduction="none", delta=0.3),
    function("huber_loss", PAIR),
    *(
        function("huber_loss", (*PAIR, constant(how), constant(0.7), WEIGHT), tag=f"weight-{how}")
        for how in ("none", "mean", "sum")
    ),
    *(layer("KLDivLoss", inputs=DIVERGENCE, reduction=how) for how in ("none", "sum", "batchmean")),
    *(
        layer("KLDivLoss", inputs=LOG_DIVERGENCE, reduction=how, log_target=True)
        for how in ("none", "sum", "batchmean")
    ),
    layer("KLDivLoss", inputs=(normal(3), uniform(3, low=0.1)), reduction="batchmean", tag="vector"),
    layer("KLDivLoss", inputs=(normal(), uniform(low=0.1)), reduction="batchmean", tag="0d"),
    function("kl_div", (LOG_PROBABILITIES, uniform(4, 3, low=0.1, specials=(0.0, 1.0))), reduction="sum"),
    function("kl_div", (normal(4, 3), uniform(3, low=0.1)), reduction="sum", tag="broadcast-target"),
    function("kl_div", (normal(3), uniform(4, 1, low=0.1)), reduction="none", tag="broadcast-both"),
    function("kl_div", (normal(4, 3), normal(4, 3)), reduction="sum", log_target=True),
]
