"""Connectionist temporal classification."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class CTCLoss(torch.nn.CTCLoss):
    """torch.nn.CTCLoss with the explicit backward of `mb.rules.CTCLoss`."""

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
