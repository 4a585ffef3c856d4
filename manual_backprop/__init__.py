"""Explicit backward passes for PyTorch: every delta and gradient is a formula written by hand and tested."""

from . import _fx, functional, kernels, nn, rules, testing
from ._nodes import rule_of
from .audit import audit
from .convert import conversion_report, convert, revert
from .explicit import explicit
from .listing.program import write_out
from .optim import step_in_backward
from .rules import backend
from .saving import saved_bytes, saving
from .trace import trace

__version__ = "0.2.0"

__all__ = [
    "audit",
    "backend",
    "conversion_report",
    "convert",
    "explicit",
    "functional",
    "nn",
    "revert",
    "rule_of",
    "rules",
    "saved_bytes",
    "saving",
    "step_in_backward",
    "testing",
    "trace",
    "write_out",
]
