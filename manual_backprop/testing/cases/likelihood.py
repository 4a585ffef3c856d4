"""Rows of negative log-likelihoods."""

from functools import partial

import torch

import manual_backprop as mb

from ..case import INFINITE, Case, Spec, constant, index, normal, simplex, uniform
from ._make import function, layer

POSITIVE = uniform(4, 3, low=0.2, high=2.0, specials=(0.0, 1e-7, 1.0, 1000.0))
GAUSSIAN = (normal(4, 3), normal(4, 3), POSITIVE)
COUNTS = uniform(4, 3, low=0.3, high=5.0, specials=(0.0, 1.0, 100.0))
ABOVE_ZERO = uniform(4, 3, low=0.3, high=5.0, specials=(1e-3, 1.0, 100.0))  # torch's gradient of y log y is NaN at 0
POISSON = (normal(4, 3), COUNTS)
RATES = (POSITIVE, ABOVE_ZERO)
LABELS = (
    uniform(4, 3, low=-5.0, high=5.0, specials=(0.0, 1.0, 20.0, -20.0, 1000.0, -1000.0, *INFINITE)),
    uniform(4, 3, specials=(0.0, 1.0)),
)
BRANCH = {"transforms: vmap(grad)": "the twin tests for a negative var, which vmap refuses"}
CHECKED = {"without": BRANCH}
CLAMPED = {
    "without": {
        **BRANCH,
        **dict.fromkeys(
            ("gradcheck", "gradgradcheck", "forward_mode", "batched_grad"),
            "as in torch, the derivative of max(var, eps) is taken as 1, even below eps",
        ),
        "transforms: hessian": "the twin takes it as 1 in reverse mode and as 0 in forward mode",
    }
}


def weighted(weight: Spec) -> tuple[Spec, ...]:
    return (*LABELS, weight)


NLL_LOSS_2D = Case(
    "NLLLoss2d",
    partial(mb.nn.NLLLoss2d, reduction="sum"),
    partial(torch.nn.NLLLoss, reduction="sum"),  # torch's NLLLoss2d is a deprecated name of NLLLoss
    (simplex(2, 3, 2, 2, log=True), index(3, 2, 2, 2)),
    without={"module": "its name is not the twin's"},
)

CASES = [
    NLL_LOSS_2D,
    *(layer("GaussianNLLLoss", inputs=GAUSSIAN, reduction=how, row=CHECKED) for how in ("mean", "none", "sum")),
    layer("GaussianNLLLoss", inputs=GAUSSIAN, full=True, row=CHECKED),
    layer(
        "GaussianNLLLoss",
        inputs=(normal(4, 3), normal(4, 3), uniform(4, low=0.2)),
        full=True,
        tag="short-var",
        row=CHECKED,
    ),
    function(
        "gaussian_nll_loss",
        (normal(4, 3), normal(4, 3), uniform(4, 1, low=0.2)),
        reduction="none",
        tag="narrow",
        row=CHECKED,
    ),
    function(
        "gaussian_nll_loss", (normal(4, 3), normal(3), uniform(4, 3, low=0.2)), tag="broadcast-target", row=CHECKED
    ),
    function("gaussian_nll_loss", (normal(4, 3), normal(4, 3), constant(0.7)), tag="number"),
    function("gaussian_nll_loss", (normal(4, 3), normal(4, 3), uniform(4, 3, high=0.4)), eps=0.5, row=CLAMPED),
    *(layer("PoissonNLLLoss", inputs=POISSON, reduction=how) for how in ("mean", "none", "sum")),
    layer("PoissonNLLLoss", inputs=(normal(4, 3), ABOVE_ZERO), full=True),
    layer("PoissonNLLLoss", inputs=RATES, log_input=False, full=True, reduction="none"),
    layer("PoissonNLLLoss", inputs=RATES, log_input=False, eps=0.1),
    function("poisson_nll_loss", (normal(4, 3), uniform(3, low=0.3, high=5.0)), full=True, tag="broadcast"),
    *(layer("MultiLabelSoftMarginLoss", inputs=LABELS, reduction=how) for how in ("mean", "none", "sum")),
    function("multilabel_soft_margin_loss", weighted(uniform(3, low=0.5)), tag="weight"),
    function("multilabel_soft_margin_loss", weighted(uniform(4, 1, low=0.5)), reduction="none", tag="row-weight"),
    function("multilabel_soft_margin_loss", (uniform(3, low=-5.0), uniform(3)), tag="vector"),
]
