"""What an older torch, which is the measure of the rows, does otherwise than the newest."""

from __future__ import annotations

import pytest
import torch

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
PICKLES_GRAPHS = RELEASE > (2, 9)
"""Whether torch.fx can pickle a graph with a function whose annotations are strings."""
SUMS = "its attention adds in another order: equal to rounding, not to the last bit"
KINKS = "its derivatives at kinks, ties or NaN differ; rules follow the newest"
ROWS = {
    **dict.fromkeys(
        (
            "clamp-bounds-in-reverse",
            "clamp-max=0.5",
            "clamp-min=-0.5-max=0.5",
            "clamp-min=0.5",
            "clamp-one-bound",
            "clamp-tensor-max",
            "clamp-tensor-min",
            "clamp-tensors",
            "clamp-ties",
            "clamp-ties-of-min",
            "clamp-ties-with-max",
            "clamp_max",
            "clamp_max-broadcast",
            "clamp_max-number",
            "clamp_max-ties",
            "clamp_max-ties-of-the-other",
            "clamp_min",
            "clamp_min-broadcast",
            "clamp_min-number",
            "clamp_min-ties",
            "clamp_min-ties-of-the-other",
            "fmax",
            "fmax-broadcast",
            "fmax-ties",
            "fmax-ties-of-the-other",
            "fmin",
            "fmin-broadcast",
            "fmin-ties",
            "fmin-ties-of-the-other",
            "HingeEmbeddingLoss-reduction=mean",
            "HingeEmbeddingLoss-reduction=none",
            "HingeEmbeddingLoss-reduction=sum",
            "hinge_embedding_loss-broadcast",
            "hinge_embedding_loss-neither",
            "margin_ranking_loss-margin=1.0",
            "triplet_margin_loss-eps=0.0-kept",
            "CosineEmbeddingLoss-reduction=mean",
            "CosineEmbeddingLoss-reduction=none",
            "CosineEmbeddingLoss-reduction=sum",
            "normalize-dim=0-eps=2.0",
            "normalize-eps=5.0-kink",
        ),
        ((2, 9), KINKS),
    ),
    **dict.fromkeys(
        (
            "linalg_solve",
            "linalg_solve-vectors",
            "linalg_solve-vector",
            "linalg_solve-broadcast",
            "linalg_solve-left=False",
        ),
        ((2, 9), "its linalg.solve rounds otherwise: equal to rounding, not to the last bit"),
    ),
    **dict.fromkeys(
        ("lp_pool1d-norm_type=inf-kernel_size=2", "lp_pool1d-norm_type=-inf-kernel_size=2"),
        ((2, 9), "its pools with an infinite norm are 1 everywhere"),
    ),
    **dict.fromkeys(
        (
            "aminmax",
            "aminmax-ties",
            "aminmax-dim=1",
            "aminmax-dim=1-ties",
            "aminmax-dim=0-keepdim=True",
            "nextafter",
            "nextafter-ties",
            "nextafter-broadcast",
        ),
        ((2, 9), "it has no derivative"),
    ),
    **dict.fromkeys(("rnn_tanh_cell", "rnn_relu_cell"), ((2, 9), "without rows it takes states of any number of rows")),
    **dict.fromkeys(
        ("EmbeddingBag-5-3-mode=sum-scale_grad_by_freq=True", "EmbeddingBag-5-3-mode=mean-scale_grad_by_freq=True"),
        ((2, 9), "its gradient divides by the count of another index"),
    ),
    **dict.fromkeys(("ldexp-integers", "ldexp-broadcast"), ((2, 9), "its ldexp keeps less")),
    "clamp-broadcast": ((2, 9), "its backward for a broadcast bound fails"),
    "cumprod-dim=0-dtype=torch.float64": ((2, 9), "its backward with a zero and another dtype fails"),
    "interpolate-size=(2,9)-mode=lanczos-antialias=True": ((2, 13), "it has no mode lanczos"),
    "multi_head_attention_forward-self": ((2, 9), "torch.compile fails on it"),
    "multilabel_margin_loss-kept": ((2, 9), "torch.compile computes another value"),
    "scaled_dot_product_attention-one-batch-axis": ((2, 11), SUMS),
    "MultiheadAttention-4-2-batch_first=True": ((2, 9), SUMS),
    "MultiheadAttention-4-2-batch_first=True-no-weights": ((2, 9), SUMS),
    "group_norm-bias-only": ((2, 11), "its group_norm with a bias and no weight has no backward"),
}
"""Row -> (the last release seen to do so, what it does)."""


def marks(row: str) -> list[pytest.MarkDecorator]:
    """The reason to skip a row on this torch, if there is one."""
    last, reason = ROWS.get(row, ((0, 0), ""))
    return [pytest.mark.skip(reason=f"torch {torch.__version__}: {reason}")] if last >= RELEASE else []
