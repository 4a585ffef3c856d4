"""Normalization of each channel over the batches of several processes."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from .. import functional as F
from .. import rules
from .batchnorm import _batch_norm, _running


class SyncBatchNorm(torch.nn.SyncBatchNorm):
    """torch.nn.SyncBatchNorm with the explicit backward of `mb.rules.SyncBatchNorm`. It also runs several processes on
    the CPU, which torch's refuses. In one process, and in evaluation, the backward is that of `mb.rules.BatchNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        group = (self.process_group or torch.distributed.group.WORLD) if distributed and self.training else None
        if group is None or torch.distributed.get_world_size(group) == 1:
            return _batch_norm(self, input)
        running, factor = _running(self)
        return F.call(rules.SyncBatchNorm, input, self.weight, self.bias, *running, factor, self.eps, group)[0]
