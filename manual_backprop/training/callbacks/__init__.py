"""Lightning callbacks: deltas per layer, the place of a first NaN, pictures, a summary, the step inside backward."""

from .delta_flow import DeltaFlow
from .finite_watch import FiniteWatch, NonFiniteLossError
from .pictures import Pictures
from .step_in_backward import StepInBackward
from .summary import Summary

__all__ = ["DeltaFlow", "FiniteWatch", "NonFiniteLossError", "Pictures", "StepInBackward", "Summary"]
