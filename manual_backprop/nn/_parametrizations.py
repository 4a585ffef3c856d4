"""What torch.nn.utils.parametrizations puts in front of a weight, with explicit backwards: `convert` gives a
parametrized module these in place of torch's, and `revert` torch's again."""

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
    with explicit():  # exponentials of matrices, solutions of systems, or reflections, by their operators
        result: Tensor = orthogonal_parametrization.forward(self, *args)
    return result


_FORWARDS = (
    (weight_norm_parametrization, _weight_norm),
    (spectral_norm_parametrization, _spectral_norm),
    (orthogonal_parametrization, _orthogonal),
)

PARAMETRIZATIONS: dict[str, type] = {}
"""By the name of torch's class, which ours has too, so that `convert` finds it."""

for _twin, _forward in _FORWARDS:
    if _twin is not None:
        _members = {"forward": _forward, "__module__": __name__, "__doc__": f"{_twin.__name__} of torch's, on rules."}
        PARAMETRIZATIONS[_twin.__name__] = type(_twin.__name__, (_twin,), _members)

globals().update(PARAMETRIZATIONS)  # by which pickle finds them
