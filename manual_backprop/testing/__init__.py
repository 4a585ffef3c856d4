"""The check suite, public: `check(layer_or_function, *inputs)` proves a backward pass, yours or ours."""

from .case import Case, Spec, constant, index, normal, simplex, tensors, uniform
from .checks import CHECKS, SLOW_CHECKS
from .report import Report, Result, check, run_case
from .subject import CheckFailed, NotApplicable, Subject

__all__ = [
    "CHECKS", "SLOW_CHECKS", "Case", "CheckFailed", "NotApplicable", "Report", "Result", "Spec", "Subject", "check",
    "constant", "index", "normal", "run_case", "simplex", "tensors", "uniform",
]  # fmt: skip
