"""Dropout of elements or of whole channels."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Dropout(torch.nn.Dropout):
    """torch.nn.Dropout with the explicit backward of `mb.rules.Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(torch.nn.Dropout1d):
    """torch.nn.Dropout1d with the explicit backward of `mb.rules.Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(torch.nn.Dropout2d):
    """torch.nn.Dropout2d with the explicit backward of `mb.rules.Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(torch.nn.Dropout3d):
    """torch.nn.Dropout3d with the explicit backward of `mb.rules.Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(torch.nn.AlphaDropout):
    """torch.nn.AlphaDropout with the explicit backward of `mb.rules.AlphaDropout`; like torch's, never in place."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(torch.nn.FeatureAlphaDropout):
    """torch.nn.FeatureAlphaDropout with the explicit backward of `mb.rules.AlphaDropout`; never in place either."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
