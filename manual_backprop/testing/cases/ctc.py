"""Rows of connectionist temporal classification."""

import torch
import torch.nn.functional as theirs

import manual_backprop as mb

from ..case import Case, Spec, constant, simplex, uniform
from ._make import function, layer

FRAMES = simplex(6, 3, 5, dim=2, log=True)
TARGETS = constant(torch.tensor([[1, 2, 2], [3, 1, 0], [4, 4, 1]]))
LENGTHS = (constant(torch.tensor([6, 4, 5])), constant(torch.tensor([3, 1, 3])))
JOINED = (constant(torch.tensor([1, 2, 3, 3, 4])), constant(torch.tensor([6, 4, 5])), constant(torch.tensor([3, 1, 1])))
SHORT = (TARGETS, constant(torch.tensor([6, 1, 5])), constant(torch.tensor([3, 1, 0])))
NOTHING = (constant(torch.empty(0, dtype=torch.long)), constant([6, 4, 5]), constant([0, 0, 0]))
PADDED = (TARGETS, *LENGTHS)
TOO_LONG = (TARGETS, constant((6, 2, 3)), constant((3, 1, 3)))
ONE = (constant(torch.tensor([1, 3])), constant(torch.tensor(5)), constant(torch.tensor(2)))
NONE = (TARGETS, constant([6, 4, 5]), constant([0, 2, 0]))
E_X = "torch adds a term e^x, so that the gradient is right only after a log_softmax: see the row of-logits"
CONVENTION = {"without": dict.fromkeys(("gradcheck", "batched_grad", "forward_mode"), E_X)}
IMPOSSIBLE = {"without": {**CONVENTION["without"], "transforms": "the twin raises an internal error"}}


def of_logits(space: object) -> object:
    """The loss after a log_softmax, for which torch's convention gives the true derivative."""

    def run(logits: torch.Tensor, *rest: object, reduction: str = "none") -> torch.Tensor:
        log_probs = space.log_softmax(logits, 2)  # type: ignore[attr-defined]
        return space.ctc_loss(log_probs, *rest, reduction=reduction)  # type: ignore[attr-defined]

    return run


def composed(tag: str, *rest: Spec) -> Case:
    return Case(
        f"ctc_loss-of-logits{tag}",
        lambda: of_logits(mb.functional),
        lambda: of_logits(theirs),
        (uniform(6, 3, 5, low=-3.0, high=3.0), *rest),
    )


CASES = [
    *(layer("CTCLoss", inputs=(FRAMES, *PADDED), reduction=how, row=CONVENTION) for how in ("mean", "none", "sum")),
    layer("CTCLoss", inputs=(FRAMES, *JOINED), tag="joined", row=CONVENTION),
    layer(
        "CTCLoss",
        inputs=(FRAMES, constant(torch.tensor([[1, 3, 3], [3, 1, 0], [4, 4, 1]])), *LENGTHS),
        blank=2,
        reduction="none",
        row=CONVENTION,
    ),
    layer("CTCLoss", inputs=(FRAMES, *TOO_LONG), zero_infinity=True, row=IMPOSSIBLE),
    function("ctc_loss", (FRAMES, *NONE), reduction="none", tag="no-labels", row=CONVENTION),
    function("ctc_loss", (simplex(6, 5, log=True), *ONE), reduction="none", tag="unbatched", row=CONVENTION),
    function("ctc_loss", (FRAMES, *NOTHING), reduction="none", tag="nothing", row=CONVENTION),
    function("ctc_loss", (simplex(6, 5, log=True), *ONE), tag="unbatched-mean", row=CONVENTION),
    function(
        "ctc_loss",
        (simplex(6, 2, 5, dim=2, log=True), constant(torch.tensor([[1, 2, 2], [3, 1, 4]])),
         constant(torch.tensor([6, 5])), constant(torch.tensor([3, 3]))),
        reduction="none", tag="two", row=CONVENTION,
    ),
    composed("", *PADDED),
    composed("-short", *SHORT),
]  # fmt: skip
