"""The base class of rules: deriving their methods, saving, and the choice between a formula and its kernel.

A rule is a class with a `forward` and formulas (`delta_input`, `grad_weight`, ...). They are plain functions, which the
base class makes static. From them it derives `setup_context` and `backward` of a `torch.autograd.Function` (derive.py).
These are separate static methods, as torch.compile and torch.func need them.

Error messages, the trace and the documentation read a rule's docstring by its paragraphs: first the forward formula,
second the shapes, third the backward formulas, last the source.
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
from .inner import keep_as_node, varied
from .overrides import refuse_dead_overrides
from .terms import constant, like, not_differentiated, reduced, refuse_complex, refuse_negative_slope, total, widened
from .torch_private import any_autocast, dispatch_modes, in_forward_mode, subclass_node

RULES_PACKAGE = "manual_backprop.rules."

RULES: dict[str, type[Rule]] = {}
"""The rules of this package by name. A rule written elsewhere works without an entry."""

KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Formula -> function that tries its kernels first, and runs the formula if none serves; filled by
`kernels/registry.py`."""


LOWER = {"cpu": "lower", "cuda": "lower"}
"""The autocast policy of matmuls and convolutions."""

UNGUARDED: dict[Callable[..., Any], Callable[..., Any]] = {}
"""The guarded backward of a rule -> the backward as written. The key is the function itself: an attribute on it would
be copied by whoever wraps it with functools.wraps."""

OVER: dict[Callable[..., Any], Callable[..., Any]] = {}
"""`forward` -> `forward_`, which computes the same and writes it over its input."""

TRACES_LOOKUP = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 15)
"""Whether torch.compile can look a static method up in a dict; older versions trace the formulas."""

_backend = "auto"


