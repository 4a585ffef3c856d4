"""Observing a model while it runs, without changing it: shared by audit, saving and trace."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .engine.torch_private import members, next_sequence_number, sequence_number, tree_map_only
from .errors import BadInput


def tensors(value: Any) -> list[Tensor]:
    """Every tensor inside nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        return [tensor for item in value for tensor in tensors(item)]
    return []


def differentiable(value: Any) -> list[Tensor]:
    """The tensors inside that require a gradient."""
    return [tensor for tensor in tensors(value) if tensor.requires_grad]


def leaves(value: Any) -> Any:
    """The same structure with every tensor replaced by a new leaf of equal values.

    A tensor that occurs twice becomes one leaf that occurs twice.
    """
    made: dict[int, Tensor] = {}

    def leaf(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        return made[id(tensor)]

    return tree_map_only(Tensor, leaf, value)


def graph(outputs: Iterable[Tensor]) -> list[Any]:
    """Every backward node that the outputs depend on, in the order of the forward, without AccumulateGrad nodes."""
    return [node for node in _reachable(outputs) if not is_leaf(node)]


def graph_leaves(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The leaf tensors that the outputs depend on and that require a gradient."""
    return [node.variable for node in _reachable(outputs) if is_leaf(node)]


def is_leaf(node: Any) -> bool:
    return type(node).__name__ == "AccumulateGrad"


def _reachable(outputs: Iterable[Tensor]) -> list[Any]:
    found: dict[Any, None] = {}
    stack = [output.grad_fn or torch.autograd.graph.get_gradient_edge(output).node for output in outputs]
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack += [parent for parent, _ in node.next_functions if parent is not None]
    return sorted(found, key=sequence_number)


@contextmanager
def watch_saved(note: Callable[[Tensor], object]) -> Iterator[None]:
    """Call `note` with every tensor that is saved for a backward. Does not change what the code inside computes.

    Where a node saves its own output, a hook that returns the tensor itself makes a reference cycle: the tensor refers
    to the node and the node to the tensor. Then only the garbage collector would free the graph. But while the forward
    runs, the hook must return the tensor itself, since recomputation looks it up. So the saved tensors are replaced by
    detached ones at the end.
    """
    packed: list[list[Tensor]] = []

    def pack(tensor: Tensor) -> list[Tensor]:
        note(tensor)
        packed.append([tensor])
        return packed[-1]

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held[0]):
            yield
    finally:
        for held in packed:
            held[0] = held[0].detach()


Call = tuple[str, int]
"""A module's name, and which of its calls this is: 1, 2, ..."""

OUTSIDE: Call = ("", 0)


class Watch:
    """A context manager that knows which module runs: hooks on every module keep a stack of the forwards in progress.

    The hooks run before all other pre-forward hooks and after all other forward hooks. They call
    `enter(module, call, inputs)` and `leave(module, call, inputs, output)`, where `inputs` is (args, kwargs).
    """

    def __init__(
        self,
        model: Any,
        enter: Callable[[torch.nn.Module, Call, Any], object] | None = None,
        leave: Callable[[torch.nn.Module, Call, Any, Any], object] | None = None,
    ) -> None:
        named = model.named_modules() if isinstance(model, torch.nn.Module) else ()
        self.names = {module: name for name, module in named if not isinstance(module, torch.jit.ScriptModule)}
        self.stack: list[Call] = [OUTSIDE]
        self._calls: Counter[str] = Counter()
        self._enter, self._leave, self._handles = enter, leave, ExitStack()
        self._starts: list[int] = []
        self._owners: list[Call] = []

    @property
    def running(self) -> str:
        """The name of the innermost module in forward; "" for the model itself and outside of it."""
        return self.stack[-1][0]

    def owner(self, node: Any) -> Call:
        """The call of the innermost module whose forward made a backward node."""
        return self._owners[bisect_right(self._starts, sequence_number(node)) - 1]

    def __enter__(self) -> Watch:
        self._mark()
        for module in self.names:
            before = module.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True)
            after = module.register_forward_hook(self._after, with_kwargs=True)
            self._handles.callback(before.remove)
            self._handles.callback(after.remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self._handles.close()

    def _mark(self) -> None:
        # a node takes the next sequence number of its thread when it is made
        self._starts.append(next_sequence_number())
        self._owners.append(self.stack[-1])

    def _before(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        name = self.names[module]
        self._calls[name] += 1
        self.stack.append((name, self._calls[name]))
        self._mark()
        if self._enter is not None:
            self._enter(module, self.stack[-1], (args, kwargs))

    def _after(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._leave is not None:
            self._leave(module, self.stack[-1], (args, kwargs), output)
        self.stack.pop()
        self._mark()


@contextmanager
def unchanged(model: Any, *values: Any) -> Iterator[None]:
    """Turn gradients on, and restore everything else at the end: buffers, attributes, training flags, random states.

    Inside, the model's buffers are replaced by copies. The originals are not written to, so a graph that was built
    before stays valid. Raises BadInput for a lazy model, whose first batch changes it permanently.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    state = [t for module in modules for t in (*module.parameters(recurse=False), *module.buffers(recurse=False))]
    if any(is_lazy(tensor) for tensor in state):
        raise BadInput("the model has lazy layers without weights yet: run one batch through it first")
    devices = sorted({tensor.get_device() for tensor in (*state, *tensors(values)) if tensor.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        copies: dict[Any, Tensor] = {}
        for module in modules:
            stack.callback(_restore(module, copies))
        yield


def _restore(module: torch.nn.Module, copies: dict[Any, Tensor]) -> Callable[[], None]:
    """Replace a module's buffers by copies; returns a function that restores its own buffers and its attributes."""
    own = dict(module.named_buffers(recurse=False, remove_duplicate=False))
    for buffer in own.values():
        if buffer not in copies:
            copies[buffer] = buffer.detach().clone()
    if isinstance(module, torch.jit.ScriptModule):  # its buffers are in C++ and cannot be replaced

        def write_back() -> None:
            for buffer in own.values():
                buffer.copy_(copies[buffer])

        return write_back
    attributes = dict(vars(module))
    held = members(module)
    content = [dict(part) for part in held]
    _, buffers, _ = held
    buffers.update({name: copies[buffer] for name, buffer in own.items()})

    def restore() -> None:
        vars(module).clear()
        vars(module).update(attributes)
        for part, before in zip(held, content, strict=True):
            part.clear()
            part.update(before)

    return restore
