"""What a backward node belongs to: a rule, a view or a copy, or autograd."""

from __future__ import annotations

import re
from typing import Any

import torch

from .engine.torch_private import function_of
from .rules import Rule

VIEWS = frozenset(
    (
        "Alias", "AsStrided", "Clone", "Conj", "Diagonal", "Expand", "LiftFresh", "NarrowCopy", "Permute",
        "ReshapeAlias", "ReshapeCopy", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "T", "ToCopy",
        "Transpose", "Unbind", "Unfold", "UnsafeSplit", "UnsafeSplitWithSizes", "UnsafeView", "Unsqueeze", "View",
        "ViewAsComplex", "ViewAsReal", "torch::autograd::CopyBackwards",
        "torch::autograd::CopySlices",
    )
)  # fmt: skip
"""Names of torch's nodes for views and for copies to another device, layout or dtype, without "Backward0"."""


def name_of(node: Any) -> str:
    """A backward node's name. In torch 2.9 `name()` does not work for a Function whose output no longer exists."""
    return type(node).__name__ if isinstance(node, torch.autograd.function.BackwardCFunction) else node.name()


def is_view(node: Any) -> bool:
    """Whether a backward node is torch's own node of a view or a copy: it moves values and computes nothing."""
    return re.sub(r"Backward\d*(_copy)?$", "", name_of(node)) in VIEWS


def rule_of(node: Any) -> type[Rule] | None:
    """The rule that a backward node belongs to; None for autograd's own."""
    made_by = function_of(node)
    return made_by.variant_of or made_by if isinstance(made_by, type) and issubclass(made_by, Rule) else None
