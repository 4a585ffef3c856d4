"""`with mb.explicit():` runs every differentiable torch call inside on its rule, if it has one. No layers are needed.

A table maps torch's functions to ours, by name: torch.nn.functional.relu, torch.relu, Tensor.relu and Tensor.relu_ are
mapped to `mb.functional.relu`. Functions whose names or arguments differ are written out in `_dialects.py`. A function
that is not in the table is decomposed into its operators: `_operators.py`.
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
from ._dialects import ALIASES, AS_OPERATORS, ONE_BY_ONE, SPELLED_OUT, divided_by, lost_arguments, subtracted_from
from ._operators import composed, recorded
from .engine.operators import torch_name
from .engine.torch_private import autograd_off, in_forward_mode, transforms_active
from .memory.checkpoint import recompute_within, running

Function = Callable[..., Any]

# NumPy's name of an argument -> torch's. Torch's functions accept both.
NUMPY = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}

VIEWS = ("flatten", "permute", "reshape", "transpose", "unflatten")
"""Functions of `mb.functional` that call torch's own view operations."""

ALONE = frozenset(
    (
        # starts a backward, or reads or sets autograd's state
        "backward", "grad", "detach", "detach_", "requires_grad_", "register_hook", "retain_grad",
        "register_post_accumulate_grad_hook",
        # reads or sets an attribute
        "__get__", "__set__", "__delete__", "__repr__", "__format__", "__len__", "__hash__", "__deepcopy__", "__bool__",
        "__reduce_ex__", "size", "dim", "numel", "stride", "item", "tolist", "is_floating_point", "is_complex",
        "is_contiguous", "data_ptr", "element_size", "storage_offset", "get_device", "untyped_storage",
        # views, and copies to another device, layout or dtype
        "view", "view_as", "reshape", "reshape_as", "permute", "transpose", "swapaxes", "movedim", "flatten",
        "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "broadcast_to", "t", "chunk", "split", "unbind",
        "select", "narrow", "diagonal", "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type_as",
        "cpu", "cuda",
        # have no derivative
        "eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "isnan",
        "isinf", "isfinite", "isclose", "allclose", "equal", "argmax", "argmin", "argsort", "count_nonzero", "nonzero",
        "any", "all", "logical_not", "logical_and", "logical_or", "empty_like", "zeros_like", "ones_like", "full_like",
        "rand_like", "randn_like", "new_empty", "new_zeros", "new_ones", "new_full", "new_tensor",
    )
)  # fmt: skip
"""Names of functions that are never decomposed: they compute nothing, or start a backward."""

ATTRIBUTES = frozenset(
    [getattr(Tensor, name).__get__
     for name in ("shape", "dtype", "device", "layout", "requires_grad", "grad_fn", "ndim", "is_nested", "is_cuda")]
    + [Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_floating_point, Tensor.is_contiguous]
)  # fmt: skip
"""What only describes a tensor. It is asked for most often, so it is looked up first."""

_INDEXED = Tensor.__getitem__
_FROM, _INTO = Tensor.__rsub__, Tensor.__rdiv__

_suspended = False


class _Explicit(TorchFunctionMode):
    leads_to_rules = True
    outer: Any = None
    """The checkpoint (torch.utils.checkpoint) inside which the mode was created."""

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if not torch.compiler.is_compiling():
            if func in ATTRIBUTES:
                return func(*args, **(kwargs or {}))
            if (frame := running()) is not None and frame is not self.outer:
                recompute_within(frame, explicit)
        kwargs = kwargs or {}
        # 1 - x and 1 / x are not looked up in the table: torch.compile does not find these two in a dict
        if func is _FROM:
            ours: Function | None = subtracted_from
        elif func is _INTO:
            ours = divided_by
        else:
            ours = TABLE.get(func)
        if func is torch.nn.functional.l1_loss:
            kwargs = lost_arguments(func, kwargs)
        # torch disables the mode inside this method, so calls of torch in our functions and in backward run as they are
        if _suspended or not _recorded((*args, *kwargs.values())):
            return func(*args, **kwargs)
        for cls in types:  # a tensor subclass may define what a call means
            if cls is not Tensor and cls is not torch.nn.Parameter:
                return func(*args, **kwargs)
        if ours is not None:
            named = {NUMPY.get(name, name): value for name, value in kwargs.items()} if kwargs else kwargs
            if takes(ours, args, named):
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

    This covers functions, methods and operators, their in-place forms (`x += y`, `relu_`), and the operators that torch
    calls inside its own functions (einsum, interpolate ...). Calls that need no gradient run as they are. The backward
    may run outside the context.

    A differentiable call without a rule (a sparse one, say) runs on autograd, and `mb.audit` inside the context lists
    it. With `strict=True` it raises NotImplementedError, which names the operator.

    Views (`view`, `reshape`, `transpose`, slices ...) stay torch's own nodes: they compute nothing.

    The context works with torch.func, and with torch.compile, around it or inside it. There, a function that is not in
    the table of functions (TABLE) stays autograd's, and `strict` does not raise.

    Under torch.compile an in-place edit of a tensor that a rule's backward needs is not noticed, as with any
    `torch.autograd.Function`: the gradient is then wrong. Eager code raises torch's version error.
    """
    mode = _Explicit(strict)
    if not torch.compiler.is_compiling():
        mode.outer = running()
    return mode


@contextmanager
def suspended() -> Iterator[None]:
    """Switch `mb.explicit` off inside this context: for comparisons with autograd."""
    global _suspended
    previous, _suspended = _suspended, True
    try:
        yield
    finally:
        _suspended = previous


def takes(ours: Function, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether our function accepts these arguments."""
    return _takes(ours, args, kwargs) and not (ours in REAL_ONLY and _complex((*args, *kwargs.values())))


