"""The rules under the autograd engine: what they return, call, save and leave unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from ..._nodes import is_view
from ..._observe import watch_saved
from ...engine import node
from ...engine.torch_private import TorchDispatchMode, engine_runs, function_of, input_metadata
from ...rules import backend
from ..compare import same
from ..nodes import graph, is_rule, is_written
from ..subject import CheckFailed, NotApplicable, Subject, delta_for, differentiable, gradients


def _odd_deltas(delta: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name of the layout, the delta in that layout, the same values in the delta's own or contiguous layout)"""
    one = delta.reshape(-1)[:1].reshape(()) if delta.numel() else delta.new_zeros(())
    expanded = one.expand(delta.shape)
    yield "expanded (stride 0)", expanded, expanded.contiguous()
    if delta.dim() >= 2:
        yield "transposed", delta.transpose(0, -1).contiguous().transpose(0, -1), delta
    if delta.dim() >= 1:
        cut = torch.cat([torch.full_like(delta, 7.0), delta, delta], -1)
        yield "cut out of a cat", cut[..., delta.shape[-1] : 2 * delta.shape[-1]], delta
    if delta.dim() in (4, 5):
        memory_format = torch.channels_last if delta.dim() == 4 else torch.channels_last_3d
        yield "channels_last", delta.to(memory_format=memory_format), delta


