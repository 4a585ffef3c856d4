"""What every rule shares: the base class, saving, and the choice between a formula and its kernel.

A rule is a class with a `forward` and formulas (`delta_input`, `grad_weight`, ...), plain functions that the base class
makes static. From them it derives the `setup_context` and `backward` of a `torch.autograd.Function` in the split style
(derive.py), which torch.compile and torch.func can take apart.

Docstring convention, read by the error messages, the trace and the documentation:
first paragraph the forward formula, second the shapes, third the backward formulas, last the source.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..memory import saving
from ..memory.recompute import Saving, ask_for, passed_on
from ..memory.saving import Offer, pack_saved
from . import node
from .derive import derive
from .inner import keep_as_node
from .overrides import refuse_dead_overrides
from .terms import constant, like, not_differentiated, reduced, refuse_complex, refuse_negative_slope, total, widened
from .torch_private import any_autocast, dispatch_modes, in_forward_mode, subclass_node

RULES_PACKAGE = "manual_backprop.rules."

RULES: dict[str, type[Rule]] = {}
"""Every rule of this package by name; a rule written elsewhere needs no entry to work."""

KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Formula -> what asks its kernels before it runs; filled by `kernels/registry.py` alone."""


LOWER = {"cpu": "lower", "cuda": "lower"}
"""The autocast policy of matmuls and convolutions."""

UNGUARDED: dict[Callable[..., Any], Callable[..., Any]] = {}
"""The guarded backward of a rule -> the one that was written; by the function itself, since what someone wraps around
it has its attributes, too."""

OVER: dict[Callable[..., Any], Callable[..., Any]] = {}
"""`forward` -> `forward_`, which writes the same over its input."""

TRACES_LOOKUP = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 15)
"""Whether torch.compile can look a static method up in a dict; older versions trace the formulas."""

_backend = "auto"


class Rule(torch.autograd.Function):
    """One operation's forward together with its explicit backward formulas."""

    generate_vmap_rule = True
    keeps_input = True
    """Whether `setup_context` saves the input; a rule that does not can overwrite it (`inplace=True`) at no cost."""

    cheap: ClassVar[bool] = False
    """Whether running `forward` again in backward is worth the memory of its output: one pass over memory or two, and
    the same result bit for bit."""

    costly: ClassVar[bool] = False
    """Whether running `forward` again is more than that, and done only where `mb.saving` was asked for it."""

    inner: ClassVar[Any] = None
    """Of a rule whose second output is kept for the backward, and seen by no user: a static method that takes the
    inputs and gives the rule, and its arguments, of which it is the output (inner.py)."""

    passes_on: ClassVar[int | None] = None
    """Of a cheap rule whose output is one of its arguments again, in other memory: the place of that argument. Who
    recomputes the output asks for the argument itself."""

    recomputed_result: ClassVar[int] = 0
    """Which of several outputs `recipe` recomputes."""

    results: ClassVar[tuple[str, ...]] = ("output",)
    """The names of what `forward` returns; only the output has a derivative, and another result that a formula
    `<formula>_from_<result>` is written for."""

    upcast: ClassVar[bool] = False
    """Whether the formulas compute 16-bit numbers in float32 and round once, as ATen's kernels do."""

    elementwise: ClassVar[bool] = False
    """Whether each element of the output, before a loss's `reduction`, depends on one element of each input: then the
    formulas are those of forward mode, too."""

    linear: ClassVar[tuple[str, ...]] = ()
    """The arguments of which the output is a linear function, of all of them together: forward mode follows."""

    multilinear: ClassVar[tuple[str, ...]] = ()
    """The arguments of each of which the output is a linear function while the others stay: forward mode follows."""

    operator: ClassVar[str] = ""
    """The operator of torch.ops.aten that the rule stands in for, with the arguments of `forward`; inside `mb.explicit`
    it does wherever torch calls that operator. Several are separated by spaces; `name.overload` is one overload."""

    broadcasts: ClassVar[bool] = False
    """Whether the inputs are broadcast: then each delta is summed over the axes along which its input was repeated."""

    takes_complex: ClassVar[bool] = False
    """Whether an elementwise rule's numbers may be complex: then its formulas multiply by conjugates, and forward mode
    by what they are the conjugates of. Said by `broadcasts`, too."""

    real_only: ClassVar[bool] = False
    """Whether the backward refuses complex numbers, as the twin's does."""

    in_place_slope: ClassVar[tuple[str, str] | None] = None
    """An argument that must not be negative where the output was written over the input, and the twin's name."""

    derivatives: ClassVar[Callable[..., tuple]]
    """All formulas in one call: (delta, what they read, which are needed) -> a tuple with None for the others."""

    source: ClassVar[str] = ""
    """What `engine.derive` has written from the formulas."""

    pure: ClassVar[bool]
    """Whether what it computes depends on its arguments alone, and on nothing else that may change: then its calls may
    be recorded and run without Python (engine/node.py). True of the rules of this package; for a rule of your own, say
    so in its class. It is not inherited."""

    returns_views: ClassVar[bool] = False
    """Whether what it returns are views of its input, which no user sees; torch then wants views for tangents, too."""

    returns_more: ClassVar[bool] = False
    """Whether it returns more than its output, such as a mask: torch then takes no write over a view."""

    tangent_reads: ClassVar[tuple[int, ...] | None] = None
    """Which outputs `tangent` reads the numbers of (None: all); of the others it is told shape and dtype alone, so that
    they can be edited in place."""

    overwrites: ClassVar[type[Rule] | None] = None
    """The rule that this one is the in-place version of."""

    autocast: ClassVar[dict[str, str]] = {}
    """Device type -> "lower" (bfloat16 or float16), "float32" or "promote" (the widest that came), as ATen's
    autocast_mode.h has it for the twin; a device that is not named keeps the dtypes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method):
                setattr(cls, name, staticmethod(method))
        if _declares(cls):
            derive(cls, HELPERS)
        refuse_dead_overrides(cls, Rule)
        # Function.apply binds arguments through inspect.signature at every call; cached, a call costs half
        cls.forward.__signature__ = inspect.signature(cls.forward)  # type: ignore[attr-defined]
        cls.autocast_policy = staticmethod(_policies(cls.autocast))  # type: ignore[assignment]
        if "forward_" in vars(cls):
            OVER[cls.forward] = cls.forward_  # type: ignore[attr-defined]
        if "backward" in vars(cls):
            cls.backward = staticmethod(_guarded(cls.backward))  # type: ignore[method-assign]
            if cls.__module__.startswith(RULES_PACKAGE):
                RULES.setdefault(cls.__name__, cls)

    @staticmethod
    def autocast_policy(device: str) -> str | None:
        """`autocast` for one device type; a function, since torch.compile cannot read attributes of a Function."""
        return None

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Any) -> Any:
        """Forward mode: the change of the output when each input moves along its tangent (None where it stays)."""
        raise NotImplementedError("this rule has no forward-mode formula: define tangent(inputs, tangents, output)")

    @classmethod
    def recipe(cls, inputs: tuple, output: Any) -> tuple[Callable[..., Any], tuple] | None:
        """A function and its arguments that recompute the output, for a rule that is `cheap`; None if not this one."""
        return (cls.overwrites or cls).forward, inputs

    @staticmethod
    def hints(*args: Any) -> list[str]:
        """What to change in arguments that torch has refused, as far as this rule can tell."""
        return []


def _declares(rule: type[Rule]) -> bool:
    """Whether the class brings formulas of its own, and neither it nor a parent has a backward written by hand."""
    own = any([name.startswith(("delta_", "grad_")) for name in vars(rule)])
    return (
        own
        and "backward" not in vars(rule)
        and (rule.backward is torch.autograd.Function.backward or hasattr(rule.backward, "derived"))
    )


def _policies(autocast: dict[str, str]) -> Callable[[str], str | None]:
    def policy(device: str) -> str | None:
        return autocast.get(device)

    return policy


def paragraphs(rule: type[Rule]) -> list[str]:
    """A rule's docstring: forward formula, shapes, backward formulas, what else there is to say, source."""
    return inspect.cleandoc(rule.__doc__ or "").split("\n\n")