def _takes(ours: Function, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether our function takes so many arguments of these names. It lacks some of torch's overloads, as with out=."""
    call = (ours, len(args), *kwargs)
    if torch.compiler.is_compiling() or (known := _taken.get(call)) is None:
        try:
            SIGNATURES[ours].bind(*args, **kwargs)
            known = True
        except TypeError:
            known = False
        if not torch.compiler.is_compiling():  # compiled code would have to guard this dict
            _taken[call] = known
    return known


def _complex(values: Sequence[Any]) -> bool:
    return any([isinstance(value, Tensor) and value.is_complex() for value in values])


def _is_basic(index: Any) -> bool:
    """Whether indexing gives a view: all indices are integers, slices, None or `...`."""
    for part in index if isinstance(index, tuple) else (index,):
        if not (part is None or part is ... or isinstance(part, (int, slice))) or isinstance(part, bool):
            return False
    return True


def _recorded(values: Sequence[Any]) -> bool:
    """Whether derivatives with respect to one of the values may be needed."""
    return transforms_active() or in_forward_mode() or recorded(values)


def _table() -> dict[Function, Function]:
    found: dict[Function, Function] = {}
    names = [name for name in F.__all__ if name not in VIEWS and _named_alike(getattr(F, name))]
    for name in names:
        ours = getattr(F, name)
        if "reduction" not in inspect.signature(ours).parameters:  # torch.<loss> takes the reduction as a number
            for alias in (name, *ALIASES.get(name, ())):
                found |= dict.fromkeys(_torchs(alias), ours)
        if "inplace" in inspect.signature(ours).parameters:
            found |= dict.fromkeys(_torchs(f"{name}_"), functools.partial(ours, inplace=True))
    for name, ours in SPELLED_OUT.items():
        found |= dict.fromkeys(_torchs(name), ours)
    found |= ONE_BY_ONE
    for name in names:  # ours has the signature of torch.nn.functional.<name>, which may differ from torch.<name>'s
        if hasattr(torch.nn.functional, name):
            found[getattr(torch.nn.functional, name)] = getattr(F, name)
    return found


def _named_alike(ours: Function) -> bool:
    """Whether our function takes the arguments of torch's function as they are. Where torch accepts axes both as a list
    and one by one, the call is left to `_operators.py`: operators always receive a list."""
    rule = getattr(ours, "rule", None)
    return rule is None or not rule.operator or rule.elementwise or ours.__name__ in AS_OPERATORS


def _torchs(name: str) -> Iterator[Function]:
    """Torch's functions and methods of that name."""
    if (spelled := torch_name(name).removeprefix("torch.")).count(".") == 1:
        name = spelled
    *path, name = name.split(".")
    homes = [getattr(torch, path[0])] if path else [torch.nn.functional, torch, Tensor]
    return (function for home in homes if callable(function := getattr(home, name, None)))


# Built at import, not in a cached function: torch.compile would trace that function instead of reading its cache.
TABLE = _table()
"""torch's function or method -> ours."""

REAL_ONLY = {ours for ours in TABLE.values() if getattr(getattr(ours, "rule", None), "real_only", False)} | {F.rms_norm}
"""Our functions that refuse complex numbers. Torch's function is decomposed for them."""

SIGNATURES = {ours: inspect.signature(ours) for ours in TABLE.values()}

_taken: dict[tuple, bool] = {}
"""(our function, number of positional arguments, names of keyword arguments) -> whether it accepts them."""
