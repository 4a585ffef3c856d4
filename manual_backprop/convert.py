"""From torch.nn to manual_backprop.nn and back, in place: a module changes its class and nothing else.

Parameters, buffers, hooks, tied weights, parametrizations, the training flag and every attribute keep their identity,
so optimizers, checkpoints and references made before stay valid. A layer of torch.nn becomes ours when it is of exactly
that class. What computes by itself (a subclass with a forward of its own, a module of one's own without children)
keeps its forward, which then runs inside `mb.explicit()`: _within.py.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from . import nn
from ._within import Within, within
from .engine.operators import torch_function
from .engine.torch_private import COMPILED, members
from .explicit import suspended

_log = logging.getLogger("manual_backprop")
_Model = TypeVar("_Model", bound=torch.nn.Module)

# Where torch keeps its layers; a class from elsewhere is the user's own, made of layers or of functions.
_QUANTIZED = ("torch.ao.", "torch.nn.quantized.", "torch.nn.intrinsic.", "torch.nn.qat.")
_TORCH_LAYERS = ("torch.nn.modules.", "torch.nn.utils.", *_QUANTIZED)


_WRAPPERS = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
"""Modules that run the model they hold, and compute nothing."""


class Left(NamedTuple):
    """A module that stays as it is: its name in the model, its class, and why."""

    name: str
    type: str
    reason: str


@dataclass(frozen=True)
class Conversion:
    """What `convert` makes of a model: how many of its modules are ours, and which are left as they are."""

    converted: int
    left: tuple[Left, ...]

    def __str__(self) -> str:
        alike: dict[tuple[str, str], list[str]] = {}
        for name, cls, reason in self.left:
            alike.setdefault((cls, reason), []).append(name)
        head = f"{self.converted} modules run on rules, {len(self.left)} are left as they are" + ":" * bool(alike)
        return "\n".join([head, *(f"  {_few(names)} ({cls}): {why}" for (cls, why), names in alike.items())])


@functools.cache
def table() -> dict[type, type]:
    """torch's class -> ours, read off `mb.nn`: the classes that subclass the class of torch.nn of their name."""
    ours = [cls for cls in vars(nn).values() if isinstance(cls, type) and cls.__module__.startswith(nn.__name__)]
    return {cls.__mro__[1]: cls for cls in ours if cls.__mro__[1].__name__ == cls.__name__}


@functools.cache
def _containers() -> frozenset[type]:
    """torch's own classes that `mb.nn` hands through: they compute nothing themselves."""
    through = (value for name, value in vars(nn).items() if vars(torch.nn).get(name) is value)
    return frozenset(value for value in through if isinstance(value, type) and value is not torch.nn.Module)


def convert(model: _Model, whole: bool = False) -> _Model:
    """Give every layer of the model that has a rule its explicit backward, in place; returns the model.

    A module of exactly a class of torch.nn that `mb.nn` has, too, gets that class (also when parametrized,
    weight-normed, spectral-normed, pruned, lazy, tied or the model itself). The forward of a subclass of a layer, and
    of a module without children that has parameters or buffers of its own, runs inside `mb.explicit()` from now on;
    with `whole=True` the forward of the model does, and with it every operation of every module in it.

    What is left alone is logged as a warning of the logger "manual_backprop" and listed by
    `mb.conversion_report(model)`. Raises TypeError for what is no module, and with `whole=True` for a model whose
    forward is not that of its class (a script module, a forward replaced on the instance).

    Under torch.compile an in-place edit of a tensor that a layer's backward needs is not noticed: see `mb.explicit`.
    """
    if whole:
        _refuse_whole(_checked(model, "convert"))
    for _, module in _walk(_checked(model, "convert")):
        cls = type_before_parametrizations(module)
        ours = table().get(cls)
        if ours is not None and _reason(module) is None:
            _change_class(module, ours)
        elif _computes_by_itself(module):
            _change_class(module, within(cls))
    inside = _inside(model)
    if whole and not isinstance(inside, Within):
        _change_class(inside, within(type_before_parametrizations(inside)))
    report = conversion_report(model)
    if report.left:
        _log.warning("convert: %s", report)
    return model


def revert(model: _Model) -> _Model:
    """The way back: every layer of `mb.nn` in the model is the layer of torch.nn again, in place; returns the model.

    Subclasses of our layers cannot become torch's; they stay and are logged as a warning. Functions of `mb.functional`
    called in a forward of one's own are code, not layers, and stay too. Raises TypeError for what is no module.
    """
    stay = _revert(_checked(model, "revert"))
    if stay:
        _log.warning("revert: subclasses of the layers of manual_backprop.nn stay: %s", ", ".join(stay))
    return model


def _revert(model: torch.nn.Module) -> list[str]:
    twins, stay = {ours: twin for twin, ours in table().items()}, []
    for name, module in _walk(model):
        cls = type_before_parametrizations(module)
        if issubclass(cls, Within):
            cls = cls.computed_by
            _change_class(module, cls)
        if cls in twins:
            _change_class(module, twins[cls])
        elif issubclass(cls, tuple(twins)):
            stay.append(f"{name or '(the model)'} ({_spelled(cls)})")
    return stay