def _guarded(backward: Callable[..., Any]) -> Callable[..., Any]:
    """No deltas, no derivatives; and deltas keep the dtypes that forward chose, also when `loss.backward()` is called
    inside an autocast region."""

    @functools.wraps(backward)
    def run(ctx: Any, *deltas: Any) -> Any:
        for delta in deltas:
            if delta is not None:
                break
        else:
            return (None,) * len(ctx.needs_input_grad)
        if torch.compiler.is_compiling():
            autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        else:
            autocast = any_autocast()
        if not autocast:
            return backward(ctx, *deltas)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return backward(ctx, *deltas)

    UNGUARDED[run] = backward
    return run


def _apply_backward(ctx: Any, delta: Any, *others: Any) -> Any:
    """What the engine calls on a node of a rule that runs under no transform: its backward, at the least cost where
    there is nothing to guard it from."""
    backward = ctx._forward_cls.backward
    if delta is not None and not any_autocast():
        backward = UNGUARDED.get(backward, backward)
    gradients: Any = (None,) * len(ctx.needs_input_grad)
    if delta is not None or others:
        gradients = backward(ctx, delta, *others)
    if ctx.recipe is not None:
        ctx.finished()
    return gradients


def _variant(rule: type[Rule], **methods: Callable[..., Any]) -> type[Rule]:
    members = {name: staticmethod(method) for name, method in methods.items()}
    return type(rule.__name__, (rule,), {**members, "__doc__": rule.__doc__, "__module__": rule.__module__})


