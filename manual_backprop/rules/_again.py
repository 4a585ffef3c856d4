"""A node that makes again, when its backward asks, what `_saving.economize` did not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._saving import Again, Slot

FUSED: dict[tuple[Callable[..., Any], Callable[..., Any]], Callable[..., Any]] = {}
"""Two functions of notes, f and g -> f(g(...)) in one pass, where that is all that g's result is made again for; filled
by `manual_backprop.kernels`."""


def _made(again: Again, saved: list[Tensor]) -> Tensor:
    note = again.note
    tensor = note.original()
    if tensor is None:
        tensor = note.value
        if tensor is None or torch.is_grad_enabled():
            made = _computed(again, saved)
            tensor = made[0] if isinstance(made, tuple) else made
    return tensor


def _computed(again: Again, saved: list[Tensor]) -> Any:
    """What a note's function gives. A tensor that is made for this alone need not stand by itself: both functions run
    as one, or the second writes over what the first has made."""
    function: Any = again.note.function
    first = again.arguments[0] if again.arguments else None
    if not isinstance(first, Again) or first.note.value is not None or first.note.original() is not None:
        return function(*_arguments(again, saved))
    if torch.is_grad_enabled():
        return function(*_arguments(again, saved))
    formulas: Any = tuple([getattr(f, "__wrapped__", f) for f in (function, first.note.function)])
    if (fused := FUSED.get(formulas)) is not None:
        return fused(*_arguments(first, saved), *_arguments(again, saved, 1))
    arguments, over = _arguments(again, saved), getattr(function, "over", None)
    return (function if over is None or _shared(arguments[0], saved) else over)(*arguments)


def _arguments(again: Again, saved: list[Tensor], begin: int = 0) -> list[Any]:
    return [
        saved[part] if isinstance(part, Slot) else _made(part, saved) if isinstance(part, Again) else part
        for part in again.arguments[begin:]
    ]


def _shared(tensor: Tensor, others: list[Tensor]) -> bool:
    """Whether a tensor may lie in the memory of one of the others, as a view does."""
    plain = (Tensor, torch.nn.Parameter)
    if type(tensor) is not Tensor or any([type(other) not in plain for other in others]):
        return True
    address = tensor.untyped_storage().data_ptr()
    return any([other.untyped_storage().data_ptr() == address for other in others])


class Saving:
    """A node whose `saved_tensors` are what the rule saved, whatever was kept in their place."""

    plan: list | None = None
    codes: list

    @property
    def saved_tensors(self) -> tuple:
        saved = super().saved_tensors  # type: ignore[misc]
        if self.plan is None:
            return saved
        decoded, kept = [], iter(saved)
        for code in self.codes:
            if code is None:
                decoded.append(next(kept))
            else:
                decoded.append(code.decode(*[next(kept) for _ in range(code.parts)]))
        return tuple(None if part is None else _unpacked(part, decoded) for part in self.plan)


def _unpacked(part: Any, saved: list[Tensor]) -> Tensor:
    """One of a rule's saved tensors. One made again stays between the first node that asks for it and the last."""
    if isinstance(part, Slot):
        return saved[part]
    tensor, note = _made(part, saved), part.note
    note.taken += 1
    last = note.taken >= note.saved
    note.value = None if last or torch.is_grad_enabled() else tensor
    if last:
        note.taken = 0
    return tensor
