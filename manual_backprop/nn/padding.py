"""Padding: a border of one value, of mirrored or repeated elements, or circular."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class ConstantPad1d(torch.nn.ConstantPad1d):
    """torch.nn.ConstantPad1d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ConstantPad2d(torch.nn.ConstantPad2d):
    """torch.nn.ConstantPad2d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ConstantPad3d(torch.nn.ConstantPad3d):
    """torch.nn.ConstantPad3d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ZeroPad1d(torch.nn.ZeroPad1d):
    """torch.nn.ZeroPad1d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ZeroPad2d(torch.nn.ZeroPad2d):
    """torch.nn.ZeroPad2d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ZeroPad3d(torch.nn.ZeroPad3d):
    """torch.nn.ZeroPad3d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)


class ReflectionPad1d(torch.nn.ReflectionPad1d):
    """torch.nn.ReflectionPad1d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "reflect")


class ReflectionPad2d(torch.nn.ReflectionPad2d):
    """torch.nn.ReflectionPad2d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "reflect")


class ReflectionPad3d(torch.nn.ReflectionPad3d):
    """torch.nn.ReflectionPad3d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "reflect")


class ReplicationPad1d(torch.nn.ReplicationPad1d):
    """torch.nn.ReplicationPad1d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "replicate")


class ReplicationPad2d(torch.nn.ReplicationPad2d):
    """torch.nn.ReplicationPad2d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "replicate")


class ReplicationPad3d(torch.nn.ReplicationPad3d):
    """torch.nn.ReplicationPad3d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "replicate")


class CircularPad1d(torch.nn.CircularPad1d):
    """torch.nn.CircularPad1d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return F.pad(input, self.padding, "circular")


class CircularPad2d(torch.nn.CircularPad2d):
    """torch.nn.CircularPad2d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return F.pad(input, self.padding, "circular")


class CircularPad3d(torch.nn.CircularPad3d):
    """torch.nn.CircularPad3d with the explicit backward of `mb.rules.Pad`."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return F.pad(input, self.padding, "circular")
