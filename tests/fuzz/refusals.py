"""Errors on one side that count as no failure. Both tables are as short as can be."""

from __future__ import annotations

import re

from .modes import TRANSFORM, Modes

KNOWN: tuple[tuple[str, str], ...] = (
    ("has derivative zero everywhere and no rule", "div with a rounding mode: no gradient would ever flow"),
    ("create_graph=True needs the exact saved tensors", "their second derivatives would lack what rounding has cut"),
    ("index 0 out of range for tensor of size [0", "torch.vmap over no samples, of what it runs sample by sample"),
    ("more than one element of the written-to tensor", "torch refuses this, too, but forgets to in threshold_"),
)
"""What this library refuses knowingly where torch runs: part of the message, and the reason."""

HOLDS_ITS_INPUT = {
    "tanhshrink": "torch holds tanh(x), from which its output could not be recomputed",
    "instancenorm": "of an input that is not contiguous torch makes and holds a copy; else it raises, too",
    "rmsnorm": "of an input of 16 bits torch makes and holds a copy in float32; else it raises, too",
}
"""What saves its input where torch saves a tensor that it makes of it. So the input may be overwritten before torch's
backward but not before ours. Holding what torch holds would take more memory."""

TORCH_CANNOT = (
    "not implemented",
    "not been implemented",
    "we do not yet support",
    "that does not support it",
    "already unpacked once",
    "different metadata than during the forward pass",
    "backward through the graph a second time",
    "of CheckpointFunction is a view",
    "of BackwardHookFunction is a view",
    "Can't detach views in-place",
    "has been detached in-place",
    "Expected grad_output to have non-zero size",
    "Setting a forward grad that itself has a forward gradient",
    "Inference tensors cannot be saved for backward",
    "Cannot ask for different inplace randomness",
    "select(): index 0 out of range for tensor of size [0]",
    "cannot reshape tensor of 0 elements",
    "backward calculation is triggered with a negative slope",
    "Expected a proper Tensor but got None",
    "division by zero",  # means of no losses under jacrev
    "Found dtype",  # the backward of huber_loss, where input and target have two
)
"""Where torch has no derivative, fails in making one, or saves what it cannot, this library may do it: nothing to
compare."""


OVERWRITTEN = re.compile("modified by an inplace operation|base has been modified inplace")
"""Said of what a backward needs. The second comes of a view of several, which torch's node has saved."""


def known_refusal(error: Exception, program: str) -> bool:
    if OVERWRITTEN.search(str(error)) and any(name in program.lower().replace("_", "") for name in HOLDS_ITS_INPUT):
        return True
    return any(part in str(error) for part, _ in KNOWN)


def cannot(refused: Exception, modes: Modes) -> bool:
    """Whether torch's error is about torch alone."""
    said = str(refused)
    mixed = "same dtype" in said or "scalar type" in said
    return (mixed and modes.ask in TRANSFORM) or any(words in said for words in TORCH_CANNOT)