def conversion_report(model: torch.nn.Module) -> Conversion:
    """How many modules of a model are ours, and which `convert` leaves alone, and why; printable. Changes nothing.

    Listed are layers of torch (and subclasses of them) without a rule. A module class of one's own is no layer: which
    of its own operations are explicit is what `mb.audit` observes. Raises TypeError for what is no module.
    """
    converted, left = 0, []
    for name, module in _walk(_checked(model, "conversion_report")):
        converted += isinstance(module, (*table().values(), Within))
        reason = _reason(module)
        if reason is not None:
            left.append(Left(name or "(the model)", _spelled(type_before_parametrizations(module)), reason))
    return Conversion(converted, tuple(left))


@contextmanager
def as_twin(*models: Any) -> Iterator[None]:
    """The models reverted for a while, `mb.explicit` suspended: cheaper than reverted copies, and possible where a copy
    is not. What is no module is left out.
    """
    models = tuple(model for model in models if isinstance(model, torch.nn.Module))
    classes = [(module, type(module)) for model in models for module in model.modules()]
    try:
        for model in models:
            _revert(model)
        with suspended():
            yield
    finally:
        for module, cls in classes:
            module.__class__ = cls


def twin_function(function: Any) -> Any:
    """torch's function for one of `mb.functional`; anything else as it is."""
    if not getattr(function, "__module__", "").startswith("manual_backprop.functional"):
        return function
    return torch_function(function.__name__)


def _walk(
    module: torch.nn.Module, name: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every module once, by its first name."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield name, module
    if isinstance(module, torch.jit.ScriptModule):
        return
    for key, child in module.named_children():
        yield from _walk(child, f"{name}.{key}" if name else key, seen)


def _reason(module: torch.nn.Module) -> str | None:
    """Why a layer is left alone; None where it is converted, converted already, or no layer of torch's."""
    if isinstance(module, torch.jit.ScriptModule):
        return "a script module runs compiled code, not the classes of torch.nn"
    cls = type_before_parametrizations(module)
    if cls in table():
        replaced = "its forward was replaced on the instance, so the class does not decide what it computes"
        return replaced if "forward" in vars(module) else None
    if issubclass(cls, (*table().values(), *_containers(), Within)) or _computes_by_itself(module):
        return None
    for base in cls.__mro__:
        if base is not torch.nn.Module and f"{base.__module__}.".startswith(_TORCH_LAYERS):
            return _no_rule(cls, base)
    return None


def _computes_by_itself(module: torch.nn.Module) -> bool:
    """Whether a module is no layer that `mb.nn` has, and its forward is to run inside `mb.explicit()`: a subclass of a
    layer, or one's own module with tensors of its own and no children."""
    cls = type_before_parametrizations(module)
    if isinstance(module, (torch.jit.ScriptModule, Within, *table().values())) or "forward" in vars(module):
        return False
    if f"{cls.__module__}.".startswith(_TORCH_LAYERS) or type(module).forward is torch.nn.Module.forward:
        return False
    if issubclass(cls, tuple(table())):
        return True
    tensors, buffers, children = members(module)
    return bool(tensors or buffers) and not children


def _inside(model: torch.nn.Module) -> torch.nn.Module:
    """The model in what torch.compile, DataParallel or DistributedDataParallel have made of it."""
    while (inner := getattr(model, "module" if isinstance(model, _WRAPPERS) else COMPILED, None)) is not None:
        model = inner
    return model


def _refuse_whole(model: torch.nn.Module) -> None:
    inside = _inside(model)
    if isinstance(inside, torch.jit.ScriptModule):
        raise TypeError(
            "convert(whole=True) got a script module, which runs compiled code: convert before scripting it"
        )
    if "forward" in vars(inside):
        raise TypeError(
            "convert(whole=True) got a model whose forward was replaced on the instance, so that its class does not "
            "decide what it computes: put it into the class, or call the model inside mb.explicit()"
        )


def _no_rule(cls: type, base: type) -> str:
    if cls.__module__.startswith(_QUANTIZED):
        return "quantized: it computes with integers or simulates them"
    if base is not cls:
        return f"a subclass of {_spelled(base)} in torch, whose forward may be its own"
    return "no rule yet; what it computes itself stays with autograd"


def _change_class(module: torch.nn.Module, target: type) -> None:
    if is_parametrized(module):
        # torch gives a parametrized module a class of its own over the layer's, with properties for computed tensors;
        # copies of the module share that class, so it is left alone and a new one made
        members = {key: value for key, value in vars(type(module)).items() if key not in ("__dict__", "__weakref__")}
        target = type(f"Parametrized{target.__name__}", (target,), members)
    module.__class__ = target


def _checked(model: Any, caller: str) -> torch.nn.Module:
    if isinstance(model, torch.nn.Module):
        return model
    got = type(model).__name__
    if isinstance(model, type):
        got = f"the class {model.__name__}: make an instance of it"
    elif isinstance(getattr(type(model), "module", None), Callable):  # type: ignore[arg-type]
        got = f"{got}: take its module()"
    raise TypeError(f"{caller} takes a torch.nn.Module, got {got}")


def _spelled(cls: type) -> str:
    """The class as a user writes it."""
    public = vars(torch.nn).get(cls.__name__) is cls
    return f"torch.nn.{cls.__name__}" if public else f"{cls.__module__}.{cls.__qualname__}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
