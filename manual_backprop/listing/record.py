"""Records one training step: the forward while it runs, then the backward along its graph, node by node.

In the forward each call of a rule is one line, and a TorchDispatchMode records what torch computes between them. In the
backward each rule's node runs the rule's own `backward`, whose formulas are recorded (proxies.py), and each view's node
runs a formula of views.py. Where a value has several readers, their deltas are summed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .._observe import Watch, graph, is_leaf
from ..engine import node as native
from ..engine.rule import Rule, choose, plain
from ..engine.torch_private import any_autocast, in_forward_mode, transforms_active
from ..errors import BadInput
from ..rules.copying import Write
from ..rules.pooling import MaxPool
from ..rules.reduction import Cat
from ..trace import ACTIVATION, WEIGHTED_INPUT
from . import roles
from .proxies import Proxies
from .recording import Arrived, Call, Region, leads_to, part_of_graph, refuse_autograd, unguarded
from .spelling import Functions, Operators
from .tape import Operand, Part, Tape, Value, key_of, writable
from .views import undone


class Recorder:
    """Runs a model and its loss, and records them. `level`: "formulas", "kernels" or "torch" (proxies.py)."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.tape = Tape()
        self.operators = Operators(self.tape)
        self.functions = Functions(self.tape)
        self.proxies = Proxies(self.tape, level, self.quiet, choose)
        self.calls: dict[Any, Call] = {}
        self.regions = [Region("", object, -1)]
        self.stack = [0]
        self.shared: set[Value] = set()
        """Values that were copied into another tensor: they stand for that memory, too."""
        self.numbers: dict[Any, int] = {}
        """The number of the region of each call of a module."""

    # switching recording off, and recording rules

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """What runs inside is not recorded."""
        before, self.tape.paused = self.tape.paused, True
        self.operators.paused += 1
        try:
            yield
        finally:
            self.tape.paused = before
            self.operators.paused -= 1

    def rule_called(self, rule: type[Rule], args: tuple) -> Any:
        """Run and record a call of a rule in Python, in place of the native node."""
        if any_autocast() or in_forward_mode() or transforms_active():
            return NotImplemented
        base = rule.overwrites or rule
        if (rule.overwrites is not None or base is Write) and part_of_graph(args):
            output = args[1] if base is Write else self.rule_called(base, args)  # the program computes a new tensor
            self.tape.stale.add(key_of(args[0])[0])
            return output
        if self.level != "kernels" and base is MaxPool:  # `winner` saves memory, but its formulas are longer to read
            args = tuple("indices" if a == "winner" else a for a in args)
        tensors = [a for a in args if isinstance(a, Tensor)]
        named = dict(zip(base.forward.__signature__.parameters, args, strict=False))  # type: ignore[attr-defined]
        taken = {k: self._value(a) for k, a in named.items() if isinstance(a, Tensor)}
        for name, value in taken.items():
            if value is not None and value.line is not None and (not value.kind or value.rule == "Copy"):
                value.role = value.role or roles.ARGUMENTS.get((base.__name__, name), "")
        sources = [self._value(a) for a in tensors]
        before = len(self.tape.lines)
        if base is Cat and self.level != "torch" and (only := self._only(tensors)) is not None:
            with self.quiet():
                output = self._applied(rule, args)
            self.tape.known[key_of(output)] = only
            self.tape.alive.append(output)
            self.shared.add(only)
        elif (self.level == "torch" and base is not Write) or not all(map(writable, args)):
            self.operators.paused += 1
            try:
                with self.functions:
                    output = self._applied(rule, args)
            finally:
                self.operators.paused -= 1
        else:
            with self.quiet():
                output = self._applied(rule, args)
            self._noted(rule, base, args, output)
        outputs = output if isinstance(output, tuple) else (output,)
        given = [self.tape.find(o) if isinstance(o, Tensor) else None for o in outputs]
        self._named(base, given, before)
        nodes = [o.grad_fn for o in outputs if isinstance(o, Tensor) and o.grad_fn is not None]
        if nodes and torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            ctx = native.Context()
            ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
            with self.quiet(), torch.no_grad():
                rule.setup_context(ctx, args, output)
            for found in nodes:
                self.calls[found] = Call(
                    base, args, output, ctx, self.tape.owner, self.tape.call, taken, sources, given
                )
        return output

    def _applied(self, rule: type[Rule], args: tuple) -> Any:
        return plain(rule).apply(*args) if torch.is_grad_enabled() else rule.forward(*args)

    def _only(self, tensors: list[Tensor]) -> Value | None:
        """The only tensor that is not empty: concatenated with the others it has the same numbers."""
        whole = [t for t in tensors if t.shape != (0,)]
        return self._value(whole[0]) if len(whole) == 1 else None

    def _value(self, tensor: Tensor) -> Value | None:
        found = self.tape.value(tensor)
        return found if isinstance(found, Value) else None

    def _noted(self, rule: type[Rule], base: type[Rule], args: tuple, output: Any) -> None:
        if base is Write:
            self._written(*args)
            return
        if rule.overwrites is None:
            self.proxies.noted(base, "forward", base.forward, args, output)
            return
        target = self.tape.value(args[0])
        if self.tape.alone(args[0]):  # no other value sees the edit
            del self.tape.known[key_of(args[0])]
            parts = [f"{base.__name__}.forward(", *self._before(base, args, target), ")"]
            self.tape.add(parts, output, function=(base, "forward"))
            return
        self._refuse_shared(target)
        parts = [f"{base.__name__}.forward(", *self.proxies.arguments(base.forward, args), ")"]
        several = isinstance(output, tuple)
        self.tape.add(
            [target, ".copy_(", *parts, "[0]" * several, ")"], args[0], effect=True, function=(base, "forward")
        )

    def _written(self, input: Tensor, value: Tensor) -> None:
        """A value was written over another one: from here on both are one value, unless others share the memory."""
        target, source = self.tape.value(input), self.tape.value(value)
        alike = value.shape == input.shape and value.dtype == input.dtype
        if self.tape.alone(input) and alike and isinstance(source, Value):
            self.tape.known[key_of(input)] = source
            self.shared.add(source)
            return
        self._refuse_shared(target)
        self.tape.add([target, ".copy_(", source, ")"], input, effect=True)

    def _refuse_shared(self, target: Part) -> None:
        if target in self.shared:
            raise BadInput(
                "a forward that copies a tensor into another one, and later edits one of them in place while a view of "
                "it is in use, cannot be written out. expected: the edit on a clone"
            )

    def _before(self, rule: type[Rule], args: tuple, target: Part) -> list[Part]:
        """The arguments of a call that has overwritten its first argument; that one is written as its old value."""
        key = key_of(args[0])
        assert isinstance(target, Value)
        self.tape.known[key] = target
        parts = self.proxies.arguments(rule.forward, args)
        del self.tape.known[key]
        return parts

    def _named(self, rule: type[Rule], given: list[Value | None], before: int) -> None:
        """Set the kinds of results: z, a or y for the first, the rule's own names for further ones."""
        family = rule.__module__.rpartition(".")[2]
        kind = "z" if family in WEIGHTED_INPUT else "a" if family in ACTIVATION else "y"
        for k, value in enumerate(given):
            if value is not None and not value.name and not value.kind and value.line in self.tape.lines[before:]:
                value.rule = rule.__name__
                value.kind = kind if k == 0 else rule.results[k] if k < len(rule.results) else f"result{k}"

    # the forward

    def enter(self, module: torch.nn.Module, call: Any, _: Any) -> None:
        self.regions.append(Region(call[0], type(module), self.stack[-1]))
        self.numbers[call] = len(self.regions) - 1
        self.stack.append(len(self.regions) - 1)
        self.tape.owner, self.tape.call = call[0], self.stack[-1]

    def leave(self, *_: Any) -> None:
        self.stack.pop()
        self.tape.call = self.stack[-1]
        self.tape.owner = self.regions[self.tape.call].path

    def forward(self, model: Any, run: Callable[[], Tensor]) -> Tensor:
        self.watch = Watch(model, self.enter, self.leave)
        with native.intercepted(self.rule_called), self.watch, self.operators:
            loss = run()
        return loss

    # the backward

    def backward(self, loss: Tensor, leaves: dict[Tensor, str]) -> dict[str, Value]:
        """The value of each leaf's gradient, by its name."""
        nodes = graph([loss])
        refuse_autograd(nodes)
        self._value_of = {name: self.tape.find(leaf) for leaf, name in leaves.items()}
        self.expected = Counter(
            (parent, nr) for node in nodes for parent, nr in node.next_functions if parent is not None
        )
        self.expected[loss.grad_fn, 0] += 1
        self.outputs: dict[Any, int] = {}
        for parent, nr in self.expected:
            self.outputs[parent] = max(self.outputs.get(parent, 0), nr + 1)
        of_leaf = {
            parent: leaves[parent.variable]
            for parent, _ in self.expected if is_leaf(parent) and parent.variable in leaves
        }  # fmt: skip
        arrived = Arrived(self, self.expected)
        gradients = Arrived(self, Counter({name: self.expected[node, 0] for node, name in of_leaf.items()}))
        self.tape.stale.clear()  # what the forward saved before an edit in place has the value from before
        one = torch.ones_like(loss)
        self.tape.owner, self.tape.call = "", 0
        line = self.tape.add(["torch.ones_like(", *self.tape.written(loss), ")"], one)
        assert line is not None
        assert line.results[0] is not None
        line.results[0].of = self.tape.find(loss)
        arrived.add((loss.grad_fn, 0), one, "", 0, self.tape.find(loss))
        with torch.no_grad():
            for node in reversed(nodes):
                self._derive(node, arrived, gradients, leaves)
        found = {name: gradients.delta(name) for name in of_leaf.values()}
        return {name: value for name in leaves.values() if (g := found.get(name)) is not None
                and (value := self._value(g)) is not None}  # fmt: skip

    def _derive(self, node: Any, arrived: Arrived, gradients: Arrived, leaves: dict[Tensor, str]) -> None:
        call = self.calls.get(node)
        if call is not None:
            owner, region = call.owner, call.region
        else:
            found = self.watch.owner(node)
            owner, region = found[0], self.numbers.get(found, 0)
        self.tape.owner, self.tape.call = owner, region
        count = len(call.given) if call is not None else self.outputs[node]
        around = [self._output_of(parent, nr, None) for parent, nr in node.next_functions]
        read = around if call is None else call.taken.values()
        self.tape.hints = [value for value in read if value is not None]
        deltas = [arrived.delta((node, nr)) for nr in range(count)]
        grads: tuple = ()
        if any(delta is not None for delta in deltas):
            with self.functions:
                grads = undone(node, deltas) if call is None else self._formulas(call, deltas)
        places = (
            [k for k, a in enumerate(call.args) if isinstance(a, Tensor)] if call is not None else range(len(grads))
        )
        for k, (parent, nr) in enumerate(node.next_functions):
            if parent is None:
                continue
            gradient = grads[places[k]] if grads and k < len(places) else None
            source = call.sources[k] if call is not None else None
            if gradient is not None:
                value = self.tape.find(gradient)
                target = source if source is not None else self._output_of(parent, nr, None)
                if value is not None and value.of is None and not value.name and not leads_to(target, value):
                    value.of = target
            if is_leaf(parent) and parent.variable not in leaves:
                continue  # created in the forward: its gradient is not returned
            if is_leaf(parent):
                gradients.add(leaves[parent.variable], gradient, owner, region, self._value_of[leaves[parent.variable]])
            else:
                arrived.add((parent, nr), gradient, owner, region, self._output_of(parent, nr, source))

    def _output_of(self, node: Any, nr: int, source: Value | None) -> Value | None:
        call = self.calls.get(node)
        return call.given[nr] if call is not None and nr < len(call.given) else source

    def summed(self, parts: list[tuple[Tensor, str, int]], of: Value | None) -> Tensor:
        """The sum of the deltas that several readers of a value returned, as a line of the module around them."""
        terms: list[Part] = []
        with self.quiet():
            found = parts[0][0]
            for tensor, *_ in parts[1:]:
                found = found + tensor
        for tensor, branch, _ in parts:
            terms += [" + ", Operand(self.tape.value(tensor))]  # type: ignore[arg-type]
            part = self.tape.find(tensor)
            if part is not None and part.of is not None and part.of is of:
                part.branch = branch or "loss"
        before = self.tape.owner, self.tape.call
        self.tape.call = self.around([region for *_, region in parts])
        self.tape.owner = self.regions[self.tape.call].path
        line = self.tape.add(terms[1:], found, infix=True)
        self.tape.owner, self.tape.call = before
        if line is not None and line.results[0] is not None:
            line.results[0].of = of
            line.branches = [branch for _, branch, _ in parts]
        return found

    def around(self, regions: list[int]) -> int:
        """The innermost region that contains all of these."""
        ways = []
        for region in regions:
            way = [region]
            while way[-1] > 0:
                way.append(self.regions[way[-1]].parent)
            ways.append(way)
        return next(region for region in ways[0] if all(region in way for way in ways))

    def _formulas(self, call: Call, deltas: list[Tensor | None]) -> tuple:
        ctx = call.ctx
        ctx.saved_tensors = ctx.to_save
        if ctx.materialize:
            outputs = call.output if isinstance(call.output, tuple) else (call.output,)
            deltas = [torch.zeros_like(o) if d is None else d for d, o in zip(deltas, outputs, strict=True)]
        self.proxies.hints = call.taken
        derive = self.proxies.rebuilt(unguarded(call.rule))
        found = derive(ctx, *deltas)
        return found if isinstance(found, tuple) else (found,)
