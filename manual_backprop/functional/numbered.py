"""Losses as torch's operators, which take the reduction as a number. `mb.explicit` calls them."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from .. import functional
from ._losses import REDUCTIONS
from ._overloads import stands_for

_CTC = "ctc_loss log_probs targets input_lengths target_lengths blank reduction zero_infinity"

_OPERATORS = {
    "mse_loss": "mse_loss input target reduction",
    "l1_loss": "l1_loss input target reduction",
    "smooth_l1_loss": "smooth_l1_loss input target reduction beta",
    "huber_loss": "huber_loss input target reduction delta",
    "kl_div": "kl_div input target reduction",
    "binary_cross_entropy": "binary_cross_entropy input target weight reduction",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits input target weight pos_weight reduction",
    "nll_loss": "nll_loss input target weight reduction ignore_index",
    "nll_loss_nd": "nll_loss input target weight reduction ignore_index",
    "nll_loss2d": "nll_loss input target weight reduction ignore_index",
    "cross_entropy_loss": "cross_entropy input target weight reduction ignore_index label_smoothing",
    "hinge_embedding_loss": "hinge_embedding_loss input target margin reduction",
    "margin_ranking_loss": "margin_ranking_loss input1 input2 target margin reduction",
    "triplet_margin_loss": "triplet_margin_loss anchor positive negative margin p eps swap reduction",
    "multi_margin_loss": "multi_margin_loss input target p margin weight reduction",
    "multilabel_margin_loss": "multilabel_margin_loss input target reduction",
    "soft_margin_loss": "soft_margin_loss input target reduction",
    "cosine_embedding_loss": "cosine_embedding_loss input1 input2 target margin reduction",
    "poisson_nll_loss": "poisson_nll_loss input target log_input full eps reduction",
    "ctc_loss.IntList": _CTC,
    "ctc_loss.Tensor": _CTC,
}
"""torch's operator -> our function, and its names for the operator's arguments, in the operator's order."""


def _numbered(ours: str, names: tuple[str, ...], *args: Any, **kwargs: Any) -> Tensor:
    given = dict(zip(names, args, strict=False)) | kwargs
    reduction = REDUCTIONS[given.get("reduction", 1)]
    result: Tensor = getattr(functional, ours)(**{**given, "reduction": reduction})
    return result


for _operator, _words in _OPERATORS.items():
    _ours, *_names = _words.split()
    stands_for(_operator)(functools.partial(_numbered, _ours, tuple(_names)))
