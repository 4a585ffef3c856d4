"""From a checked call to a rule: autocast, inference, forward mode, transforms, in place, and detailed errors."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.fx import Proxy

from ..engine import node
from ..engine.forward_mode import forward_mode
from ..engine.rule import Rule, in_place, owned, plain
from ..engine.torch_private import (
    any_autocast,
    function_mode_at,
    function_modes,
    in_forward_mode,
    pop_function_mode,
    push_function_mode,
    transforms_active,
    unwrapped,
)  # fmt: skip
from ..rules.copying import Copy, Write
from ..rules.shape import Expand
from ._autocast import cast_arguments
from ._errors import EXPLAINED, explained
from ._named import names_of, rule_named


def call(rule: type[Rule], *args: Any, _cast: bool = True) -> Any:
    """Apply a rule, one of the package's or your own, to positional arguments, as torch would call its own function.

    Unlike `rule.apply`, it also handles autocast (`rule.autocast`), forward mode (`rule.tangent`) and inference.
    An error that torch raises in `rule.forward` keeps its type. Its message then also says what the call got and what
    the rule's docstring expects, with hints.
    """
    # one function for all of this: each extra call costs 4 us on a cold instruction cache
    if torch.compiler.is_compiling():  # checked first: a compiled graph must not depend on whether node.call is built
        pass
    elif rule.defaults and 0 < (missing := len(signature(rule.forward).parameters) - len(args)) <= len(rule.defaults):
        return call(rule, *args, *rule.defaults[-missing:], _cast=_cast)
    elif node.call is None:
        node.count()
    else:
        try:
            served = node.call(rule, args)
        except EXPLAINED as error:
            _explain(error, rule, args)
        if served is not NotImplemented:
            return served
    if depth := function_modes():
        mode = function_mode_at(depth - 1)
        if getattr(mode, "leads_to_rules", False):  # mb.explicit is off while a rule runs: it has nothing to replace
            pop_function_mode()
            try:
                return call(rule, *args, _cast=_cast)
            finally:
                push_function_mode(mode)
    for arg in args:
        if type(arg) is Proxy:  # a value of a torch.fx graph, used outside of tracing: record the call in that graph
            return arg.tracer.create_proxy("call_function", call_named, (*names_of(rule), *args), {})
    if _cast and (torch.compiler.is_compiling() or any_autocast()):
        return _under_autocast(rule, args)
    try:
        if in_forward_mode():
            return _unviewed(forward_mode(rule).apply(*args))
        if transforms_active():
            return _unviewed(rule.apply(*args))
        if not torch.is_grad_enabled():
            return owned(rule.forward(*args), args)
        return plain(rule).apply(*args)
    except EXPLAINED as error:
        _explain(error, rule, args)


def call_named(module: str, name: str, *args: Any) -> Any:
    """`call` of the rule of that name. In a graph of torch.fx it is one node, as a call of torch's is.

    With a node for the rule, that would come behind the call inside `graph.inserting_after(node)`, which puts each new
    node next to that one.
    """
    return call(rule_named(module, name), *args)


def _explain(error: Exception, rule: type[Rule], args: tuple) -> NoReturn:
    if type(error) not in EXPLAINED or getattr(error, "explained", False):
        raise error
    raise explained(error, rule, args) from error


def _unviewed(output: Any) -> Any:
    """Copies of outputs that are views: vmap returns views of intermediates, which cannot be edited in place."""
    if type(output) is tuple:
        return tuple([_unviewed(part) for part in output])
    return output.clone() if isinstance(output, Tensor) and unwrapped(output)._is_view() else output


def _under_autocast(rule: type[Rule], args: tuple) -> Any:
    for arg in args:
        if isinstance(arg, Tensor):
            device = arg.device.type
            if device != "meta" and torch.is_autocast_enabled(device):  # meta tensors have no autocast
                policy = rule.autocast_policy(device)
                if policy:
                    args = cast_arguments(policy, device, args)
                with torch.autocast(device, enabled=False):
                    return apply(rule, args)
            break
    return apply(rule, args)


def expand(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The input expanded to a shape, as an argument of a rule: a view that no user sees, by the rule `Expand`.

    Under transforms and in forward mode no Function may return a view: there torch's own expand is used.
    """
    if not torch.compiler.is_compiling() and (in_forward_mode() or transforms_active()):
        return input.expand(shape)
    return call(Expand, input, tuple(shape))


def call_in_place(rule: type[Rule], input: Tensor, *args: Any) -> Any:
    """Apply a rule and write its output over `input`, with torch's own errors for leaves, views and later edits."""
    if (
        torch.compiler.is_compiling()
        or transforms_active()
        or in_forward_mode()  # the tangent must be overwritten, too
    ):
        value, *extra = _listed(call(rule, input.clone(), *args))
        input.copy_(value)
        return (input, *extra) if extra else input
    recorded = torch.is_grad_enabled() and input.requires_grad
    refuse_leaf(input)  # a Function would raise only after it has written
    if not rule.keeps_input and not (rule.returns_more and recorded and input._is_view()):
        return call(in_place(rule), input, *args)
    kept = recorded or (torch.is_grad_enabled() and any([isinstance(a, Tensor) and a.requires_grad for a in args]))
    value, *extra = _listed(call(rule, call(Copy, input, None) if kept else input, *args))
    written = call(Write, input, value)
    return (written, *extra) if extra else written


def refuse_leaf(input: Tensor) -> None:
    """torch's error for an edit in place of a leaf or of a view of one, where gradients are recorded."""
    if not (torch.is_grad_enabled() and input.requires_grad):
        return
    base = input._base  # other bases without history are outputs of rules
    if input.is_leaf or (base is not None and base.is_leaf and base.requires_grad):
        leaf = "a leaf Variable" if input.is_leaf else "a view of a leaf Variable"
        raise RuntimeError(f"{leaf} that requires grad is being used in an in-place operation.")


def _listed(output: Any) -> tuple:
    return output if isinstance(output, tuple) else (output,)


def _distinct(args: tuple) -> list[Any]:
    """The arguments, with a view for each repetition of a tensor: torch.compile refuses one passed twice (x + x)."""
    distinct: list[Any] = []
    for arg in args:
        again = isinstance(arg, Tensor) and any(arg is other for other in distinct)
        distinct.append(arg.view_as(arg) if again else arg)
    return distinct


def apply(rule: type[Rule], args: tuple) -> Any:
    return rule.apply(*_distinct(args)) if torch.compiler.is_compiling() else call(rule, *args, _cast=False)
