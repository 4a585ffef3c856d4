"""What the forward saves for the backward: a tensor, an `Ask` to the node that can recompute it, or a compressed form.

Under torch.compile and torch.func, and in forward mode, every tensor is saved unchanged.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
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
"""Elements from which a tensor is rounded in the modes "bf16", "int8" and "int4"."""

SMALL = 16
"""An argument with this many times fewer elements than the output may be copied, so that the output need not be saved
(weights, statistics)."""

_mode = "exact"
logits = False
"""Whether a matmul whose result is many times as large as its factors may be recomputed (`logits_again`)."""


def saving(mode: str, *, logits_again: bool = False) -> Any:
    """Choose what forwards save for their backwards. Takes effect at once and for the whole process.

    "exact" (the default): tensors that can be recomputed bit for bit from other saved tensors are not saved, and masks
    are saved as bits.
    "bf16", "int8", "int4": as "exact", and large activations are rounded: to bfloat16 (relative error below 2^-7), or
    to 8 or 4 bits (error below 1/255 or 1/15 of the range of the 128 elements around it). Rounding is stochastic, so
    that the mean is right, and follows torch.manual_seed. The gradients are then estimates.
    "off": every tensor is saved unchanged, and nothing is recomputed.
    logits_again: in every mode but "off", also recompute the logits of a large vocabulary from the last Linear's input
    and weight. That costs one more matmul; no tensor of shape (N, V) is held between forward and backward.
    As a context manager it restores the previous choice at the end. Raises ValueError for another mode.
    """
    if mode not in MODES:
        raise ValueError(f"unknown saving mode. got: {mode!r}. expected: one of {', '.join(map(repr, MODES))}")
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
    """Elements from which a saved tensor is recomputed or compressed, where possible."""
    return LARGE if _mode in ("exact", "off") else min(LARGE, ROUNDED_FROM)


def large_tensors() -> str:
    """What a native node does with large tensors (engine/node.py). "in Python": the mode needs a Python node."""
    if _mode == "off":
        return "as they are"
    return "recomputed" if _mode == "exact" and not logits else "in Python"


def several_processes() -> bool:
    """Whether this process trains together with others, as in FSDP: then a parameter may be sharded between forward and
    backward."""
    distributed: Any = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


def _is_parameter(tensor: Tensor) -> bool:
    """Whether it is a parameter, another leaf that requires a gradient, or a view of one."""
    base = _base(tensor)
    return isinstance(base, torch.nn.Parameter) or (base.is_leaf and base.requires_grad)


def _base(tensor: Tensor) -> Tensor:
    """The tensor that it is a view of, or itself if it is not a view."""
    return tensor if tensor._base is None else tensor._base


class Offer:
    """How a cheap rule's output can be recomputed: a function and its arguments.

    before: in an in-place call, the `Ask` for the rule's first argument, which `output` was written over.
    costly: whether to recompute only if `saving` was called with `logits_again`.
    """

    __slots__ = ("arguments", "before", "costly", "function", "index", "output", "overwritten")

    def __init__(
        self, output: Tensor, index: int, function: Callable[..., Any], arguments: tuple, overwritten: bool,
        before: Ask | None, costly: bool,
    ) -> None:  # fmt: skip
        self.output, self.index, self.function, self.arguments = output, index, function, arguments
        self.overwritten, self.before, self.costly = overwritten, before, costly

    def recipe(self, saved: tuple, plan: list) -> Recipe | None:
        """The recipe for the output, if every argument is available in the backward or the node saves the output."""
        version = self.output._version + self.overwritten  # mark_dirty increases the version by one
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
        """Where the backward finds an argument; None if it does not."""
        if argument is self.output:
            return self.before
        place = _place(argument, saved)
        if argument.numel() * SMALL <= self.output.numel() and (place is None or _is_parameter(argument)):
            # a copy: an optimizer may change the parameter before the backward, or FSDP may free it
            with torch.enable_grad():
                return argument.clone()
        if place is None:
            return ask_for(argument)
        if isinstance(_base(argument), torch.nn.Parameter) and not self.costly:
            return None  # too large to copy, and an edit through `.data` would not change its version
        return None if several_processes() and _is_parameter(argument) else Saved(place)


def _place(tensor: Tensor, saved: tuple) -> int | None:
    for place, other in enumerate(saved):
        if other is tensor:
            return place
    return None


class _Encoded:
    """A compressed tensor."""

    __slots__ = ("code", "parts")

    def __init__(self, code: Code, parts: Sequence[Tensor]) -> None:
        self.code, self.parts = code, parts


def pack_saved(ctx: Any, given: tuple, result: Any, offer: Offer | None = None) -> None:
    """Replace large tensors that `setup_context` has saved, and give the node a recipe for its output.

    given, result: the rule's arguments and what it returned. offer: for a cheap rule, how to recompute its output.
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
    noted = as_noted(SimpleNamespace(mode=_mode, logits=logits, again=None))
    if (mode := noted.mode) == "off":
        return
    if offer is not None and offer.costly and not noted.logits:
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
    _as_in_first_forward(noted, plan, saved, given)
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


