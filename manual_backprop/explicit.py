"""`with mb.explicit():` every differentiable torch call in it that has a rule runs on the rule: no layer needed.

The table from torch's functions to ours follows from names: torch.nn.functional.relu, torch.relu, Tensor.relu and
Tensor.relu_ lead to `mb.functional.relu`. Only what torch spells differently is written out, in `_dialects.py`. What
has no place in the table is taken apart into operators: `_operators.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import functional as F
from ._dialects import ALIASES, SPELLED_OUT, divided_by, lost_arguments, subtracted_from
from ._operators import composed, recorded
from .engine.operators import torch_name
from .engine.torch_private import autograd_off, in_forward_mode, transforms_active
from .memory.checkpoint import recompute_within, running

Function = Callable[..., Any]

# What numpy calls an argument, torch's functions take, too.
NUMPY = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}

VIEWS = ("flatten", "permute", "reshape", "transpose", "unflatten")
"""Functions of ours that are torch's own views."""

ALONE = frozenset(
    (
        # starts a backward, or asks and sets what autograd knows
        "backward", "grad", "detach", "detach_", "requires_grad_", "register_hook", "retain_grad",
        "register_post_accumulate_grad_hook",
        # attributes and questions
        "__get__", "__set__", "__delete__", "__repr__", "__format__", "__len__", "__hash__", "__deepcopy__", "__bool__",
        "__reduce_ex__", "size", "dim", "numel", "stride", "item", "tolist", "is_floating_point", "is_complex",
        "is_contiguous", "data_ptr", "element_size", "storage_offset", "get_device", "untyped_storage",
        # views, and copies to another place, layout or dtype
        "view", "view_as", "reshape", "reshape_as", "permute", "transpose", "swapaxes", "movedim", "flatten",
        "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "broadcast_to", "t", "chunk", "split", "unbind",
        "select", "narrow", "diagonal", "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type_as",
        "cpu", "cuda",
    )
)  # fmt: skip
"""Names of what is never taken apart: it computes nothing, or starts a backward."""

_INDEXED = Tensor.__getitem__
_FROM, _INTO = Tensor.__rsub__, Tensor.__rdiv__

_suspended = False


class _Explicit(TorchFunctionMode):
    leads_to_rules = True
    outer: Any = None
    """The checkpoint inside of which it was made."""

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if not torch.compiler.is_compiling() and (frame := running()) is not None and frame is not self.outer:
            recompute_within(frame, explicit)
        kwargs = kwargs or {}
        # 1 - x and 1 / x apart: torch.compile does not find these two in a dict
        if func is _FROM:
            ours: Function | None = subtracted_from
        elif func is _INTO:
            ours = divided_by
        else:
            ours = TABLE.get(func)
        if func is torch.nn.functional.l1_loss:
            kwargs = lost_arguments(func, kwargs)
        # torch switches the mode off in here: what ours calls, and backward, run as they are
        if _suspended or not _recorded((*args, *kwargs.values())):
            return func(*args, **kwargs)
        for cls in types:  # subclasses bring their own meaning of a call
            if cls is not Tensor and cls is not torch.nn.Parameter:
                return func(*args, **kwargs)
        if ours is not None:
            named = {NUMPY.get(name, name): value for name, value in kwargs.items()} if kwargs else kwargs
            if _takes(ours, args, named):
                return ours(*args, **named)
        if (
            torch.compiler.is_compiling()
            or transforms_active()
            or in_forward_mode()
            or autograd_off is None
            or func.__name__ in ALONE
            or (func is _INDEXED and _is_basic(args[1]))
        ):
            return func(*args, **kwargs)
        return composed(func, args, kwargs, self.strict)


