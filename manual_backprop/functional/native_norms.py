"""Normalizations as ATen's operators, which also return the statistics: torch builds other functions from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from .batchnorm import batch_norm

Vector = Tensor | None


@stands_for("native_layer_norm")
def _native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Vector, bias: Vector, eps: float
) -> tuple[Tensor, ...]:
    return call(rules.LayerNorm, input, tuple(normalized_shape), weight, bias, eps)


@stands_for("native_batch_norm", "_native_batch_norm_legit.default")
def _native_batch_norm(
    input: Tensor, weight: Vector, bias: Vector, running_mean: Vector, running_var: Vector, training: bool,
    momentum: float, eps: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    if training:
        return call(rules.BatchNorm, input, weight, bias, running_mean, running_var, momentum, eps)
    output = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return output, *(_none(input) if input.device.type == "cpu" else _running(input, running_mean, running_var, eps))


@stands_for("_native_batch_norm_legit.no_stats")
def _without_running(
    input: Tensor, weight: Vector, bias: Vector, training: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    return _native_batch_norm(input, weight, bias, None, None, training, momentum, eps)


@stands_for("_native_batch_norm_legit_no_training.default")
def _by_running(
    input: Tensor, weight: Vector, bias: Vector, running_mean: Tensor, running_var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    return _native_batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)


@stands_for("_batch_norm_with_update.default")
def _with_update(
    input: Tensor, weight: Vector, bias: Vector, running_mean: Tensor, running_var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """The last result is what cuDNN reserves for its backward."""
    found = call(rules.BatchNorm, input, weight, bias, running_mean, running_var, momentum, eps)
    return *found, input.new_empty(0, dtype=torch.uint8)


@stands_for("_batch_norm_no_update.default")
def _no_update(
    input: Tensor, weight: Vector, bias: Vector, running_mean: Vector, running_var: Vector, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    found = _native_batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)
    return *found, input.new_empty(0, dtype=torch.uint8)


def _none(input: Tensor) -> tuple[Tensor, Tensor]:
    return input.new_empty(0), input.new_empty(0)


def _running(input: Tensor, mean: Vector, var: Vector, eps: float) -> tuple[Tensor, Tensor]:
    """The statistics that ATen returns on a GPU."""
    return _none(input) if mean is None or var is None else (mean.clone(), (var + eps).rsqrt())
