"""Normalization of each channel over a batch: BatchNorm1d/2d/3d, and their lazy forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import functional as F


def _batch_norm(layer: Any, input: Tensor) -> Tensor:
    """The forward, as torch.nn's: count the batch, choose the statistics, normalize."""
    layer._check_input_dim(input)
    running, factor = _running(layer)
    of_the_batch = layer.training or (layer.running_mean is None and layer.running_var is None)
    return F.batch_norm(input, *running, layer.weight, layer.bias, of_the_batch, factor, layer.eps)


def _running(layer: Any) -> tuple[tuple[Tensor | None, Tensor | None], float]:
    """The running statistics to use, and the momentum of their update; counts this batch first."""
    factor = 0.0 if layer.momentum is None else layer.momentum
    if layer.training and layer.track_running_stats and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if layer.momentum is None:  # cumulative average over all batches so far
            factor = 1.0 / float(layer.num_batches_tracked)
    if layer.training and not layer.track_running_stats:
        return (None, None), factor
    return (layer.running_mean, layer.running_var), factor


class BatchNorm1d(torch.nn.BatchNorm1d):
    """torch.nn.BatchNorm1d with the explicit backward of `mb.rules.BatchNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)


class BatchNorm2d(torch.nn.BatchNorm2d):
    """torch.nn.BatchNorm2d with the explicit backward of `mb.rules.BatchNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)


class BatchNorm3d(torch.nn.BatchNorm3d):
    """torch.nn.BatchNorm3d with the explicit backward of `mb.rules.BatchNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)


class LazyBatchNorm1d(torch.nn.LazyBatchNorm1d):
    """torch.nn.LazyBatchNorm1d; becomes our BatchNorm1d at the first input."""

    cls_to_become = BatchNorm1d

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)


class LazyBatchNorm2d(torch.nn.LazyBatchNorm2d):
    """torch.nn.LazyBatchNorm2d; becomes our BatchNorm2d at the first input."""

    cls_to_become = BatchNorm2d

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)


class LazyBatchNorm3d(torch.nn.LazyBatchNorm3d):
    """torch.nn.LazyBatchNorm3d; becomes our BatchNorm3d at the first input."""

    cls_to_become = BatchNorm3d

    def forward(self, input: Tensor) -> Tensor:
        return _batch_norm(self, input)