class Rule(torch.autograd.Function):
    """One operation's forward together with its explicit backward formulas."""

    generate_vmap_rule = True
    keeps_input = True
    """Whether `setup_context` saves the input. A rule that does not save it can overwrite it (`inplace=True`)."""

    cheap: ClassVar[bool] = False
    """Whether to recompute the output in the backward instead of saving it: running `forward` again takes one or two
    passes over memory and gives the same bits."""

    costly: ClassVar[bool] = False
    """Whether running `forward` again costs more than that; then it is done only where `mb.saving` was told to."""

    inner: ClassVar[Any] = None
    """For a rule whose second output is saved for the backward and hidden from users: a static method that takes the
    inputs and returns another rule and its arguments. The second output is that rule's output (inner.py)."""

    passes_on: ClassVar[int | None] = None
    """For a cheap rule whose output equals one of its arguments, copied: the position of that argument. To recompute
    the output, the argument itself is taken."""

    recomputed_result: ClassVar[int] = 0
    """Index of the output that `recipe` recomputes."""

    results: ClassVar[tuple[str, ...]] = ("output",)
    """The names of what `forward` returns. Only the output has a derivative, and every other result that a formula
    `<formula>_from_<result>` exists for."""

    upcast: ClassVar[bool] = False
    """Whether the formulas upcast 16-bit tensors to float32 and round once at the end, as ATen's kernels do."""

    elementwise: ClassVar[bool] = False
    """Whether each element of the output, before a loss's `reduction`, depends on one element of each input. Then
    forward mode is derived from the same formulas."""

    linear: ClassVar[tuple[str, ...]] = ()
    """The arguments in which the output is linear, taken together. Forward mode is derived from that."""

    multilinear: ClassVar[tuple[str, ...]] = ()
    """The arguments in which the output is linear, one at a time with the others fixed. Forward mode is derived from
    that."""

    operator: ClassVar[str] = ""
    """The operator of torch.ops.aten that the rule replaces; `forward` takes the operator's arguments. Inside
    `mb.explicit` the rule runs wherever torch calls that operator. Several names are separated by spaces;
    `name.overload` is one overload."""

    broadcasts: ClassVar[bool] = False
    """Whether the inputs are broadcast. Then each delta is summed over the axes along which its input was repeated."""

    takes_complex: ClassVar[bool] = False
    """Whether an elementwise rule takes complex tensors. Then its formulas multiply by the conjugate of the derivative,
    and forward mode by the derivative. `broadcasts` implies it."""

    real_only: ClassVar[bool] = False
    """Whether the backward refuses complex tensors, as torch's does."""

    in_place_slope: ClassVar[tuple[str, str] | None] = None
    """An argument that must not be negative after an in-place call, and the name of torch's function for the error."""

    derivatives: ClassVar[Callable[..., tuple]]
    """All formulas in one call: (delta, what they read, which are needed) -> a tuple, None where not needed."""

    source: ClassVar[str] = ""
    """The source that `engine.derive` generated from the formulas."""

    pure: ClassVar[bool]
    """Whether the result depends on the arguments alone. Then its calls may be recorded and run without Python
    (engine/node.py). True for the rules of this package. For your own rule, set it in the class; it is not
    inherited."""

    returns_views: ClassVar[bool] = False
    """Whether it returns views of its input, which no user sees. torch then requires tangents that are views, too."""

    returns_more: ClassVar[bool] = False
    """Whether it returns more than its output, such as a mask. torch then refuses to write over a view in place."""

    tangent_reads: ClassVar[tuple[int, ...] | None] = None
    """Indices of the outputs whose elements `tangent` reads; None for all. Of the others it gets shape and dtype only,
    so that they may be edited in place."""

    overwrites: ClassVar[type[Rule] | None] = None
    """For the in-place version of a rule: the rule itself."""

    variant_of: ClassVar[type[Rule] | None] = None
    """For a version of a rule that only runs it in another way: the rule itself."""

    autocast: ClassVar[dict[str, str]] = {}
    """Device type -> "lower" (bfloat16 or float16), "float32" or "promote" (the widest dtype among the arguments), as
    ATen's autocast_mode.h has it for torch's operator. Without an entry the dtypes stay as they are."""

    defaults: ClassVar[tuple] = ()
    """The default values of `forward`'s last arguments."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method):
                setattr(cls, name, staticmethod(method))
        if _declares(cls):
            derive(cls, HELPERS)
        refuse_dead_overrides(cls, Rule)
        # Function.apply calls inspect.signature at every call; with the signature cached a call costs half
        cls.forward.__signature__ = signature = inspect.signature(cls.forward)  # type: ignore[attr-defined]
        cls.defaults = tuple(p.default for p in signature.parameters.values() if p.default is not p.empty)
        cls.autocast_policy = staticmethod(_policies(cls.autocast))  # type: ignore[assignment]
        if "forward_" in vars(cls):
            OVER[cls.forward] = cls.forward_  # type: ignore[attr-defined]
        if "backward" in vars(cls):
            cls.backward = staticmethod(_guarded(cls.backward))  # type: ignore[method-assign]
            if cls.__module__.startswith(RULES_PACKAGE):
                RULES.setdefault(cls.__name__, cls)

    @staticmethod
    def autocast_policy(device: str) -> str | None:
        """`autocast` for one device type. A function, because torch.compile cannot read attributes of a Function."""
        return None

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Any) -> Any:
        """Forward mode: the derivative of the output along the inputs' tangents (None where an input has none)."""
        raise NotImplementedError("this rule has no forward-mode formula: define tangent(inputs, tangents, output)")

    @classmethod
    def recipe(cls, inputs: tuple, output: Any) -> tuple[Callable[..., Any], tuple] | None:
        """For a `cheap` rule: a function and its arguments that recompute the output; None to save this output."""
        return (cls.overwrites or cls).forward, inputs

    @staticmethod
    def hints(*args: Any) -> list[str]:
        """Advice for the error message where torch has refused the arguments: what to change in them."""
        return []


def _declares(rule: type[Rule]) -> bool:
    """Whether the class defines formulas, and neither it nor a parent has a backward written by hand."""
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
    """The paragraphs of a rule's docstring: forward formula, shapes, backward formulas, remarks, source."""
    return inspect.cleandoc(rule.__doc__ or "").split("\n\n")


