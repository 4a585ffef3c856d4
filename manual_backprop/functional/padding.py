"""Padding: a border around the input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import rules
from ._autocast import float32_on_cpu
from ._call import call
from ._overloads import stands_for


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with a border, as torch.nn.functional.pad; rule: `mb.rules.Pad`.

    pad: (left, right) of the last axis, then of the axis before it, ...; negative entries crop.
    mode: "constant" (with `value`), "reflect", "replicate" or "circular"; another raises NotImplementedError.
    """
    if mode == "replicate" or (mode == "reflect" and len(pad) < 6):
        input = float32_on_cpu(input)
    return call(rules.Pad, input, tuple(pad), mode, value)


@stands_for("constant_pad_nd")
def _constant(input: Tensor, pad: Sequence[int], value: complex = 0) -> Tensor:
    return call(rules.Pad, input, tuple(pad), "constant", value)


@stands_for("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def _reflection(input: Tensor, padding: Sequence[int]) -> Tensor:
    return call(rules.Pad, input, tuple(padding), "reflect", None)


@stands_for("replication_pad1d", "replication_pad2d", "replication_pad3d")
def _replication(input: Tensor, padding: Sequence[int]) -> Tensor:
    return call(rules.Pad, input, tuple(padding), "replicate", None)
