"""The registry of kernels: which function may run in a formula's place, on which device, and when.

    @serves(Softmax.delta_input, on="cpu", when="float32, float64, bfloat16; output contiguous", upcasts=True)
    def softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
        if not (output.is_contiguous() and takes(delta, output)):
            return NotImplemented
        ...

A kernel has the signature of its formula and returns NotImplemented for arguments that it does not serve. Then the
kernel of the next device in `DEVICES` is tried, and at last the formula runs. `python -m manual_backprop.kernels` lists
all kernels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch

from ..engine import node
from ..engine.rule import KERNELS, OVER, RULES, choose
from ..engine.terms import in_opmath, rounds_once, widened
from ..memory.recompute import FUSED

Function = Callable[..., Any]

DEVICES = {"cuda": False, "cpu": True, "any": True}
"""Device -> whether its kernels are in use (for CUDA: once it is initialized), in the order in which they are tried.
"any" is for kernels made of torch operations, which run on every device and which torch.compile traces."""

SEVERAL = ("derivatives", "invrms")
"""Formulas whose results need not have the dtype of the first argument."""


class Kernel(NamedTuple):
    """One entry.

    run: the kernel; returns NotImplemented for arguments that it does not serve. when: what it serves, in words. name:
    where it is defined. upcasts: whether it reads bfloat16 and float16 itself, so that its caller need not upcast
    (`in_opmath`, `widened`). guarded: (run, what runs otherwise) -> one function, for a kernel that may fail.
    """

    formula: str
    device: str
    run: Function
    when: str
    name: str
    upcasts: bool = False
    guarded: Callable[[Function, Function], Function] | None = None


REGISTERED: dict[tuple[Function, ...], dict[str, Kernel]] = {}
"""A formula, or two that run as one -> device -> kernel."""


def serves(
    *formulas: Function, on: str, when: str, name: str = "", upcasts: bool = False,
    guarded: Callable[[Function, Function], Function] | None = None,
) -> Callable[[Function], Function]:  # fmt: skip
    """Register a kernel for each of the formulas on one device ("cpu", "cuda" or "any").

    when: which tensors it serves, in words. name: for the table, if not the function's own. upcasts, guarded: see
    `Kernel`. Raises ValueError for an unknown device or formula, and if the formula has a kernel on that device.
    """

    def register(run: Function) -> Function:
        for formula in formulas:
            _add((formula,), Kernel(_named(formula), on, run, when, name or _place(run), upcasts, guarded))
            if DEVICES[on]:
                _use(formula)
        return run

    return register


def serves_both(outer: Function, inner: Function, on: str, when: str) -> Callable[[Function], Function]:
    """Register a kernel for outer(inner(...)).

    It takes inner's arguments, then outer's without the first. inner must return a new tensor, not a view. The kernel
    runs where a tensor is recomputed and inner's result is needed for nothing else.
    """

    def register(run: Function) -> Function:
        label = f"{_named(outer)} of {_named(inner)}"
        _add((outer, inner), Kernel(label, on, run, when, _place(run)))
        count, over = len(inspect.signature(inner).parameters), OVER.get(outer, outer)

        def both(*args: Any) -> Any:
            first = choose(inner)
            found = NotImplemented if first is inner else run(*args)
            return over(first(*args[:count]), *args[count:]) if found is NotImplemented else found

        FUSED[outer, inner] = both
        return run

    return register


def activate(device: str) -> None:
    """Take the kernels for a device into use."""
    DEVICES[device] = True
    for formulas, kernels in REGISTERED.items():
        if len(formulas) == 1 and device in kernels:
            _use(*formulas)


def table() -> str:
    """All kernels as text: a line each, with formula, device, name and what it serves."""
    kernels = [kernel for by_device in REGISTERED.values() for kernel in by_device.values()]
    lines = [("formula", "device", "kernel", "serves")]
    lines += sorted((k.formula, k.device, k.name, k.when) for k in kernels)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    rows = ["  ".join([*(f"{cell:{n}}" for cell, n in zip(line, widths, strict=False)), line[-1]]) for line in lines]
    return "\n".join([rows[0], "-" * 120, *rows[1:]])


def _add(formulas: tuple[Function, ...], kernel: Kernel) -> None:
    if kernel.device not in DEVICES:
        raise ValueError(f"unknown device. got: {kernel.device!r}. expected: {', '.join(DEVICES)}")
    if not kernel.when.strip():
        raise ValueError(f"{kernel.name} does not say when it serves {kernel.formula}. got: when={kernel.when!r}")
    kernels = REGISTERED.setdefault(formulas, {})
    if (other := kernels.get(kernel.device)) is not None:
        raise ValueError(
            f"{kernel.formula} has a kernel on {kernel.device!r} already. got: {kernel.name}. "
            f"expected: {other.name} alone"
        )
    kernels[kernel.device] = kernel


def _named(formula: Function) -> str:
    """A formula's name. Raises ValueError if it is not a function of one of this package's rules."""
    name = getattr(formula, "__qualname__", repr(formula))
    rule, _, attribute = name.partition(".")
    if getattr(RULES.get(rule), attribute, None) is not formula:
        raise ValueError(f"a kernel is for a formula. got: {name}. expected: a function of a rule in rules.RULES")
    return name


def _place(run: Function) -> str:
    return f"{run.__module__.rpartition('kernels.')[2]}.{run.__qualname__}"


def _use(formula: Function) -> None:
    """Let `choose` find the formula's kernels for devices in use."""
    KERNELS[formula] = chain(formula, [device for device, used in DEVICES.items() if used])
    node.forget()


def chain(formula: Function, devices: Collection[str]) -> Function:
    """A function with the formula's signature that tries the formula's kernels for these devices in turn, and then runs
    the formula."""
    run, upcasts = formula, False
    for device in reversed(DEVICES):
        kernel = REGISTERED[formula,].get(device) if device in devices else None
        if kernel is None:
            continue
        if kernel.upcasts and not upcasts:  # what runs after this kernel needs its arguments upcast to float32
            run, upcasts = functools.partial(widened if formula.__name__ in SEVERAL else in_opmath, run), True
        if upcasts > kernel.upcasts:
            raise ValueError(f"{kernel.name} has to read 16 bits as they are, as {kernel.formula}'s other kernels do")
        run = (kernel.guarded or FIRST[device])(kernel.run, run)
        functools.update_wrapper(run, formula)
    return rounds_once(run) if upcasts else run


def _not_traced(run: Function, otherwise: Function) -> Function:
    """Try a kernel, else call `otherwise`; under torch.compile always call `otherwise`."""

    def first(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return otherwise(*args)
        found = run(*args)
        return otherwise(*args) if found is NotImplemented else found

    return first


def _traced(run: Function, otherwise: Function) -> Function:
    """Try a kernel, else call `otherwise`."""

    def first(*args: Any) -> Any:
        found = run(*args)
        return otherwise(*args) if found is NotImplemented else found

    return first


FIRST = {"cuda": _not_traced, "cpu": _not_traced, "any": _traced}
"""Device -> function that combines a kernel with what runs otherwise."""
