"""Forward mode: adds a `jvp` to a rule, which calls the rule's `tangent`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .inner import varied
from .rule import Rule, _without_zeros, differentiated_again, owned
from .torch_private import in_forward_mode


class _Part:
    """The ctx as the rule sees it: with the tensors that the rule saved, without those saved for forward mode."""

    def __init__(self, ctx: Any) -> None:
        object.__setattr__(self, "ctx", ctx)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.ctx.own_saved = tensors

    @property
    def saved_tensors(self) -> tuple:
        return self.ctx.saved_tensors[: self.ctx.own_count]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ctx, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.ctx, name, value)


def differentiable(rule: type[Rule]) -> Callable[..., Any]:
    """A rule as a function for use in another rule's formula; it has a derivative if the formula is differentiated.

    For functions that torch itself does not differentiate: torch would treat their results as constants.
    """
    if not differentiated_again():
        return rule.forward
    return (forward_mode(rule) if in_forward_mode() else rule).apply


@functools.cache
def forward_mode(rule: type[Rule]) -> type[Rule]:
    """A copy of the rule that has a `jvp`. The rule itself has none, because torch.compile refuses such Functions."""

    reads = rule.tangent_reads

    @functools.wraps(rule.forward)
    def forward(*args: Any) -> Any:
        return owned(rule.forward(*args), args)

    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.own_saved = ()
        _without_zeros(ctx, output)
        rule.setup_context(_Part(ctx), inputs, output)
        own, ctx.own_saved = ctx.own_saved, None
        ctx.own_count = len(own)
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.is_tensor = tuple(isinstance(v, Tensor) for v in inputs)
        ctx.plain_inputs = tuple(None if isinstance(v, Tensor) else v for v in inputs)
        ctx.single_output = not isinstance(output, tuple)
        ctx.unread = {
            place: (v.shape, v.dtype, v.device)
            for place, v in enumerate(outputs)
            if isinstance(v, Tensor) and reads is not None and place not in reads
        }
        read = (v for place, v in enumerate(outputs) if place not in ctx.unread)
        saved = (*own, *(v for v in inputs if isinstance(v, Tensor)), *read)
        # Tensors that only the tangent reads may be edited before the backward, so they are not saved for it. Under
        # vmap both lists are the same: torch wraps the ctx there and remembers the batch axes of the last list only
        ctx.save_for_backward(*(own if isinstance(ctx, torch.autograd.function.FunctionCtx) else saved))
        ctx.save_for_forward(*saved)
        ctx.output_count = len(outputs)

    def backward(ctx: Any, *deltas: Any) -> Any:
        return rule.backward(_Part(ctx), *deltas)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        saved = list(ctx.saved_tensors[ctx.own_count :])
        inputs = tuple(
            saved.pop(0) if tensor else plain for tensor, plain in zip(ctx.is_tensor, ctx.plain_inputs, strict=True)
        )
        outputs = tuple(
            _stand_in(*ctx.unread[place]) if place in ctx.unread else saved.pop(0) for place in range(ctx.output_count)
        )
        moved = rule.tangent(inputs, tangents, outputs[0] if ctx.single_output else outputs)
        if rule.returns_views:
            return moved
        return tuple([_apart(t, tangents) for t in moved]) if isinstance(moved, tuple) else _apart(moved, tangents)

    return varied(rule, forward=forward, setup_context=setup_context, backward=backward, jvp=jvp)


def _apart(moved: Tensor | None, tangents: tuple) -> Tensor | None:
    """The output's tangent in its own memory: an in-place edit of the output must not change the input's tangent."""
    if moved is None:
        return None
    base = moved._base
    shared = any(
        [t is not None and (moved is t or (base is not None and (base is t or base is t._base))) for t in tangents]
    )
    return moved.clone() if shared else moved


def _stand_in(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty((), dtype=dtype, device=device).expand(shape)
