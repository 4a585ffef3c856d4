"""Negative log-likelihoods."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import functional as F


class GaussianNLLLoss(torch.nn.GaussianNLLLoss):
    """torch.nn.GaussianNLLLoss with the explicit backward of `mb.rules.GaussianNLLLoss`."""

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(torch.nn.PoissonNLLLoss):
    """torch.nn.PoissonNLLLoss with the explicit backward of `mb.rules.PoissonNLLLoss`."""

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class MultiLabelSoftMarginLoss(torch.nn.MultiLabelSoftMarginLoss):
    """torch.nn.MultiLabelSoftMarginLoss with the explicit backward of `mb.rules.MultiLabelSoftMarginLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


with warnings.catch_warnings():  # subclassing torch's deprecated class warns
    warnings.simplefilter("ignore", FutureWarning)

    class NLLLoss2d(torch.nn.NLLLoss2d):
        """torch.nn.NLLLoss2d, deprecated for NLLLoss, with the explicit backward of `mb.rules.NLLLoss`."""

        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)
