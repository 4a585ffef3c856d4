"""Converts models from torch.nn to manual_backprop.nn and back, in place: a module's class changes, nothing else.

Parameters, buffers, hooks, tied weights, parametrizations, the training flag and every attribute stay the same objects,
so optimizers, checkpoints and references made before stay valid. A layer is converted if its class is exactly one of
torch.nn. Subclasses of layers, and the user's own modules that have tensors but no children, keep their forward, which
then runs inside `mb.explicit()`: see _within.py.

The "twin" of a layer or function of ours is the layer or function of torch that it replaces.
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

# The modules in which torch defines its layers. Classes from elsewhere are the user's own.
_QUANTIZED = ("torch.ao.", "torch.nn.quantized.", "torch.nn.intrinsic.", "torch.nn.qat.")
_TORCH_LAYERS = ("torch.nn.modules.", "torch.nn.utils.", *_QUANTIZED)


_WRAPPERS = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
"""Modules that only run the model inside them."""


class Left(NamedTuple):
    """A module that is not converted: its name in the model, its class, and the reason."""

    name: str
    type: str
    reason: str


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`: how many modules run on rules, and which modules are left as they are."""

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
    """torch's class -> ours: the classes of `mb.nn` that subclass the class of torch.nn with the same name."""
    ours = [cls for cls in vars(nn).values() if isinstance(cls, type) and cls.__module__.startswith(nn.__name__)]
    return {cls.__mro__[1]: cls for cls in ours if cls.__mro__[1].__name__ == cls.__name__}


@functools.cache
def _containers() -> frozenset[type]:
    """torch's own classes that `mb.nn` exports unchanged: they compute nothing themselves."""
    through = (value for name, value in vars(nn).items() if vars(torch.nn).get(name) is value)
    return frozenset(value for value in through if isinstance(value, type) and value is not torch.nn.Module)


def convert(model: _Model, whole: bool = False) -> _Model:
    """Give every layer of the model that has a rule its explicit backward, in place; returns the model.

    A module whose class is exactly one of torch.nn gets the class of the same name in `mb.nn`. This includes modules
    that are parametrized, weight-normed, spectral-normed, pruned, lazy or tied, and the model itself.

    The forward of a subclass of a layer runs inside `mb.explicit()` from now on. So does the forward of a module that
    has parameters or buffers of its own and no children. With `whole=True` the forward of the whole model runs inside
    `mb.explicit()`, and so every operation of every module in it.

    Layers of torch that cannot be converted are logged as a warning of the logger "manual_backprop" and listed by
    `mb.conversion_report(model)`. Raises TypeError for a model that is not a module. With `whole=True` also raises it
    for a model whose class does not decide its forward (a script module, a forward replaced on the instance).

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
    """Turn every layer of `mb.nn` in the model into the layer of torch.nn again, in place; returns the model.

    Subclasses of our layers cannot become torch's; they stay and are logged as a warning. Calls of `mb.functional` in a
    forward are code, not layers, and stay, too. Raises TypeError for a model that is not a module.
    """
    stay = _revert(_checked(model, "revert"))
    if stay:
        _log.warning("revert: subclasses of layers of manual_backprop.nn stay as they are: %s", ", ".join(stay))
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
    """How many modules of a model run on rules, and which ones `convert` leaves as they are, and why. Changes nothing.

    The report lists layers of torch without a rule, and their subclasses. It does not look into the forward of the
    user's own modules: `mb.audit` shows which operations there run on rules. Raises TypeError for a model that is not a
    module.
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
    """Inside, the models have the layers of torch.nn, and `mb.explicit` has no effect; arguments that are not modules
    are ignored. This is cheaper than reverted copies, and also works for models that cannot be copied.
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
    """The twin of a function of `mb.functional`, which is torch's; any other argument is returned as it is."""
    if not getattr(function, "__module__", "").startswith("manual_backprop.functional"):
        return function
    return torch_function(function.__name__)


def _walk(
    module: torch.nn.Module, name: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every module once, with its name; with the first name if it has several."""
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
    """Why a layer is not converted; None where it is or can be converted, or is not a layer of torch."""
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
    """Whether a module that is no layer of `mb.nn` gets its forward inside `mb.explicit()`: a subclass of a layer, or a
    module of the user's with parameters or buffers of its own and no children."""
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
    """The model inside the wrappers of torch.compile, DataParallel and DistributedDataParallel."""
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
            "convert(whole=True) got a model whose forward was replaced on the instance, so its class does not decide "
            "what it computes: define the forward in the class, or call the model inside mb.explicit()"
        )


def _no_rule(cls: type, base: type) -> str:
    if cls.__module__.startswith(_QUANTIZED):
        return "quantized: it computes with integers or simulates them"
    if base is not cls:
        return f"a subclass of {_spelled(base)} in torch, whose forward may be its own"
    return "no rule yet; autograd computes its derivative"


def _change_class(module: torch.nn.Module, target: type) -> None:
    if is_parametrized(module):
        # torch gives a parametrized module a subclass of its own, with properties for the computed tensors. Copies of
        # the module share that class, so it stays unchanged and the module gets a new one.
        members = {key: value for key, value in vars(type(module)).items() if key not in ("__dict__", "__weakref__")}
        target = type(f"Parametrized{target.__name__}", (target,), members)
    module.__class__ = target


def _checked(model: Any, caller: str) -> torch.nn.Module:
    if isinstance(model, torch.nn.Module):
        return model
    got = type(model).__name__
    if isinstance(model, type):
        got = f"the class {model.__name__}. Make an instance of it"
    elif isinstance(getattr(type(model), "module", None), Callable):  # type: ignore[arg-type]
        got = f"{got}. Take its module()"
    raise TypeError(f"{caller} takes a torch.nn.Module. got: {got}")


def _spelled(cls: type) -> str:
    """The class as a user writes it."""
    public = vars(torch.nn).get(cls.__name__) is cls
    return f"torch.nn.{cls.__name__}" if public else f"{cls.__module__}.{cls.__qualname__}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