def deltas(subject: Subject) -> str:
    """Deltas with unusual strides; the exact shape and dtype of everything that a rule's backward returns.

    The engine silently sums and casts gradients of a wrong shape or dtype. So the results of each backward are compared
    before the engine sees them. Tolerance 1e-12 (float64): a matmul may sum strided operands in another order.
    """
    kinds = 0
    for dtype in (torch.float64, torch.float32):
        problem = subject.problem(dtype)
        leaves = problem.leaves()
        outputs = [o for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
        if not outputs:
            raise NotApplicable("no output depends on a differentiable input")
        plain = [delta_for(o) for o in outputs]
        with recorded(graph(*outputs)) as returned:
            torch.autograd.grad(outputs, leaves, plain, retain_graph=True, allow_unused=True)
        wrong = [mismatch for node, values in returned for mismatch in _mismatches(node, values)]
        if wrong:
            raise CheckFailed("; ".join(wrong))
        if dtype == torch.float32:
            continue
        for how, odd, same_numbers in _odd_deltas(plain[0]):
            expected = torch.autograd.grad(
                outputs, leaves, [same_numbers, *plain[1:]], retain_graph=True, allow_unused=True
            )
            kept = odd.clone()
            found = torch.autograd.grad(outputs, leaves, [odd, *plain[1:]], retain_graph=True, allow_unused=True)
            for name, a, b in zip(problem.names, found, expected, strict=True):
                same(f"gradient by {name} for a delta {how}", a, b, rtol=1e-12)
            same(f"the delta {how} after backward", odd, kept)
            kinds += 1
    return f"{kinds} layouts"


def native(subject: Subject) -> str:
    """The native node gives the same bits as the Python node: outputs, gradients and random numbers.

    The first run uses the Python node. Then the layer runs until its calls are recorded in the native node, and once
    more. Does not apply without a C++ compiler.
    """
    if not node.wait():
        raise NotApplicable("the native node is not available here")
    if subject.in_place:
        raise NotApplicable("it writes over its input")
    problem = subject.problem(torch.float32)
    leaves = problem.leaves()
    node.enable(False)
    try:
        expected = gradients(problem.ours, leaves)
    finally:
        node.enable(True)
    for _ in range(node.CALLS_IN_PYTHON + 3):
        outputs = differentiable(problem.ours(*leaves))
        found = gradients(problem.ours, leaves)
        for i, (a, b) in enumerate(zip(found[0], expected[0], strict=True)):
            same(f"output {i} of the native node", a, b)
        for name, gradient, pythons in zip(problem.names, found[1], expected[1], strict=True):
            same(f"the native node's gradient by {name}", gradient, pythons)
    nodes = [n for n in graph(*outputs) if is_rule(n)]
    return f"{sum(isinstance(n, node.module.RuleNode) for n in nodes)} of {len(nodes)} nodes native"


@contextmanager
def recorded(nodes: list[Any]) -> Iterator[list[tuple[Any, tuple]]]:
    """(node, gradients): what each backward in Python returns, before the engine validates, sums or casts it."""
    returned: list[tuple[Any, tuple]] = []

    def recording(backward: Any) -> Any:
        def run(ctx: Any, *deltas: Any) -> Any:
            values = backward(ctx, *deltas)
            returned.append((ctx, values if isinstance(values, tuple) else (values,)))
            return values

        return staticmethod(run)

    with ExitStack() as stack:
        for function in {function_of(node) for node in nodes if is_written(node)}:
            stack.enter_context(patch.object(function, "backward", recording(function.backward)))
        yield returned


def _mismatches(node: Any, returned: tuple) -> list[str]:
    """Messages for gradients of a wrong shape or dtype.

    Arguments that need a gradient and edges of the graph are in the same order; constants have neither.
    """
    asked = [value for value, needed in zip(returned, node.needs_input_grad, strict=False) if needed]
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    wrong = []
    for i, ((parent, slot), value) in enumerate(zip(edges, asked, strict=True)):
        if value is None:
            continue
        expected = input_metadata(parent)[slot]
        if tuple(value.shape) != tuple(expected.shape) or value.dtype != expected.dtype:
            wrong.append(
                f"{type(node).__name__} returned as its gradient {i} {tuple(value.shape)} {value.dtype}, "
                f"expected {tuple(expected.shape)} {expected.dtype}"
            )
    return wrong


class _Watch(TorchDispatchMode):
    """Records every ATen operator called that is itself a backward."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if "_backward" in func.name():
            self.called.add(func.name())
        return func(*args, **(kwargs or {}))


def explicit(subject: Subject) -> str:
    """In formula mode every backward node belongs to a rule or to a user's Function, and none calls autograd or an ATen
    backward operator."""
    problem = subject.problem(torch.float64)
    leaves = problem.leaves()
    with backend("formula"):
        raw = [leaf.clone() if subject.in_place else leaf for leaf in leaves]
        outputs = [o for o in differentiable(problem.ours(*raw)) if o.requires_grad]
        nodes = [n for n in graph(*outputs) if type(n).__name__ != "AccumulateGrad" and not is_view(n)]
        foreign = sorted({type(n).__name__ for n in nodes if not is_written(n)})
        if foreign:
            raise CheckFailed(f"backward nodes that are autograd's, not a rule's: {', '.join(foreign)}")
        if outputs:
            with _Watch() as watch, engine_runs() as runs:
                torch.autograd.grad(outputs, leaves, [delta_for(o) for o in outputs], allow_unused=True)
            called = [f"{name}, an ATen operator that is a backward itself" for name in sorted(watch.called)]
            called += ["the autograd engine"] * (len(runs) - 1)
            if called:
                raise CheckFailed(f"the backward is not written out: it calls {'; '.join(called)}")
    others = sum(not is_rule(n) for n in nodes)
    return f"{len(nodes)} nodes, all rules" if not others else f"{len(nodes)} nodes, {others} of them a user's Function"


def frozen(subject: Subject) -> str:
    """With one argument frozen, the other gradients stay equal, no gradient is computed for it, and no more is saved.

    A torch.autograd.Function that is not a rule may compute gradients that are not needed: the report mentions it.
    """
    problem = subject.problem(torch.float64)
    _, full = gradients(problem.ours, problem.leaves())
    count = len(problem.tensors)
    if count < 2:
        raise NotApplicable("a single differentiable argument")
    all_saved = _saved_bytes(problem.ours, problem.leaves())
    wasteful: set[str] = set()
    for i in range(count):
        leaves = problem.leaves(frozen=[i])
        outputs = [o for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
        if not outputs:
            continue
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        with recorded(graph(*outputs)) as returned:
            found = torch.autograd.grad(outputs, wanted, [delta_for(o) for o in outputs], allow_unused=True)
        for ctx, values in returned:
            if any(v is not None and not needed for v, needed in zip(values, ctx.needs_input_grad, strict=False)):
                if not is_rule(ctx):
                    wasteful.add(f"; {type(ctx).__name__} computes gradients that are not needed")
                    continue
                raise CheckFailed(
                    f"{problem.names[i]} frozen: {type(ctx).__name__} computed a gradient that is not needed"
                )
        others = [j for j in range(count) if j != i]
        for j, value in zip(others, found, strict=True):
            same(f"{problem.names[i]} frozen: gradient by {problem.names[j]}", value, full[j], rtol=1e-12)
        saved = _saved_bytes(problem.ours, leaves)
        if saved > all_saved:
            raise CheckFailed(f"{problem.names[i]} frozen: {saved} bytes saved, {all_saved} when nothing is frozen")
    return f"{count} arguments frozen in turn" + "".join(sorted(wasteful))


def _saved_bytes(run: Any, leaves: list[Tensor]) -> int:
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> None:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()

    with watch_saved(note):
        output = run(*leaves)
    del output
    return sum(storages.values())


def twice(subject: Subject) -> str:
    """Two backwards through a retained graph give equal gradients; two losses on one output give their sum."""
    problem = subject.problem(torch.float64)
    leaves = problem.leaves()
    outputs = [o for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
    if not outputs:
        raise NotApplicable("no output depends on a differentiable input")
    given = [delta_for(o) for o in outputs]
    first = torch.autograd.grad(outputs, leaves, given, retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(outputs, leaves, given, retain_graph=True, allow_unused=True)
    for name, a, b in zip(problem.names, second, first, strict=True):
        same(f"second backward: gradient by {name}", a, b)
    weighted = [(o * d.conj()).sum().real for o, d in zip(outputs, given, strict=True)]
    losses = torch.stack(weighted).sum() + torch.stack([3 * w for w in weighted]).sum()
    both = torch.autograd.grad(losses, leaves, allow_unused=True)
    for name, a, b in zip(problem.names, both, first, strict=True):
        same(f"two losses: gradient by {name}", a, None if b is None else 4 * b, rtol=1e-12)
    return "same gradients"


def checkpoint(subject: Subject) -> str:
    """Non-reentrant activation checkpointing gives the same gradients."""
    problem = subject.problem(torch.float64)
    _, expected = gradients(problem.ours, problem.leaves())

    def run(*tensors: Tensor) -> Any:
        return torch_checkpoint(problem.ours, *tensors, use_reentrant=False)

    _, found = gradients(run, problem.leaves())
    for name, a, b in zip(problem.names, found, expected, strict=True):
        same(f"checkpoint: gradient by {name}", a, b)
    return "same gradients"
