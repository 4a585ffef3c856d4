"""Recomputes tensors in the backward instead of saving them, by recipes that the graph's nodes hold.

The node of a cheap rule has a recipe for its output: a function, and where to find each of its arguments. A rule that
would save a large tensor looks at the node that computed it. If that node has a recipe, the rule saves only an `Ask`,
and asks the node for the tensor in the backward. There is no global registry: everything is freed with the graph.

Why this is sound:
- The node that is asked comes before the asking node in the forward, so its own backward runs later in the pass: what
  it saved is still there. If its backward runs in a pass that leaves out the asking node, it keeps its output for that
  node (`Recipe.kept`).
- Every tensor that a recipe reads is a copy, or a saved tensor of a node, whose version torch checks when it is
  unpacked. Parameters are copied, because an optimizer or `.data` may change them before the backward.
- In place of the tensor the rule saves a witness: an empty tensor that shares its version counter. So an in-place edit
  raises torch's own error, as if the tensor had been saved.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine import node as engine
from ..engine.torch_private import current_graph_task, end_of_pass

DEPTH = 4
"""The most rules that run again to recompute one tensor."""

FUSED: dict[tuple[Callable[..., Any], Callable[..., Any]], Callable[..., Any]] = {}
"""Two functions of recipes, (f, g) -> a function that computes f(g(...)) in one pass. It is used where g's output is
needed for nothing else; filled by `manual_backprop.kernels`."""


def passed_on(value: Tensor) -> Tensor:
    """The recipe's function for a node whose output is a copy of its argument."""
    return value


class Saved(int):
    """An argument of a recipe: the index of one of the node's saved tensors."""


class Recipe:
    """How to recompute the output of a node: `function(*arguments)`, or, if function is None, its only argument.

    Each argument is `Saved`, an `Ask` to another node, or a plain value.
    """

    __slots__ = (
        "__weakref__", "address", "arguments", "asks", "cached", "depth", "function", "index", "kept", "output", "own",
        "version",
    )  # fmt: skip

    def __init__(
        self, output: Tensor, index: int, version: int, function: Callable[..., Any] | None, arguments: list, depth: int
    ) -> None:
        self.function, self.arguments, self.depth = function, arguments, depth
        self.index, self.version, self.address = index, version, output.data_ptr()
        self.output = weakref.ref(output)
        self.asks: list[weakref.ref[Ask]] = []
        self.own = False  # whether the node itself needs the output in its backward
        self.cached: tuple[int, Tensor] | None = None  # a backward pass, and the output, held until it ends
        self.kept: Tensor | None = None  # the output, for a later backward pass, after the node's own has run
        for argument in arguments:
            if isinstance(argument, Ask):
                argument.recipe = weakref.ref(self)

    def original(self) -> Tensor | None:
        """The output itself, if it is still alive and unchanged."""
        output = self.output()
        return output if output is not None and self.describes(output) else None

    def describes(self, output: Tensor) -> bool:
        """Whether the tensor is still what the node computed: not edited in place, and its `.data` not replaced."""
        return output._version == self.version and output.data_ptr() == self.address

    def waiting(self, task: int) -> bool:
        """Whether an `Ask` may still come, in this backward pass or in a later one."""
        return any([ask.waits(task) for reference in self.asks if (ask := reference()) is not None])


class Ask:
    """Stands for a tensor that is not saved: the node that computed it recomputes it.

    view: the strides, shape and offset, if the tensor is a view of the node's output. task: the backward pass in which
    it last asked. recipe: the recipe that it is an argument of; None if it replaces a saved tensor.
    """

    __slots__ = ("__weakref__", "depth", "node", "recipe", "task", "view")

    def __init__(self, node: Any, view: tuple | None) -> None:
        self.node, self.view, self.task = node, view, -1
        self.recipe: weakref.ref[Recipe] | None = None
        self.depth: int = node.recipe.depth
        node.recipe.asks.append(weakref.ref(self))

    @property
    def saved(self) -> bool:
        """Whether the node has saved its output, so that nothing is recomputed."""
        return self.node.recipe.function is None

    def tensor(self) -> Tensor:
        """The tensor, recomputed."""
        task = current_graph_task()
        self.task = task
        output = output_of(self.node, task)
        if self.view is None:
            return output
        strides, size, stride, offset = self.view
        if output.stride() != strides:
            output = torch.empty_strided(output.shape, strides, dtype=output.dtype, device=output.device).copy_(output)
        return output.as_strided(size, stride, output.storage_offset() + offset)

    def waits(self, task: int) -> bool:
        """Whether it may still ask, in this backward pass or in a later one."""
        if self.task == task:
            return False
        recipe = None if self.recipe is None else self.recipe()
        return recipe is None or recipe.own or recipe.waiting(task)

    def skip(self, task: int) -> None:
        """The tensor is not needed in this backward pass; neither are the tensors that it would be recomputed from."""
        self.task = task
        for argument in self.node.recipe.arguments:
            if isinstance(argument, Ask):
                argument.skip(task)


