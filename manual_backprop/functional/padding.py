"""Enlarging by a border."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._autocast import float32_on_cpu
from ._call import call


def pad(input: Tensor, pad: list[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with a border, as torch.nn.functional.pad; rule: `mb.rules.Pad`.

    pad: (left, right) of the last axis, then of the one before it, ...; negative entries cut off.
    mode: "constant" (with `value`), "reflect", "replicate" or "circular"; another raises NotImplementedError.
    """
    if mode == "replicate" or (mode == "reflect" and len(pad) < 6):
        input = float32_on_cpu(input)
    return call(rules.Pad, input, tuple(pad), mode, value)