def _guarded(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a rule's backward: without deltas it returns no gradients, and it runs with autocast off.

    So deltas keep the dtypes that the forward chose, also where `loss.backward()` is called inside an autocast region.
    """

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
    """What autograd's engine calls on a rule's node outside of transforms. Skips the guard of `_guarded` where it is
    not needed."""
    backward = ctx._forward_cls.backward
    if delta is not None and not any_autocast():
        backward = UNGUARDED.get(backward, backward)
    gradients: Any = (None,) * len(ctx.needs_input_grad)
    if delta is not None or others:
        gradients = backward(ctx, delta, *others)
    if ctx.recipe is not None:
        ctx.finished()
    return gradients


@functools.cache
def chosen(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula or its kernel, chosen at each call as in the forward, so that recomputing gives the same bits."""

    @functools.wraps(formula)
    def run(*args: Any) -> Any:
        return choose(formula)(*args)

    run.over = OVER.get(formula)  # type: ignore[attr-defined]
    return run


def offered(rule: type[Rule], args: tuple, output: Any) -> tuple[Callable[..., Any], tuple, int] | None:
    """How to recompute a rule's output: a function, its arguments, and the index of the output."""
    if rule.passes_on is not None and output.stride() == args[rule.passes_on].stride():
        return passed_on, (args[rule.passes_on],), 0
    recipe = rule.recipe(args, output)
    return None if recipe is None else (chosen(recipe[0]), recipe[1], rule.recomputed_result)


def _without_zeros(ctx: Any, output: Any) -> None:
    """Pass None where there is no delta. By default torch would make a delta of zeros for the rule."""
    if type(output) is not tuple:
        ctx.set_materialize_grads(False)


def owned(output: Any, args: tuple) -> Any:
    """The output, not as a view of an intermediate tensor, so that it can be edited in place as torch's output can.
    A view of one of the arguments stays a view."""
    if type(output) is tuple:
        return tuple([owned(part, args) for part in output])
    if isinstance(output, Tensor) and output._is_view():
        base = output._base
        if not any([isinstance(arg, Tensor) and (base is arg or base is arg._base) for arg in args]):
            return output.data
    return output


@functools.cache
def plain(rule: type[Rule]) -> type[Rule]:
    """The rule for calls outside of transforms: one `forward(ctx, ...)` that also saves.

    With a separate `setup_context`, Function.apply binds the arguments to a signature at every call. That costs more
    than the forward of many rules.
    """

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

    variant = varied(
        rule,
        forward=cheap_forward if rule.cheap else forward,
        setup_context=torch.autograd.Function.setup_context,
    )
    return variant if subclass_node(variant, Saving, {"apply": _apply_backward}) else rule


@functools.cache
def in_place(rule: type[Rule]) -> type[Rule]:
    """The in-place version of a rule that does not save its input: it writes the output over the input.

    A rule may have a `forward_` that does so in one pass.
    """
    assert not rule.keeps_input
    overwrite = getattr(rule, "forward_", None)

    @functools.wraps(rule.forward)
    def forward(input: Tensor, *args: Any) -> Any:
        if overwrite is not None and not dispatch_modes():  # a dispatch mode has to see the write
            return overwrite(input, *args)
        output = rule.forward(input, *args)
        value, *extra = output if isinstance(output, tuple) else (output,)
        input.copy_(value)
        return (input, *extra) if extra else input

    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.mark_dirty(inputs[0])
        rule.setup_context(ctx, inputs, output)

    variant = varied(rule, forward=forward, setup_context=setup_context)
    variant.overwrites = rule
    return variant


def choose(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula, or its kernel where one exists, the backend allows it and no higher derivative is needed.

    In a backward with `create_graph=True` the formula is chosen: it is differentiable again.
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
    """Choose what runs in the backward: "formula" (only the readable formulas) or "auto" (the fastest kernel there is).

    Takes effect at once and for the whole process. As a context manager it restores the previous choice at the end.
    Raises ValueError for another name.
    """
    if name not in ("formula", "auto"):
        raise ValueError(f'unknown backend. got: {name!r}. expected: "formula" or "auto"')
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
"""The names that the derived source may use."""
