"""What the forward keeps for the backward: a tensor, an `Ask` to the node that can recompute it, or a shorter form.

Under torch.compile and torch.func, and in forward mode, every tensor is saved as it is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..engine import node
from .checkpoint import as_noted
from .codes import Code
from .recompute import OWN, Ask, Recipe, Saved, ask_for

MODES = ("exact", "off", "bf16", "int8", "int4")

LARGE = 2**16
"""Elements from which a tensor is worth recomputing (256 KiB of float32)."""

ROUNDED_FROM = 2**14
"""Elements from which `mb.saving` rounds a tensor, where it is asked for that."""

SMALL = 16
"""An argument with this many times fewer elements than the output may be copied for its sake (weights, statistics)."""

_mode = "exact"
logits = False
"""Whether a matmul may be computed twice where its result is many times as large as its factors."""


def saving(mode: str, *, logits_again: bool = False) -> Any:
    """Choose what forwards keep for their backwards, from now on and in the whole process.

    "exact" (as it begins): what can be recomputed bit for bit from tensors that are kept anyway, is; masks are bits.
    "bf16", "int8", "int4": besides, large activations are rounded, at random up or down so that the mean is right, to
    bfloat16 (wrong by less than 2^-7 of the number) or to 8 or 4 bits (by less than 1/255 or 1/15 of the range of the
    128 elements around it). The gradients are then estimates. The noise follows torch.manual_seed.
    "off": every tensor is kept as it is, nothing is computed twice.
    logits_again: in the other modes, too, recompute the logits of a large vocabulary from the last Linear's input and
    weight: one more matmul, for nothing of the size (N, V) between forward and backward.
    Used as a context manager, the former choice returns at the end. Raises ValueError for another mode.
    """
    if mode not in MODES:
        raise ValueError(f"saving mode {mode!r} is unknown: choose one of {', '.join(map(repr, MODES))}")
    previous = _mode, logits
    _choose(mode, logits_again)
    return _restore(*previous)


@contextmanager
def _restore(mode: str, again: bool) -> Iterator[None]:
    try:
        yield
    finally:
        _choose(mode, again)


def _choose(mode: str, again: bool) -> None:
    global _mode, logits
    _mode, logits = mode, again
    node.limits(threshold(), tensors=large_tensors())


def threshold() -> int:
    """Elements from which a tensor is not kept as it is, where that can be."""
    return LARGE if _mode in ("exact", "off") else min(LARGE, ROUNDED_FROM)


def large_tensors() -> str:
    """What a native node does with large tensors (engine/node.py); what only nodes in Python can is left to these."""
    if _mode == "off":
        return "as they are"
    return "recomputed" if _mode == "exact" and not logits else "in Python"


def several_processes() -> bool:
    """Whether this process trains with others, which may hold parts of the parameters between forward and backward."""
    distributed: Any = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


def _is_parameter(tensor: Tensor) -> bool:
    """Whether it is a parameter, another leaf that is trained, or a view of one."""
    base = _base(tensor)
    return isinstance(base, torch.nn.Parameter) or (base.is_leaf and base.requires_grad)


def _base(tensor: Tensor) -> Tensor:
    """What it is a view of, else itself."""
    return tensor if tensor._base is None else tensor._base


class Offer:
    """What a cheap rule tells of its output: a function and its arguments that compute it again.

    before: the `Ask` for what `output` was written over, the rule's first argument, in an in-place call.
    costly: whether it is taken only where `saving` was asked for it.
    """

    __slots__ = ("arguments", "before", "costly", "function", "index", "output", "overwritten")

    def __init__(
        self, output: Tensor, index: int, function: Callable[..., Any], arguments: tuple, overwritten: bool,
        before: Ask | None, costly: bool,
    ) -> None:  # fmt: skip
        self.output, self.index, self.function, self.arguments = output, index, function, arguments
        self.overwritten, self.before, self.costly = overwritten, before, costly

    def recipe(self, saved: tuple, plan: list) -> Recipe | None:
        """A recipe for the output where every argument can be had in the backward; also where the node saves it."""
        version = self.output._version + self.overwritten  # torch counts one more for a tensor that is marked dirty
        arguments: list[Any] = []
        depth = 0
        for argument in self.arguments:
            part = self._part(argument, saved) if isinstance(argument, Tensor) else argument
            if part is None and argument is not None:
                own = _place(self.output, saved)
                return None if own is None else Recipe(self.output, self.index, version, None, [Saved(own)], 0)
            ask = plan[part] if isinstance(part, Saved) else part
            if isinstance(ask, Ask):
                depth = max(depth, ask.depth)
            arguments.append(part)
        return Recipe(self.output, self.index, version, self.function, arguments, depth + 1)

    def _part(self, argument: Tensor, saved: tuple) -> Any:
        """Where an argument lies; None where it is not kept."""
        if argument is self.output:
            return self.before
        place = _place(argument, saved)
        if argument.numel() * SMALL <= self.output.numel() and (place is None or _is_parameter(argument)):
            # not the parameter itself: an optimizer may have changed it by then, or FSDP given it back
            with torch.enable_grad():
                return argument.clone()
        if place is None:
            return ask_for(argument)
        if isinstance(_base(argument), torch.nn.Parameter) and not self.costly:
            return None  # too large for a copy, and an edit through `.data` would go unnoticed
        return None if several_processes() and _is_parameter(argument) else Saved(place)


def _place(tensor: Tensor, saved: tuple) -> int | None:
    for place, other in enumerate(saved):
        if other is tensor:
            return place
    return None


class _Encoded:
    """A shorter form of a tensor."""

    __slots__ = ("code", "parts")

    def __init__(self, code: Code, parts: Sequence[Tensor]) -> None:
        self.code, self.parts = code, parts


def pack_saved(ctx: Any, given: tuple, result: Any, offer: Offer | None = None) -> None:
    """Replace large tensors that `setup_context` has saved, and give the node a recipe for its output.

    given, result: what the rule got and returned. offer: how its output is computed again, of a cheap rule.
    """
    saved = ctx.to_save or ()
    nothing = True
    for tensor in saved:
        if tensor is not None:
            nothing = False
            if tensor.numel() >= threshold():
                break
    else:
        if nothing:
            ctx.nothing = saved
        if offer is None:
            return
    mode, costly = as_noted((_mode, logits))
    if mode == "off":
        return
    if offer is not None and offer.costly and not costly:
        offer = None
    output = None if offer is None else offer.output
    plan: list[Any] = [None if tensor is output else _replaced(tensor, given, mode) for tensor in saved]
    if offer is not None:
        recipe = ctx.recipe = offer.recipe(saved, plan)
        if (own := _place(offer.output, saved)) is not None:
            recipe.own = recipe.function is not None  # type: ignore[union-attr]
            plan[own] = OWN if recipe.own else _replaced(output, given, mode)  # type: ignore[union-attr]
    else:
        ctx.recipe = _saved_output(result, saved)
    if not any([entry is not None for entry in plan]):
        return
    kept: list[Tensor | None] = []
    for place, (tensor, entry) in enumerate(zip(saved, plan, strict=True)):
        if entry is None:
            kept.append(tensor)
        else:
            kept.append(_witness(tensor))
            if isinstance(entry, _Encoded):
                kept += entry.parts
                plan[place] = entry.code
    ctx.plan, ctx.to_save = plan, tuple(kept)


def _saved_output(result: Any, saved: tuple) -> Recipe | None:
    """The recipe of a rule that saves what it returns: the saved tensor."""
    for index, output in enumerate(result if type(result) is tuple else (result,)):
        if output is not None and output.numel() >= threshold() and (place := _place(output, saved)) is not None:
            return Recipe(output, index, output._version, None, [Saved(place)], 0)
    return None


def _replaced(tensor: Tensor | None, given: tuple, mode: str) -> Ask | _Encoded | None:
    """What is kept in place of a large tensor; None to keep it."""
    if tensor is None or tensor.numel() < threshold() or type(tensor) is not Tensor or tensor.is_inference():
        return None
    ask = ask_for(tensor)
    if ask is not None and not (mode == "exact" and ask.saved):
        return ask  # in the exact mode a node without a function has saved the very same memory
    return _shortened(tensor, given, mode)


def masks_as_bits(saved: tuple, given: tuple) -> tuple[tuple, dict[int, Code]]:
    """What a native node saves in place of large masks, and how each is decoded, by its place."""
    codes = {}
    if large_tensors() == "recomputed":
        codes = {place: Code(tensor, "bits") for place, tensor in enumerate(saved) if _is_large_mask(tensor, given)}
    bits = tuple([codes[p].encoded(t)[0] if p in codes else t for p, t in enumerate(saved)])
    return bits, codes


def _is_large_mask(tensor: Tensor | None, given: tuple) -> bool:
    if tensor is None or tensor.dtype != torch.bool or tensor.numel() < threshold():
        return False
    return tensor.untyped_storage().nbytes() >= tensor.nbytes and not any([tensor is other for other in given])


_EMPTY: dict[tuple[torch.dtype, torch.device], Tensor] = {}


def _witness(tensor: Tensor) -> Tensor:
    """A tensor without elements that shares the version counter."""
    key = tensor.dtype, tensor.device
    if (empty := _EMPTY.get(key)) is None:
        empty = _EMPTY[key] = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    witness = tensor.detach()
    witness.data = empty
    return witness


_short: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""A tensor -> its version, the kind and code of its shorter form, and weak references to the parts that nodes keep."""


def _shortened(tensor: Tensor, given: tuple, mode: str) -> _Encoded | None:
    """The shorter form that the mode asks for, the same for every node that saves this tensor; None to keep it."""
    kind = mode
    if tensor.dtype == torch.bool:
        kind = "bits"
    elif mode == "exact" or not tensor.is_floating_point() or (mode == "bf16" and tensor.itemsize == 2):
        return None
    if tensor.untyped_storage().nbytes() < tensor.nbytes:
        return None
    if not tensor.requires_grad and any([tensor is other for other in given]):
        return None  # data, alive anyway
    known = _short.get(tensor)
    if known is not None and known[:2] == (tensor._version, kind):
        parts = [reference() for reference in known[3]]
        if all([part is not None for part in parts]):
            return _Encoded(known[2], parts)
    code = Code(tensor, kind)
    short = _Encoded(code, code.encoded(tensor))
    _short[tensor] = tensor._version, kind, code, [weakref.ref(part) for part in short.parts]
    return short
