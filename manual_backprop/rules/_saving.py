"""What the forward keeps for the backward: a tensor, the roots that it can be made again from, or a rounded copy.

A cheap rule leaves a note on its output: a function and arguments that give the same tensor again, bit for bit. A rule
that would save a tensor with a note saves the arguments instead, where these are kept anyway, and makes the tensor
again in backward. Notes are weak: they end with their tensor, and hold nothing alive. They are valid for one version of
every tensor in them. Under torch.compile and torch.func, and left to right, every tensor is saved as it is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ._codes import Code

MODES = ("exact", "off", "bf16", "int8", "int4")

LARGE = 2**14
"""Elements from which a tensor is worth the Python of a note (64 KiB of float32)."""

DEPTH = 4
"""How many rules at most are run again for one tensor."""

SMALL = 16
"""An argument with this many times fewer elements than the output may be saved for its sake (weights, statistics)."""

_notes: dict[int, Note] = {}
_mode = "exact"
logits = False
"""Whether a product of matrices may be computed twice where its result is many times as large as its factors."""


def saving(mode: str, *, logits_again: bool = False) -> Any:
    """Choose what forwards keep for their backwards, from now on and in the whole process.

    "exact" (as it begins): what can be made again bit for bit from tensors that are kept anyway, is; masks are bits.
    "bf16", "int8", "int4": besides, large activations are rounded, at random up or down so that the mean is right, to
    bfloat16 (wrong by less than 2^-7 of the number) or to 8 or 4 bits (by less than 1/255 or 1/15 of the range of the
    128 elements around it). The gradients are then estimates. The noise follows torch.manual_seed.
    "off": every tensor is kept as it is, nothing is computed twice.
    logits_again: in the other modes, too, make the logits of a large vocabulary again from the last Linear's input and
    weight: one more product of matrices, for nothing of the size (N, V) between forward and backward.
    Used as a context manager, the former choice returns at the end. Raises ValueError for another mode.
    """
    global _mode, logits
    if mode not in MODES:
        raise ValueError(f"saving mode {mode!r} is unknown: choose one of {', '.join(map(repr, MODES))}")
    previous = _mode, logits
    _mode, logits = mode, logits_again
    return _restore(*previous)


@contextmanager
def _restore(mode: str, again: bool) -> Iterator[None]:
    global _mode, logits
    try:
        yield
    finally:
        _mode, logits = mode, again


class _Reference(weakref.ref):
    """To a tensor that has a note."""

    __slots__ = ("address",)
    address: int


def _forget(tensor: Any) -> None:
    note = _notes.get(tensor.address)
    if note is not None and note.tensor is tensor:
        del _notes[tensor.address]


class Note:
    """That a tensor is saved anyway (no function), or how it is made again; of one version of the tensor."""

    __slots__ = ("arguments", "depth", "function", "saved", "short", "taken", "tensor", "value", "version")

    def __init__(self, tensor: Tensor, function: Callable[..., Any] | None, arguments: tuple, depth: int) -> None:
        self.tensor, self.version = _Reference(tensor, _forget), tensor._version
        self.tensor.address = id(tensor)
        self.function, self.arguments, self.depth = function, arguments, depth
        self.saved = self.taken = 0  # by how many nodes, and how often they have asked for it
        self.value: Tensor | None = None  # between the first node that asks and the last
        self.short: tuple | None = None  # code and references to its parts
        _notes[id(tensor)] = self

    def original(self) -> Tensor | None:
        """The tensor itself where someone else keeps it alive, unchanged."""
        tensor = self.tensor()
        return tensor if tensor is not None and tensor._version == self.version else None

    def short_form(self) -> _Encoded | None:
        """The shorter form that some node keeps."""
        if self.short is None:
            return None
        code, references = self.short
        parts = tuple([reference() for reference in references])
        return None if any([part is None for part in parts]) else _Encoded(code, parts)


def note_of(tensor: Tensor) -> Note | None:
    """The valid note of a tensor."""
    note = _notes.get(id(tensor))
    return note if note is not None and note.original() is tensor else None


@contextmanager
def written(tensor: Tensor) -> Iterator[None]:
    """Around a rule that writes over `tensor`: torch counts one more version when it ends, which the note must have."""
    before = _notes.get(id(tensor))
    yield
    note = _notes.get(id(tensor))
    if note is not None and note is not before:
        note.version = tensor._version


def remember(
    output: Tensor, function: Callable[..., Any], arguments: tuple, before: Note | None = None
) -> bool:  # fmt: skip
    """Leave a note on `output` that function(*arguments) makes it again; False where an argument is not kept anyway.

    before: the note of the first argument, where `output` was written over it.
    """
    if _mode == "off":
        return False
    parts: list[Any] = []
    depth, budget = 1, output.numel() // SMALL
    for position, argument in enumerate(arguments):
        if not isinstance(argument, Tensor):
            parts.append(argument)
            continue
        note = before if position == 0 and before is not None else note_of(argument)
        if note is not None and note.function is not None and note.depth < DEPTH:
            depth = max(depth, note.depth + 1)
            parts.append(note)
        elif argument is output or argument.is_inference():
            return False
        elif argument.numel() <= budget:
            if several_processes():  # FSDP may give a parameter of another module back before this is made again
                with torch.enable_grad():
                    parts.append(_Copy(argument.clone()))
            else:
                parts.append(_Leaf(argument, note))
        elif not several_processes() if _is_parameter(argument) else note is not None:
            parts.append(_Leaf(argument, note))
        else:
            return False
    Note(output, function, tuple(parts), depth)
    return True


def several_processes() -> bool:
    """Whether this process trains with others, which may hold parts of the parameters between forward and backward."""
    distributed: Any = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


def _is_parameter(tensor: Tensor) -> bool:
    """Whether it is a parameter or a view of one: kept by its module."""
    return isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)


class _Copy:
    """A small tensor that a note needs, for itself."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def kept(self) -> Tensor:
        return self.tensor


