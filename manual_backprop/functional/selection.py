"""Values selected by their order (max, median, sort), with torch's signatures, where the axis may be omitted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, return_types

from .. import rules
from ._call import call
from ._overloads import stands_for


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest of all, or along an axis with its index, as torch.max; rules: `mb.rules.Max`, `mb.rules.MaxAlong`.

    With a tensor in place of the axis, the elementwise maximum of both: `mb.rules.Maximum`.
    """
    if dim is None:
        return call(rules.Max, input)
    if isinstance(dim, Tensor):
        return call(rules.Maximum, input, dim)
    return return_types.max(call(rules.MaxAlong, input, dim, keepdim))


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest of all, or along an axis with its index, as torch.min; rules: `mb.rules.Min`, `mb.rules.MinAlong`.

    With a tensor in place of the axis, the elementwise minimum of both: `mb.rules.Minimum`.
    """
    if dim is None:
        return call(rules.Min, input)
    if isinstance(dim, Tensor):
        return call(rules.Minimum, input, dim)
    return return_types.min(call(rules.MinAlong, input, dim, keepdim))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of all, or along an axis with its index, as torch.median; rules: `mb.rules.Median`,
    `mb.rules.MedianAlong`."""
    if dim is None:
        return call(rules.Median, input)
    return return_types.median(call(rules.MedianAlong, input, dim, keepdim))


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median without NaN values, as torch.nanmedian; rules: `mb.rules.Nanmedian`, `mb.rules.NanmedianAlong`."""
    if dim is None:
        return call(rules.Nanmedian, input)
    return return_types.nanmedian(call(rules.NanmedianAlong, input, dim, keepdim))


@stands_for("sort")
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """The elements sorted along an axis, and their indices, as torch.sort; rule: `mb.rules.Sort`."""
    return return_types.sort(call(rules.Sort, input, dim, descending, stable))


@stands_for("sort.stable")
def _sort_stable(input: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> Any:
    return call(rules.Sort, input, dim, descending, bool(stable))