@functools.cache
def chosen(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula or its kernel, whichever computed the tensor that is recomputed."""

    @functools.wraps(formula)
    def run(*args: Any) -> Any:
        return choose(formula)(*args)

    run.over = OVER.get(formula)  # type: ignore[attr-defined]
    return run


def offered(rule: type[Rule], args: tuple, output: Any) -> tuple[Callable[..., Any], tuple, int] | None:
    """How a rule's output is computed again: a function, its arguments, and which output it is."""
    if rule.passes_on is not None and output.stride() == args[rule.passes_on].stride():
        return passed_on, (args[rule.passes_on],), 0
    recipe = rule.recipe(args, output)
    return None if recipe is None else (chosen(recipe[0]), recipe[1], rule.recomputed_result)


def _without_zeros(ctx: Any, output: Any) -> None:
    """Where no delta comes, none goes on: torch would make one of zeros for the rule."""
    if type(output) is not tuple:
        ctx.set_materialize_grads(False)


def owned(output: Any, args: tuple) -> Any:
    """What a rule returns is never a view of a tensor that was made on the way, so that it can be edited in place as
    what the twin returns can be. A view of one of the arguments stays one."""
    if type(output) is tuple:
        return tuple([owned(part, args) for part in output])
    if isinstance(output, Tensor) and output._is_view():
        base = output._base
        if not any([isinstance(arg, Tensor) and (base is arg or base is arg._base) for arg in args]):
            return output.data
    return output


@functools.cache
def plain(rule: type[Rule]) -> type[Rule]:
    """The rule for a call under no transform: for the split style Function.apply binds the arguments to a signature
    at every call, which costs more than many a forward."""

    overwritten = rule.overwrites is not None

    def forward(ctx: Any, *args: Any) -> Any:
        output = owned(rule.forward(*args), args)
        _without_zeros(ctx, output)
        rule.setup_context(ctx, args, output)
        pack_saved(ctx, args, output)
        if rule.inner is not None:
            keep_as_node(ctx, output[1], *rule.inner(args))
        return output

    def cheap_forward(ctx: Any, *args: Any) -> Any:
        before = ask_for(args[0]) if overwritten else None
        output = owned(rule.forward(*args), args)
        _without_zeros(ctx, output)
        rule.setup_context(ctx, args, output)
        value = output[rule.recomputed_result] if type(output) is tuple else output
        offer = None
        if (
            type(value) is Tensor
            and value.numel() >= saving.threshold()
            and (recipe := offered(rule, args, output)) is not None
        ):
            function, arguments, index = recipe
            offer = Offer(value, index, function, arguments, value is args[0], before, rule.costly)
        pack_saved(ctx, args, output, offer)
        if rule.inner is not None:
            keep_as_node(ctx, output[1], *rule.inner(args))
        return output

    variant = _variant(
        rule,
        forward=cheap_forward if rule.cheap else forward,
        setup_context=torch.autograd.Function.setup_context,
    )
    return variant if subclass_node(variant, Saving, {"apply": _apply_backward}) else rule


@functools.cache
def in_place(rule: type[Rule]) -> type[Rule]:
    """The rule writing its output over its input, for rules that do not save the input.

    A rule may have a `forward_` that does so in one pass.
    """
    assert not rule.keeps_input
    overwrite = getattr(rule, "forward_", None)

    @functools.wraps(rule.forward)
    def forward(input: Tensor, *args: Any) -> Any:
        if overwrite is not None and not dispatch_modes():  # a mode has to see what is written to
            return overwrite(input, *args)
        output = rule.forward(input, *args)
        value, *extra = output if isinstance(output, tuple) else (output,)
        input.copy_(value)
        return (input, *extra) if extra else input

    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.mark_dirty(inputs[0])
        rule.setup_context(ctx, inputs, output)

    variant = _variant(rule, forward=forward, setup_context=setup_context)
    variant.overwrites = rule
    return variant


def choose(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula, or its kernel where one exists, the backend allows it and no higher derivative is asked.

    While backward runs with `create_graph=True` the formula is taken: it is differentiable again.
    """
    if (
        torch.is_grad_enabled()
        or in_forward_mode()
        or _backend == "formula"
        or (not TRACES_LOOKUP and torch.compiler.is_dynamo_compiling())
    ):
        return formula
    return KERNELS.get(formula, formula)


def differentiated_again() -> bool:
    """Whether a running backward may itself be differentiated: in reverse (`create_graph=True`) or forward mode."""
    return torch.is_grad_enabled() or in_forward_mode()


@contextmanager
def _restore(previous: str) -> Iterator[None]:
    try:
        yield
    finally:
        _use(previous)


def _use(name: str) -> None:
    global _backend
    _backend = name
    node.enable(name == "auto")


def backend(name: str) -> Any:
    """Choose what runs in backward: "formula" (the readable formulas only) or "auto" (the fastest kernel there is).

    Takes effect at once and for the whole process; used as a context manager, the former choice returns at the end.
    Raises ValueError for another name.
    """
    if name not in ("formula", "auto"):
        raise ValueError(f'backend {name!r} is unknown: choose "formula" or "auto"')
    previous = _backend
    _use(name)
    return _restore(previous)


HELPERS: dict[str, Any] = {
    function.__name__: function
    for function in (
        Tensor, choose, constant, differentiated_again, like, not_differentiated, reduced, refuse_complex,
        refuse_negative_slope, torch, total, widened,
    )
}  # fmt: skip
"""What the derived source calls."""
