"""Lists a model's backward nodes: which are rules, which of these a vendor's kernel computes, which are autograd's.

The result is observed: forward and backward run, and the nodes of the graph and the operators they call are recorded.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ._nodes import is_view, rule_of
from ._observe import Watch, differentiable, graph, graph_leaves, leaves, unchanged
from ._options import add_model, build_model, random_batch, running
from ._tables import html_table, text_table
from .engine.torch_private import TorchDispatchMode
from .explicit import explicit


@dataclass(frozen=True)
class Row:
    """The backward nodes with one name that one module made.

    `kind` is one of these:

        "rule"      computed by formulas and kernels of this library
        "vendor"    a rule whose backward called ATen's own backward operators; `operators` names them
        "view"      torch's own node of a view or a copy: it moves values and computes nothing
        "autograd"  no rule
    """

    module: str
    node: str
    kind: str
    count: int
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The rows of one audit, in the order of the forward, and their sums."""

    rows: tuple[Row, ...]

    @property
    def explicit(self) -> int:
        """Backward nodes that are rules, including those that a vendor's kernel computes."""
        return self.vendor + self._count("rule")

    @property
    def vendor(self) -> int:
        """Rules in whose backward a vendor's kernel computed the formula."""
        return self._count("vendor")

    @property
    def autograd(self) -> int:
        """Backward nodes that are autograd's own."""
        return self._count("autograd")

    @property
    def views(self) -> int:
        """Torch's own backward nodes of views and copies: they move values and compute nothing."""
        return self._count("view")

    def _count(self, kind: str) -> int:
        return sum(row.count for row in self.rows if row.kind == kind)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]:
        head = ("module", "node", "kind", "", "count")
        cells = [(r.module or "(itself)", r.node, r.kind, ", ".join(r.operators), str(r.count)) for r in self.rows]
        return head, cells, (0, 1, 2, 3)

    def _total(self) -> str:
        vendor = f" ({self.vendor} of them by vendor kernels)" if self.vendor else ""
        views = f", {self.views} view{'s' * (self.views > 1)}" if self.views else ""
        total = f"backward nodes: {self.explicit} explicit{vendor}{views}, {self.autograd} autograd"
        return total if self.rows else f"{total}: no output is differentiable"

    def __str__(self) -> str:
        return f"{text_table(*self._table())}\n{self._total()}" if self.rows else self._total()

    def _repr_html_(self) -> str:
        return html_table(*self._table(), below=self._total())


def audit(model: Callable[..., Any], *inputs: Any, **kwargs: Any) -> Audit:
    """Run `model(*inputs, **kwargs)` forward and backward, and list each backward node with its kind.

    Works on a module and on any function, also inside `mb.explicit()`. A node is listed under the innermost module
    whose forward made it. Parameters' gradients, buffers, random states and training flags are left as they were. Audit
    a model before torch.compile, which turns many nodes into one.

    Raises TypeError for a model that cannot be called, BadInput for a lazy model that has not seen a batch yet.
    """
    if not callable(model):
        raise TypeError(f"audit takes a module or a function. got: {type(model).__name__}")
    with unchanged(model, inputs, kwargs), Watch(model) as watch:
        args, named = leaves((inputs, kwargs))
        outputs = differentiable(model(*args, **named))
        nodes = graph(outputs)
        operators = _backward_operators(outputs, nodes)
        counts = Counter(
            (watch.owner(node)[0], node.name(), _kind(node, operators), tuple(sorted(operators[node])))
            for node in nodes
        )
    return Audit(tuple(Row(module, name, kind, n, called) for (module, name, kind, called), n in counts.items()))


def _kind(node: Any, operators: dict[Any, set[str]]) -> str:
    if rule_of(node) is None:
        return "view" if is_view(node) else "autograd"
    return "vendor" if operators[node] else "rule"


def _backward_operators(outputs: Sequence[torch.Tensor], nodes: Sequence[Any]) -> dict[Any, set[str]]:
    """Run the backward with deltas of one. Returns, for each node, the ATen backward operators that its rule called."""
    called: dict[Any, set[str]] = {node: set() for node in nodes}
    if not outputs:
        return called
    running: list[Any] = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            if running and "_backward" in func.name():
                called[running[-1]].add(func.name().removeprefix("aten::"))
            return func(*args, **(kwargs or {}))

    def start(node: Any) -> Callable[..., None]:
        return lambda *_: running.append(node)

    def stop(*_: Any) -> None:
        running.clear()

    handles = []
    for node in nodes:
        if rule_of(node) is not None:
            handles += [node.register_prehook(start(node)), node.register_hook(stop)]
    try:
        with Note():
            torch.autograd.grad(
                outputs, graph_leaves(outputs), [torch.ones_like(o) for o in outputs], allow_unused=True
            )
    finally:
        for handle in handles:
            handle.remove()
    return called


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop audit`. Raises BadInput for a model that cannot be found, built, or run on the batch."""
    parser = argparse.ArgumentParser("manual-backprop audit", description=__doc__)
    add_model(parser, required=True)
    parser.add_argument("--explicit", action="store_true", help="run functions between the layers on rules, too")
    options = parser.parse_args(argv)
    batch = random_batch(options)
    model = build_model(options, batch.shape)
    with running(options), explicit() if options.explicit else nullcontext():
        print(audit(model, batch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
