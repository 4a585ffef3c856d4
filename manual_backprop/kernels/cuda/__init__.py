"""The formulas as Triton kernels, for tensors on a GPU; Triton is imported when the first of them comes.

`register`, which torch calls when it initializes CUDA in this process, puts a switch before the kernels for the CPU; a
process that never does pays nothing. Without Triton the formulas run in place of the kernels, and so they do for a
kernel that Triton cannot build on this machine; the logger "manual_backprop" says either once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import torch

from ... import rules
from ...engine.rule import KERNELS
from ...engine.terms import in_opmath, rounds_once, widened
from ...engine.torch_private import when_cuda_starts
from ..pointwise import BACKWARD

Function = Callable[..., Any]

SERVED: dict[str, tuple[Function, ...]] = {
    "rows": (
        rules.Softmax.delta_input,
        rules.Softmin.delta_input,
        rules.LogSoftmax.delta_input,
        rules.CrossEntropyLoss.output,
        rules.CrossEntropyLoss.delta_input,
        rules.LinearCrossEntropyLoss.losses,
        rules.LinearCrossEntropyLoss.delta_logits,
    ),
    "norms": (
        rules.LayerNorm.derivatives,
        rules.RMSNorm.normalized,
        rules.RMSNorm.invrms,
        rules.RMSNorm.derivatives,
    ),
    "residual": (
        rules.AddLayerNorm.outputs,
        rules.AddLayerNorm.normalized,
        rules.AddLayerNorm.derivatives,
        rules.AddRMSNorm.outputs,
        rules.AddRMSNorm.normalized,
        rules.AddRMSNorm.derivatives,
    ),
    "channels": (
        rules.GroupNorm.derivatives,
        rules.BatchNorm.derivatives,
        rules.BatchNorm.grad_weight,
        rules.BatchNormEval.grad_weight,
    ),
    "pooling": (rules.MaxPool.winners, rules.MaxPool.delta_input, rules.AvgPool.delta_input),
    "pointwise": (
        *BACKWARD,
        rules.LogSigmoid.delta_input,
        rules.RReLU.delta_input,
        rules.Dropout.delta_input,
    ),
    "bias_activation": (rules.BiasActivation.output, rules.BiasActivation.derivatives),
    "attention": (rules.ScaledDotProductAttention.attended, rules.ScaledDotProductAttention.deltas),
}
"""Module of this folder -> the formulas that its dict KERNELS has kernels for."""

_log = logging.getLogger("manual_backprop")


def module(name: str) -> Any:
    """A module of this folder; imports Triton."""
    return importlib.import_module(f"{__name__}.{name}")


def kernel(name: str, formula: Function) -> Function:
    """The kernel for a formula, from the module of that name."""
    found: Function = module(name).KERNELS[formula]
    return found


@functools.cache
def register() -> None:
    """From now on tensors on a GPU go to the kernels here, all others where they went before."""
    if importlib.util.find_spec("triton") is None:
        _log.warning("no Triton kernels, formulas run in their place (slower): the package triton is not installed")
        return
    for name, formulas in SERVED.items():
        for formula in formulas:
            KERNELS[formula] = switch(name, formula, KERNELS.get(formula, formula))


def switch(name: str, formula: Function, elsewhere: Function) -> Function:
    """A function that looks where its first argument lies."""
    on_gpu: Function | None = None
    widening = WIDENING.get(formula.__name__)
    if widening and not hasattr(elsewhere, "rounds_once"):
        elsewhere = functools.partial(widening, elsewhere)

    @functools.wraps(formula)
    def run(first: Any, *args: Any) -> Any:
        nonlocal on_gpu
        if on_gpu is elsewhere or not here(first) or torch.compiler.is_compiling():
            return elsewhere(first, *args)
        try:
            if on_gpu is None:
                on_gpu = kernel(name, formula)
            return on_gpu(first, *args)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler's, a driver's: whatever it is, the formula needs neither
            result = elsewhere(first, *args)  # which raises by itself if it was the arguments
            _log.warning("no Triton kernel for %s, its formula runs instead: %s", formula.__qualname__, error)
            on_gpu = elsewhere
            return result

    return rounds_once(run) if widening else run


WIDENING: dict[str, Function] = dict.fromkeys(("delta_input", "delta_input_in_place"), in_opmath)
WIDENING.update(derivatives=widened, invrms=widened)
"""How a formula takes 16 bits, by its name; its kernel reads them as they are, and its rule need not widen them."""


def here(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda


when_cuda_starts(register)
