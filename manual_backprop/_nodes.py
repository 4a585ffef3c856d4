"""Whose a backward node is: a rule's, a view's, or autograd's."""

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
"""torch's nodes of views, and of copies to another place or dtype, without "Backward" and a number."""


def name_of(node: Any) -> str:
    """A backward node's name; torch 2.9 does not tell that of a Function whose output is gone."""
    return type(node).__name__ if isinstance(node, torch.autograd.function.BackwardCFunction) else node.name()


def is_view(node: Any) -> bool:
    """Whether a backward node is torch's own for a view or a copy, which moves values and computes nothing."""
    return re.sub(r"Backward\d*(_copy)?$", "", name_of(node)) in VIEWS


def rule_of(node: Any) -> type[Rule] | None:
    """The rule that a backward node belongs to; None for autograd's own."""
    made_by = function_of(node)
    return made_by if isinstance(made_by, type) and issubclass(made_by, Rule) else None