class NativeAsk(Ask):
    """An `Ask` to a native node (engine/native/recompute.h)."""

    __slots__ = ("_saved", "native")

    def __init__(self, native: Any) -> None:
        self.native, self.node, self.task, self.recipe = native, None, -1, None
        self.view = ()  # not None, so that `_in_one_pass` leaves it alone
        self.depth, recomputed = engine.module.depth(native)
        self._saved = not recomputed

    @property
    def saved(self) -> bool:
        return self._saved

    def tensor(self) -> Tensor:
        found: Tensor = engine.module.asked(self.native)
        return found

    def skip(self, task: int) -> None:
        engine.module.skipped(self.native)


def ask_for(tensor: Tensor) -> Ask | None:
    """An `Ask` for a tensor whose node can recompute it, or for a view of one; None for any other."""
    node = tensor.grad_fn
    if node is None:
        return None
    if engine.module is not None and (native := engine.module.ask(tensor)) is not None:
        return NativeAsk(native)
    output = tensor
    if tensor._is_view():
        output = tensor._base  # type: ignore[assignment]
        if output.grad_fn is None or not _leads_to(node, output.grad_fn):
            return None
        node = output.grad_fn
    recipe = getattr(node, "recipe", None)
    if not isinstance(recipe, Recipe) or recipe.depth >= DEPTH:
        return None
    if recipe.index != output.output_nr or not recipe.describes(output):
        return None
    if output is tensor:
        if recipe.function is passed_on and type(inner := recipe.arguments[0]) is Ask and inner.view is None:
            return Ask(inner.node, None)
        return Ask(node, None)
    offset = tensor.storage_offset() - output.storage_offset()
    return Ask(node, (output.stride(), tensor.shape, tensor.stride(), offset))


def _leads_to(node: Any, wanted: Any) -> bool:
    """Whether a view's gradient goes to the node of its base. It does not for a view made under no_grad."""
    for _ in range(DEPTH):
        if len(node.next_functions) != 1:
            return False
        node = node.next_functions[0][0]
        if node is wanted or node is None:
            return node is not None
    return False


def output_of(node: Any, task: int) -> Tensor:
    """The output of a node that has a recipe: the tensor itself if it is still alive, else recomputed."""
    recipe: Recipe = node.recipe
    again = torch.is_grad_enabled()  # this backward is itself differentiated
    found = recipe.original()
    if found is None and recipe.cached is not None and recipe.cached[0] == task:
        return recipe.cached[1]
    if found is None and not again:
        found = recipe.kept
    if found is not None:
        for argument in recipe.arguments:
            if isinstance(argument, Ask):
                argument.skip(task)
        return found
    value = _computed(recipe, _arguments(node, task)) if again else _in_one_pass(node, task)
    if task != -1 and (recipe.own or recipe.waiting(task)):
        recipe.cached = task, value
        end_of_pass(functools.partial(_forget, recipe, task))
    return value


def _forget(recipe: Recipe, task: int) -> None:
    if recipe.cached is not None and recipe.cached[0] == task:
        recipe.cached = None


def _arguments(node: Any, task: int, begin: int = 0) -> list[Any]:
    arguments = node.recipe.arguments[begin:]
    saved = node.shared(task) if any([isinstance(a, Saved) for a in arguments]) else ()
    return [saved[a] if isinstance(a, Saved) else a.tensor() if isinstance(a, Ask) else a for a in arguments]


def _computed(recipe: Recipe, arguments: list[Any]) -> Tensor:
    return _first(arguments[0] if recipe.function is None else recipe.function(*arguments))


def _in_one_pass(node: Any, task: int) -> Tensor:
    recipe: Recipe = node.recipe
    first = recipe.arguments[0]
    function = recipe.function
    if function is None or not isinstance(first, Ask) or first.view is not None or not _for_this_alone(first, task):
        return _computed(recipe, _arguments(node, task))
    before: Recipe = first.node.recipe
    first.task = task
    given = _arguments(first.node, task)
    return in_one_pass(function, (None, *_arguments(node, task, 1)), before.function, given)


