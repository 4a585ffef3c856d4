"""Callbacks that watch a training: what flows backward, where it breaks, and what it looks like at the end."""

from .delta_flow import DeltaFlow
from .finite_watch import FiniteWatch, NonFiniteLossError
from .pictures import Pictures
from .step_in_backward import StepInBackward
from .summary import Summary

__all__ = ["DeltaFlow", "FiniteWatch", "NonFiniteLossError", "Pictures", "StepInBackward", "Summary"]
