"""Triton kernels for tensors on a GPU. Triton is imported at the first call with such a tensor.

The kernels are taken into use when torch initializes CUDA in this process; a process that never does pays nothing.
Without Triton the formulas run in their place. If Triton cannot build a kernel on this machine, its formula runs. The
logger "manual_backprop" warns once in each case.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ... import rules
from ...engine.torch_private import when_cuda_starts
from .. import registry
from ..pointwise import BACKWARD

Function = Callable[..., Any]

FLOATS = "float32, bfloat16, float16"
ROWS = f"{FLOATS}; rows of at most 2^14 elements"
PLANES = f"{FLOATS}; (N, C, H, W), dense, channels first or last, at most 2^31 elements"
LABELS = f"{FLOATS}; logits contiguous"
SOFTMAX = f"{FLOATS}; output contiguous, along the last axis"
CHANNELS = f"{FLOATS}; dense, channels first or last"
LOOPS = f"{FLOATS} of one dtype and shape"
HEADS = f"{FLOATS} of one dtype; at most 256 features a head"

SERVED: dict[str, Mapping[Function, tuple[str, str]]] = {
    "rows": {
        rules.Softmax.delta_input: ("softmax_delta_input", SOFTMAX),
        rules.Softmin.delta_input: ("softmin_delta_input", SOFTMAX),
        rules.LogSoftmax.delta_input: ("log_softmax_delta_input", SOFTMAX),
        rules.CrossEntropyLoss.output: ("cross_entropy_output", f"{FLOATS}; with label smoothing"),
        rules.CrossEntropyLoss.delta_input: ("cross_entropy_delta_input", LABELS),
        rules.LinearCrossEntropyLoss.losses: ("losses", LABELS),
        rules.LinearCrossEntropyLoss.delta_logits: ("delta_logits", LABELS),
    },
    "norms": {
        rules.LayerNorm.derivatives: ("layer_norm_derivatives", f"{ROWS}; delta_input or grad_weight is needed"),
        rules.RMSNorm.normalized: ("rms_norm_normalized", FLOATS),
        rules.RMSNorm.invrms: ("rms_norm_invrms", FLOATS),
        rules.RMSNorm.derivatives: ("rms_norm_derivatives", ROWS),
    },
    "residual": {
        rules.AddLayerNorm.outputs: ("layer_norm_outputs", f"{ROWS}; both of one shape; else adds first"),
        rules.AddLayerNorm.normalized: ("layer_norm_normalized", ROWS),
        rules.AddLayerNorm.derivatives: ("layer_norm_derivatives", f"{ROWS}; a delta or grad_weight is needed"),
        rules.AddRMSNorm.outputs: ("rms_norm_outputs", f"{ROWS}; both of one shape; else adds first"),
        rules.AddRMSNorm.normalized: ("rms_norm_normalized", ROWS),
        rules.AddRMSNorm.derivatives: ("rms_norm_derivatives", ROWS),
    },
    "channels": {
        rules.GroupNorm.derivatives: ("group_norm_derivatives", f"{FLOATS}; contiguous"),
        rules.BatchNorm.derivatives: ("batch_norm_derivatives", f"{CHANNELS}; delta_input is needed"),
        rules.BatchNorm.grad_weight: ("batch_norm_grad_weight", CHANNELS),
        rules.BatchNormEval.grad_weight: ("batch_norm_grad_weight", CHANNELS),
    },
    "pooling": {
        rules.MaxPool.winners: ("max_pool_winners", f"{PLANES}; windows of at most 2^8 elements"),
        rules.MaxPool.delta_input: ("max_pool_delta_input", f"{PLANES}; not with deterministic algorithms"),
        rules.AvgPool.delta_input: ("avg_pool_delta_input", PLANES),
    },
    "pointwise": {
        **dict.fromkeys((*BACKWARD, rules.LogSigmoid.delta_input, rules.RReLU.delta_input), ("kernel", LOOPS)),
        rules.Dropout.delta_input: ("dropout_delta_input", f"{LOOPS}; a mask of each element"),
    },
    "bias_activation": {
        rules.BiasActivation.output: ("output", f"{ROWS} of one dtype; else ATen"),
        rules.BiasActivation.derivatives: ("derivatives", f"{ROWS} of one dtype"),
    },
    "attention": {
        rules.ScaledDotProductAttention.attended: ("attended", HEADS),
        rules.ScaledDotProductAttention.deltas: ("deltas", f"{HEADS}; not the delta of a mask"),
    },
}
"""Module of this folder -> formula -> the name of its kernel there, and what that serves. The name `kernel` means: a
kernel printed from the formula."""

UPCAST = ("delta_input", "delta_input_in_place", "derivatives", "invrms", "by_erf", "by_tanh")
"""Formulas whose 16-bit arguments the caller upcasts to float32. Their kernels read 16 bits themselves."""

_log = logging.getLogger("manual_backprop")


def module(name: str) -> Any:
    """A module of this folder; imports Triton."""
    return importlib.import_module(f"{__name__}.{name}")


@functools.cache
def kernel(name: str, formula: Function) -> Function:
    """The kernel for a formula, from the module of that name."""
    function = SERVED[name][formula][0]
    found: Function = getattr(module(name), function)
    return found(formula) if function == "kernel" else found


@functools.cache
def register() -> None:
    """Take these kernels into use for tensors on a GPU. Other tensors are served as before."""
    if importlib.util.find_spec("triton") is None:
        _log.warning("no Triton kernels, formulas run in their place (slower): the package triton is not installed")
        return
    registry.activate("cuda")


def guarded(run: Function, otherwise: Function, formula: Function) -> Function:
    """A kernel for tensors on a GPU, which falls back to `otherwise`. One that fails is not tried again."""
    broken = False

    def first(*args: Any) -> Any:
        nonlocal broken
        if broken or not here(args[0]) or torch.compiler.is_compiling():
            return otherwise(*args)
        try:
            found = run(*args)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the compiler or the driver, of whatever type: the formula needs neither
            result = otherwise(*args)  # raises by itself if the arguments are wrong
            _log.warning("no Triton kernel for %s, its formula runs instead: %s", formula.__qualname__, error)
            broken = True
            return result
        return otherwise(*args) if found is NotImplemented else found

    return first


def here(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda


def _found_when_asked(name: str, formula: Function) -> Function:
    return lambda *args: kernel(name, formula)(*args)


for _name, _formulas in SERVED.items():
    for _formula, (_function, _when) in _formulas.items():
        registry.serves(
            _formula, on="cuda", when=_when, name=f"cuda.{_name}.{_function}",
            upcasts=_formula.__name__ in UPCAST and _formula is not rules.Dropout.delta_input,
            guarded=functools.partial(guarded, formula=_formula),
        )(_found_when_asked(_name, _formula))  # fmt: skip

when_cuda_starts(register)
