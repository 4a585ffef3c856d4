"""Softmax over very many classes, with rare classes in clusters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .. import functional as F
from .attention import of_our_parts


class AdaptiveLogSoftmax(NamedTuple):
    """output: the log-probabilities of the targets; loss: their negative mean."""

    output: Tensor
    loss: Tensor


@of_our_parts
class AdaptiveLogSoftmaxWithLoss(torch.nn.AdaptiveLogSoftmaxWithLoss):
    """torch.nn.AdaptiveLogSoftmaxWithLoss with the explicit backward of `mb.rules.CrossEntropyLoss`.

    Each cluster runs only on the samples whose targets are in it: `mb.rules.Embedding` selects these rows, and
    `index_add` adds their losses.
    """

    def forward(self, input_: Tensor, target_: Tensor) -> AdaptiveLogSoftmax:  # type: ignore[override]
        """Raises RuntimeError, as torch does, for targets that are not classes and for shapes that do not fit."""
        if target_.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.dim() != target_.dim() + 1 or input_.shape[:-1] != target_.shape:
            raise RuntimeError(
                f"{target_.dim()}D target tensor expects {target_.dim() + 1}D input tensors of the same batch size, "
                f"but found inputs with size {input_.size()} and targets with size {target_.size()}"
            )
        input, target = F.reshape(input_, (-1, input_.shape[-1])), target_.reshape(-1)
        least, most = map(int, target.aminmax()) if len(target) else (0, 0)
        if not 0 <= least <= most < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{least}, {most}] were found. "
            )
        chosen, inside = target.clone(), []
        for i, cluster in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if len(rows):
                chosen.index_fill_(0, rows, self.shortlist_size + i)
                logits = cluster(F.embedding(rows, input))
                inside.append((rows, F.cross_entropy(logits, target[rows] - low, reduction="none")))
        loss = F.cross_entropy(self.head(input), chosen, reduction="none")
        for rows, losses in inside:  # none for targets that the head alone decides
            loss = F.index_add(loss, 0, rows, losses)
        return AdaptiveLogSoftmax(F.reshape(F.mul(loss, -1), target_.shape), F.mean(loss))

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            first = self.shortlist_size + i
            parts.append(F.add(F.log_softmax(cluster(input), 1), head[:, first : first + 1]))
        return F.cat(parts, 1)
