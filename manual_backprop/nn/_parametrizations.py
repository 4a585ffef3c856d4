"""The parametrizations of torch.nn.utils.parametrizations, with explicit backwards.

`convert` replaces torch's parametrizations of a module with these, and `revert` puts torch's back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from ..engine.torch_private import (
    orthogonal_parametrization,
    spectral_norm_parametrization,
    weight_norm_parametrization,
)
from ..explicit import explicit


def _weight_norm(self: Any, weight_g: Tensor, weight_v: Tensor) -> Tensor:
    return F.weight_norm(weight_v, weight_g, self.dim)


def _spectral_norm(self: Any, weight: Tensor) -> Tensor:
    if weight.dim() == 1:
        return F.normalize(weight, dim=0, eps=self.eps)
    matrix = self._reshape_weight_to_matrix(weight)
    if self.training:
        self._power_method(matrix, self.n_power_iterations)
    u, v = (vector.clone(memory_format=torch.contiguous_format) for vector in (self._u, self._v))
    return F.div(weight, F.matmul(u.conj(), F.matmul(matrix, v)))


def _orthogonal(self: Any, *args: Tensor) -> Tensor:
    with explicit():  # runs torch's forward (matrix exponential, linear solve or Householder product) on rules
        result: Tensor = orthogonal_parametrization.forward(self, *args)
    return result


_FORWARDS = (
    (weight_norm_parametrization, _weight_norm),
    (spectral_norm_parametrization, _spectral_norm),
    (orthogonal_parametrization, _orthogonal),
)

PARAMETRIZATIONS: dict[str, type] = {}
"""Name of torch's class -> our class of the same name; `convert` looks here."""

for _twin, _forward in _FORWARDS:
    if _twin is not None:
        _members = {"forward": _forward, "__module__": __name__, "__doc__": f"torch's {_twin.__name__}, on rules."}
        PARAMETRIZATIONS[_twin.__name__] = type(_twin.__name__, (_twin,), _members)

globals().update(PARAMETRIZATIONS)  # so that pickle finds them
