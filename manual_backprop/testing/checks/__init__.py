"""The checks by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from ..subject import Subject
from .derivatives import batched_grad, forward_mode, gradcheck, gradgradcheck
from .engine import checkpoint, deltas, explicit, frozen, native, twice
from .memory import layouts, untouched
from .transforms import compiled, compiled_inductor, transforms
from .usage import autocast, module
from .values import bfloat16, empty, float32, forward, specials

CHECKS: dict[str, Callable[[Subject], str]] = {
    check.__name__: check
    for check in (
        forward,
        float32,
        bfloat16,
        specials,
        empty,
        gradcheck,
        gradgradcheck,
        batched_grad,
        forward_mode,
        deltas,
        layouts,
        untouched,
        explicit,
        frozen,
        twice,
        native,
        checkpoint,
        transforms,
        compiled,
        autocast,
        module,
    )
}

SLOW_CHECKS = {"compiled_inductor": compiled_inductor}
"""Run on request only: each compiles C++ for about ten seconds."""
