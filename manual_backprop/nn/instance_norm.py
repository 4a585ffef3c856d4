"""Normalization of each channel of each sample, and by neighbouring channels."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from .. import rules


def _instance_norm(layer: Any, input: Tensor, batched: int) -> Tensor:
    """The forward, as torch.nn's, for an input with `batched` axes, or one axis less if it is unbatched."""
    layer._check_input_dim(input)
    channels = input.size(1 - (input.dim() < batched))
    if channels != layer.num_features and layer.affine:
        raise ValueError(
            f"expected input's size at dim={1 - (input.dim() < batched)} to match num_features "
            f"({layer.num_features}), but got: {channels}."
        )
    if channels != layer.num_features:
        warnings.warn(
            f"input's size at dim={1 - (input.dim() < batched)} does not match num_features. You can silence this "
            "warning by not passing in num_features, which is not used because affine=False",
            stacklevel=3,
        )
    options = (
        layer.running_mean, layer.running_var, layer.weight, layer.bias,
        layer.training or not layer.track_running_stats, 0.0 if layer.momentum is None else layer.momentum, layer.eps,
    )  # fmt: skip
    if input.dim() < batched:
        return F.instance_norm(input.unsqueeze(0), *options).squeeze(0)
    return F.instance_norm(input, *options)


class InstanceNorm1d(torch.nn.InstanceNorm1d):
    """torch.nn.InstanceNorm1d with the explicit backward of `mb.rules.InstanceNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 3)


class InstanceNorm2d(torch.nn.InstanceNorm2d):
    """torch.nn.InstanceNorm2d with the explicit backward of `mb.rules.InstanceNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 4)


class InstanceNorm3d(torch.nn.InstanceNorm3d):
    """torch.nn.InstanceNorm3d with the explicit backward of `mb.rules.InstanceNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 5)


class LazyInstanceNorm1d(torch.nn.LazyInstanceNorm1d):
    """torch.nn.LazyInstanceNorm1d; becomes our InstanceNorm1d at the first input."""

    cls_to_become = InstanceNorm1d

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 3)


class LazyInstanceNorm2d(torch.nn.LazyInstanceNorm2d):
    """torch.nn.LazyInstanceNorm2d; becomes our InstanceNorm2d at the first input."""

    cls_to_become = InstanceNorm2d

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 4)


class LazyInstanceNorm3d(torch.nn.LazyInstanceNorm3d):
    """torch.nn.LazyInstanceNorm3d; becomes our InstanceNorm3d at the first input."""

    cls_to_become = InstanceNorm3d

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, 5)


class LocalResponseNorm(torch.nn.LocalResponseNorm):
    """torch.nn.LocalResponseNorm with the explicit backward of `mb.rules.LocalResponseNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class CrossMapLRN2d(torch.nn.CrossMapLRN2d):
    """torch.nn.CrossMapLRN2d with the explicit backward of `mb.rules.CrossMapLRN`. It is the derivative of the forward;
    torch's own backward is not."""

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        return F.call(rules.CrossMapLRN, input, self.size, self.alpha, self.beta, self.k)
