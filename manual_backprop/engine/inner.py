"""Saves an intermediate result of a rule as the output of another rule's node.

Example: cross-entropy saves log p, which depends on the logits. Where the backward is differentiated again, the delta
of log p has to reach the logits. It goes through a separate LogSoftmax node, which only that second backward visits, as
in torch. The node of the loss does not run again, and neither do the hooks on it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .rule import Rule


def varied(rule: type[Rule], **methods: Callable[..., Any]) -> type[Rule]:
    """A rule with other methods, which stands for the rule itself."""
    members = {name: staticmethod(method) for name, method in methods.items()}
    named = {"__doc__": rule.__doc__, "__module__": rule.__module__, "variant_of": rule.variant_of or rule}
    return type(rule.__name__, (rule,), {**members, **named})


def keep_as_node(ctx: Any, output: Tensor, rule: type[Rule], args: tuple) -> None:
    """Save `output`, which users cannot differentiate, as the output of `rule(*args)`."""
    ctx.mark_non_differentiable(output)
    if any([tensor is output for tensor in ctx.to_save]):
        with torch.enable_grad():
            own = _known(rule).apply(*args, output)
        ctx.to_save = tuple([own if tensor is output else tensor for tensor in ctx.to_save])


@contextmanager
def _without_last(ctx: Any) -> Iterator[None]:
    """The arguments as the rule knows them: without its output, which is the last one here."""
    needed = ctx.needs_input_grad
    ctx.needs_input_grad = needed[:-1]
    try:
        yield
    finally:
        ctx.needs_input_grad = needed


@functools.cache
def _known(rule: type[Rule]) -> type[Rule]:
    """The rule with its known output as one more argument: forward returns it and computes nothing."""

    def forward(ctx: Any, *args: Any) -> Tensor:
        output: Tensor = args[-1].data  # torch wants an output that is not the same tensor as an input
        ctx.set_materialize_grads(False)
        with _without_last(ctx):
            rule.setup_context(ctx, args[:-1], output)
        return output

    def backward(ctx: Any, delta: Tensor) -> tuple:
        with _without_last(ctx):
            found = rule.backward(ctx, delta)  # a tuple only where the rule has several arguments
        return *(found if isinstance(found, tuple) else (found,)), None

    setup_context = torch.autograd.Function.setup_context
    return varied(rule, forward=forward, setup_context=setup_context, backward=backward)