class _Leaf:
    """A tensor that a note needs, in the version that it needs, and its own note if it has one."""

    __slots__ = ("note", "tensor", "version")

    def __init__(self, tensor: Tensor, note: Note | None) -> None:
        self.tensor, self.version, self.note = weakref.ref(tensor), tensor._version, note

    def kept(self) -> Tensor | _Encoded | None:
        """The tensor, or its shorter form if that is all that is left; None when neither is."""
        tensor = self.tensor()
        if tensor is not None:
            return tensor if tensor._version == self.version else None
        return None if self.note is None else self.note.short_form()


class _Encoded:
    """A shorter form of a tensor."""

    __slots__ = ("code", "parts")

    def __init__(self, code: Code, parts: tuple) -> None:
        self.code, self.parts = code, parts


class Slot(int):
    """Where a tensor lies among what a node has saved."""


class Again:
    """A tensor to be made again: its note, with slots in place of the tensors."""

    __slots__ = ("arguments", "note")

    def __init__(self, note: Note, arguments: list) -> None:
        self.note, self.arguments = note, arguments


def _plan(note: Note, saved: list) -> Again | None:
    """The note's tensors appended to `saved`; None where one of them is gone or was written over."""
    arguments: list[Any] = []
    for part in note.arguments:
        planned = part
        if isinstance(part, Note):
            planned = _plan(part, saved)
            if planned is None:
                return None
        elif isinstance(part, (_Leaf, _Copy)):
            kept = part.kept()
            if kept is None:
                return None
            planned = _slot(kept, saved)
        arguments.append(planned)
    return Again(note, arguments)


def _slot(kept: Tensor | _Encoded, saved: list) -> Slot:
    for place, other in enumerate(saved):
        if other is kept:
            return Slot(place)
    saved.append(kept)
    return Slot(len(saved) - 1)


def economize(ctx: Any, given: tuple) -> None:
    """Replace what `setup_context` has saved, large tensors alone: by what makes them again, or by a shorter form."""
    tensors = ctx.to_save
    if tensors is None or _mode == "off":
        return
    large, stay = False, _mode == "exact"
    for tensor in tensors:
        if tensor is not None and tensor.numel() >= LARGE:
            large = True
            if type(tensor) is Tensor:
                note = _notes.get(id(tensor))
                if note is None or note.version != tensor._version or note.tensor() is not tensor:
                    note = Note(tensor, None, (), 0)
                stay = stay and note.function is None and note.short is None and tensor.dtype != torch.bool
    if not large or stay:
        return
    saved: list[Any] = []
    plan: list[Any] = []
    replaced = False
    for tensor in tensors:
        if type(tensor) is Tensor and tensor.numel() >= LARGE:
            note = _notes[id(tensor)]
            if note.function is not None:
                count = len(saved)
                again = _plan(note, saved)
                if again is not None:
                    note.saved += 1
                    plan.append(again)
                    replaced = True
                    continue
                del saved[count:]
        plan.append(None if tensor is None else _slot(tensor, saved))
    codes: list[Code | None] = []
    kept: list[Tensor] = []
    for entry in saved:
        short = entry if isinstance(entry, _Encoded) else _shortened(entry, given)
        if short is None:
            codes.append(None)
            kept.append(entry)
        else:
            codes.append(short.code)
            kept += short.parts
            replaced = True
    if replaced:
        ctx.plan, ctx.codes = plan, codes
        ctx.to_save = tuple(kept)


def _shortened(tensor: Tensor, given: tuple) -> _Encoded | None:
    """The shorter form that the mode asks for, the same for every node that saves this tensor; None to keep it."""
    if tensor.numel() < LARGE or type(tensor) is not Tensor or tensor.untyped_storage().nbytes() < tensor.nbytes:
        return None
    kind = _mode
    if tensor.dtype == torch.bool:
        kind = "bits"
    elif _mode == "exact" or not tensor.is_floating_point() or (_mode == "bf16" and tensor.itemsize == 2):
        return None
    if not tensor.requires_grad and any([tensor is other for other in given]):
        return None  # data, alive anyway
    note = note_of(tensor)
    short = None if note is None else note.short_form()
    if short is None or short.code.kind != kind:
        code = Code(tensor, kind)
        short = _Encoded(code, code.encoded(tensor))
        if note is not None:
            note.short = code, [weakref.ref(part) for part in short.parts]
    return short