def in_one_pass(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    before: Callable[..., Any] | None,
    given: Sequence[Any] | None,
) -> Tensor:
    """function(before(*given), *arguments[1:]), or function(*arguments) if `before` is None.

    The result of `before` is needed for nothing else. So both run as one fused function if there is one, or the second
    writes over the result of the first.
    """
    if before is None or given is None:
        return _first(function(*arguments))
    formulas: Any = tuple([getattr(f, "__wrapped__", f) for f in (function, before)])
    if (fused := FUSED.get(formulas)) is not None:
        found: Tensor = fused(*given, *arguments[1:])
        return found
    value = _first(before(*given))
    over = getattr(function, "over", None)
    run = function if over is None or _shares_memory(value, given) else over
    return _first(run(value, *arguments[1:]))


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


def _for_this_alone(ask: Ask, task: int) -> bool:
    """Whether the other node's output has to be recomputed and nothing else needs it."""
    recipe: Recipe = ask.node.recipe
    if ask.saved or recipe.own or recipe.original() is not None or recipe.kept is not None:
        return False
    if recipe.cached is not None and recipe.cached[0] == task:
        return False
    return not any([o is not ask and o.waits(task) for reference in recipe.asks if (o := reference()) is not None])


def _shares_memory(tensor: Tensor, given: Sequence[Any]) -> bool:
    plain = (Tensor, torch.nn.Parameter)
    others = [other for other in given if isinstance(other, Tensor)]
    if type(tensor) is not Tensor or any([type(other) not in plain for other in others]):
        return True
    address = tensor.untyped_storage().data_ptr()
    return any([other.untyped_storage().data_ptr() == address for other in others])


class Saving:
    """Mixin for nodes: `saved_tensors` gives what the rule saved, also where something else is kept instead.

    plan     for each tensor that the rule saved: None (saved as it is), an `Ask`, `OWN`, or a compressed tensor's code
    nothing  what the rule saved, if there is no tensor in it: it may be read after the backward has run, too
    """

    plan: list | None = None
    nothing: tuple | None = None
    recipe: Recipe | None = None
    unpacked: tuple[int, list] | None = None

    @property
    def saved_tensors(self) -> tuple:
        if self.nothing is not None:
            return self.nothing
        if self.recipe is None and self.plan is None:
            return super().saved_tensors  # type: ignore[misc]
        task = current_graph_task()
        later = self._asked_later(task)
        saved = self.shared(task) if later else self._unpack(task)
        if self.plan is not None and OWN in self.plan:
            self.unpacked = task, saved  # for the arguments of the recipe
            saved[self.plan.index(OWN)] = output_of(self, task)
        if not later:
            self.unpacked = None
        return tuple(saved)

    def _asked_later(self, task: int) -> bool:
        """Whether a node that this backward pass leaves out may ask for the output in a later pass."""
        recipe = self.recipe
        if recipe is None or recipe.kept is not None or recipe.function is None or task == -1:
            return False
        return recipe.waiting(task)

    def shared(self, task: int) -> list:
        """The saved tensors, without the node's own output, for a node that asks. They are held for this node's own
        backward, because torch's checkpoint lets each saved tensor be unpacked only once in a backward pass."""
        saved = self._unpack(task)
        if self.unpacked is None and task != -1:
            self.unpacked = task, saved
            end_of_pass(self._release)
        return saved

    def _unpack(self, task: int) -> list:
        if self.unpacked is not None and self.unpacked[0] == task:
            return self.unpacked[1]
        self.unpacked = None
        kept = list(super().saved_tensors)  # type: ignore[misc]
        if self.plan is None:
            return kept
        found: list[Any] = []
        rest = iter(kept)
        for entry in self.plan:
            first = next(rest)  # the tensor, or its witness, unpacked so that torch checks its version
            if isinstance(entry, Ask):
                first = entry.tensor()
            elif entry is OWN:
                first = None
            elif entry is not None:
                if entry.kind != "bits" and torch.is_grad_enabled():
                    raise RuntimeError(
                        f"a backward with create_graph=True needs the exact saved tensors. got: a tensor rounded by "
                        f'mb.saving({entry.kind!r}). expected: a forward under mb.saving("exact")'
                    )
                first = entry.decode(*[next(rest) for _ in range(entry.parts)])
            found.append(first)
        return found

    def _release(self) -> None:
        self.unpacked = None

    def finished(self) -> None:
        """Called after the node's own backward, before what it saved is freed."""
        recipe = self.recipe
        if recipe is not None:
            recipe.cached = None
            task = current_graph_task()
            if self._asked_later(task):
                with torch.no_grad():
                    recipe.kept = output_of(self, task)
        self.unpacked = None


OWN = object()
"""In a plan: the node's own output, which its recipe recomputes."""