def explicit(strict: bool = False) -> TorchFunctionMode:
    """A context manager in which every differentiable torch call that has a rule runs on it.

        with mb.explicit():
            loss = F.cross_entropy(model(x) + torch.relu(y) @ w, target)
        loss.backward()

    Functions, methods and operators alike, in-place forms too (`x += y`, `relu_`), which stay visibly in place, and the
    operators that torch calls inside of its own functions (einsum, interpolate ...). Calls that need no gradient pass
    straight through. A differentiable call without a rule (sparse ones, say) runs on autograd, and `mb.audit` inside
    the context lists it; with `strict=True` it raises NotImplementedError, which names the operator. The backward may
    run anywhere.

    Views (`view`, `reshape`, `transpose`, slices ...) stay torch's own: they compute nothing. Works with torch.func,
    and with torch.compile outside or inside of it; there, calls that have no place in the table of functions (TABLE)
    are autograd's, and `strict` does not see them.

    Under torch.compile an in-place edit of a tensor that a rule's backward needs is not noticed, as with any
    `torch.autograd.Function`: the gradient is then wrong, where eager code raises.
    """
    mode = _Explicit(strict)
    if not torch.compiler.is_compiling():
        mode.outer = running()
    return mode


@contextmanager
def suspended() -> Iterator[None]:
    """torch's own functions for a while, also inside the context: for comparisons with autograd."""
    global _suspended
    previous, _suspended = _suspended, True
    try:
        yield
    finally:
        _suspended = previous


def _takes(ours: Function, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether ours has the overload of torch's that is called: some it does not have, such as out=."""
    call = (ours, len(args), *kwargs)
    if torch.compiler.is_compiling() or (known := _taken.get(call)) is None:
        try:
            SIGNATURES[ours].bind(*args, **kwargs)
            known = True
        except TypeError:
            known = False
        if not torch.compiler.is_compiling():  # which would have to guard what it reads
            _taken[call] = known
    return known


def _is_basic(index: Any) -> bool:
    """Whether indexing gives a view: by numbers, slices, None and `...` alone."""
    for part in index if isinstance(index, tuple) else (index,):
        if not (part is None or part is ... or isinstance(part, (int, slice))) or isinstance(part, bool):
            return False
    return True


def _recorded(values: Sequence[Any]) -> bool:
    """Whether anyone may ask for derivatives by one of the values."""
    return transforms_active() or in_forward_mode() or recorded(values)


def _table() -> dict[Function, Function]:
    found: dict[Function, Function] = {}
    names = [name for name in F.__all__ if name not in VIEWS and _named_alike(getattr(F, name))]
    for name in names:
        ours = getattr(F, name)
        if "reduction" not in inspect.signature(ours).parameters:  # torch.<loss> takes it as a number
            for alias in (name, *ALIASES.get(name, ())):
                found |= dict.fromkeys(_torchs(alias), ours)
        if "inplace" in inspect.signature(ours).parameters:
            found |= dict.fromkeys(_torchs(f"{name}_"), functools.partial(ours, inplace=True))
    for name, ours in SPELLED_OUT.items():
        found |= dict.fromkeys(_torchs(name), ours)
    for name in names:  # the signature of torch.nn.functional is that of ours, whatever torch.<name> takes
        if hasattr(torch.nn.functional, name):
            found[getattr(torch.nn.functional, name)] = getattr(F, name)
    return found


def _named_alike(ours: Function) -> bool:
    """Whether a call of torch's function has the arguments of ours as they are. What takes lists of axes also takes
    them one by one: that is left to the dispatcher, which has them sorted out."""
    rule = getattr(ours, "rule", None)
    return rule is None or not rule.operator or rule.elementwise


def _torchs(name: str) -> Iterator[Function]:
    """Every function of torch's of that name."""
    if (spelled := torch_name(name).removeprefix("torch.")).count(".") == 1:
        name = spelled
    *path, name = name.split(".")
    homes = [getattr(torch, path[0])] if path else [torch.nn.functional, torch, Tensor]
    return (function for home in homes if callable(function := getattr(home, name, None)))


# Made once at import: torch.compile does not look into a cache.
TABLE = _table()
"""torch's function or method -> ours."""

SIGNATURES = {ours: inspect.signature(ours) for ours in TABLE.values()}

_taken: dict[tuple, bool] = {}
"""Function of ours, how many arguments come by place, and the names of the others -> whether it takes them so."""