def _as_in_first_forward(noted: Any, plan: list, saved: tuple, given: tuple) -> None:
    """In a checkpoint's second forward: recompute the same tensors as in the first, as torch compares what both save.
    It could not where hooks give back a copy of the checkpoint's input, as save_on_cpu does: a copy has no recipe."""
    again = [isinstance(entry, Ask) or entry is OWN for entry in plan]
    if noted.again is None:
        noted.again = again
    for place, (now, first) in enumerate(zip(again, noted.again, strict=False)):
        if first and not now:
            plan[place] = OWN  # nothing asks for it: only the first forward's nodes run backward
        elif now and not first:
            plan[place] = _shortened(saved[place], given, noted.mode)


def _saved_output(result: Any, saved: tuple) -> Recipe | None:
    """The recipe of a rule that saves its own output: the saved tensor."""
    for index, output in enumerate(result if type(result) is tuple else (result,)):
        if output is not None and output.numel() >= threshold() and (place := _place(output, saved)) is not None:
            return Recipe(output, index, output._version, None, [Saved(place)], 0)
    return None


def _replaced(tensor: Tensor | None, given: tuple, mode: str) -> Ask | _Encoded | None:
    """What is saved in place of a large tensor; None to save the tensor itself."""
    if tensor is None or tensor.numel() < threshold() or type(tensor) is not Tensor or tensor.is_inference():
        return None
    ask = ask_for(tensor)
    if ask is not None and not (mode == "exact" and ask.saved):
        return ask  # in "exact" mode an Ask to a node that saves its output gains nothing: both would hold that memory
    return _shortened(tensor, given, mode)


def masks_as_bits(saved: tuple, given: tuple) -> tuple[tuple, dict[int, Code]]:
    """The tensors that a native node saves, with large masks as bits, and index -> the code of each such mask."""
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
    """A tensor without elements that shares the version counter of `tensor`."""
    key = tensor.dtype, tensor.device
    if (empty := _EMPTY.get(key)) is None:
        empty = _EMPTY[key] = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    witness = tensor.detach()
    witness.data = empty
    return witness


_short: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""A tensor -> its version, the kind and code of its compressed form, and weak references to the parts that nodes
save."""


def _shortened(tensor: Tensor, given: tuple, mode: str) -> _Encoded | None:
    """The tensor's compressed form in this mode, shared by all nodes that save it; None to save it unchanged."""
    kind = mode
    if tensor.dtype == torch.bool:
        kind = "bits"
    elif mode == "exact" or not tensor.is_floating_point() or (mode == "bf16" and tensor.itemsize == 2):
        return None
    if tensor.untyped_storage().nbytes() < tensor.nbytes:
        return None
    if not tensor.requires_grad and any([tensor is other for other in given]):
        return None  # input data, which the user holds anyway
    known = _short.get(tensor)
    if known is not None and known[:2] == (tensor._version, kind):
        parts = [reference() for reference in known[3]]
        if all([part is not None for part in parts]):
            return _Encoded(known[2], parts)
    code = Code(tensor, kind)
    short = _Encoded(code, code.encoded(tensor))
    _short[tensor] = tensor._version, kind, code, [weakref.ref(part) for part in short.parts]
    return short
