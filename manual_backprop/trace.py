"""Shows one backward pass, layer by layer: the input and output of each layer, its delta and its gradients."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from . import nn
from ._backward_pass import Pass, Seen, difference, rms, run
from ._files import write_atomically
from ._nodes import is_view, name_of, rule_of
from ._observe import Call
from ._options import CLASSES, add_model, build_model, random_batch, running
from ._tables import html_table, text_table
from .convert import as_twin, twin_function
from .engine.rule import RULES_PACKAGE, paragraphs
from .explicit import explicit
from .rules import Rule

WEIGHTED_INPUT = ("linear", "convolution")
ACTIVATION = ("rectifiers", "exponential", "piecewise", "smooth", "gated", "softmax")
"""Families of rules whose output is a weighted input z or an activation a, in the terms of textbooks."""

AUTOGRAD = "autograd: "

LEGEND = """\
x: input; y: output, a weighted input z or an activation a; delta: derivative of the loss by y; rms: root mean square;
dead: share of units that are zero for the whole batch; off: largest relative difference to the layers of torch.nn"""

Shapes = list[tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    """One call of a module that made backward nodes of its own, or the loss. A field that does not apply is None.

    Inputs, output and delta are those of the whole module, also where its children compute a part.

    `rules` names the nodes: a rule's name, or "autograd: ..." for a node of autograd. `output_is` is "z" for a weighted
    input, "a" for an activation, else "". `delta_rms` is the rms of delta, the derivative of the loss with respect to
    the output, summed over all uses of the output. `gradient_rms` maps the name of each parameter that the nodes use to
    the rms of its gradient. A parameter that several calls share has the same value, that of the summed gradient, in
    each of them. `dead` is the share of units that were zero for the whole batch (ReLU and its like). `difference`: see
    `trace`.
    """

    layer: str
    type: str
    rules: tuple[str, ...]
    input_shapes: Shapes
    output_shapes: Shapes
    output_is: str
    input_rms: float | None
    output_rms: float | None
    delta_rms: float | None
    gradient_rms: dict[str, float | None]
    dead: float | None
    difference: float | None


@dataclass(frozen=True)
class Trace:
    """One backward pass: `rows` in the order of the forward, the loss last; `loss`, its value; and `formulas`.

    `formulas` maps a rule's name to its forward formula and its backward formulas, as its docstring has them.
    """

    rows: tuple[Row, ...]
    loss: float
    formulas: dict[str, tuple[str, str]]

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]:
        head = ("layer", "type: rules", "x -> y", "y", "rms x", "rms y", "rms delta", "rms of gradients", "dead", "off")
        return head, [*map(_cells, self.rows)], (0, 1, 2, 3, 7)

    def _below(self) -> str:
        return "\n\n".join([LEGEND, *self._formulas(), f"loss {_number(self.loss)}"])

    def __str__(self) -> str:
        return f"{text_table(*self._table())}\n{self._below()}"

    def _repr_html_(self) -> str:
        return html_table(*self._table(), below=self._below())

    def _formulas(self) -> Iterator[str]:
        width = max(map(len, self.formulas), default=0) + 2
        lines = []
        for name, formula in self.formulas.items():
            text = "\n".join(formula).replace("\n", "\n" + " " * width)
            lines.append(f"{name:{width}}{text}".rstrip())
        if lines:
            yield "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write `{"loss": ..., "rows": [{...}, ...]}` as JSON, completely or not at all; the keys are `Row`'s fields.

        A field that does not apply is null. JSON has no NaN and infinity: these are the strings "nan", "inf" and
        "-inf". Raises BadInput if the file cannot be written.
        """
        rows = ",\n".join(json.dumps(_json(asdict(row)), allow_nan=False) for row in self.rows)
        text = f'{{"loss": {json.dumps(_json(self.loss))}, "rows": [\n{rows}\n]}}\n'
        write_atomically(Path(path), text.encode())

    def plot(self, path: str | Path) -> None:
        """Draw sizes of y, delta and gradients, layer by layer, as a PNG.

        Raises BadInput where matplotlib is missing or the file cannot be written.
        """
        from ._trace_picture import picture

        write_atomically(Path(path), picture(self))


def trace(model: torch.nn.Module, inputs: Any, targets: Any, loss: Callable[[Any, Any], Any]) -> Trace:
    """Run `loss(model(inputs), targets)` once forward and backward, and record values, deltas and gradients per layer.

    `inputs` is one tensor, or a tuple of positional arguments. `loss` is any function or module that takes the model's
    output and the targets and returns a scalar.

    A row's `difference` compares it with a second run: the same batch and random numbers, the model with the layers of
    torch.nn (`mb.revert`). It is the larger of two numbers: max |ours - theirs| / max |theirs| over delta, and the same
    over the gradients of the call. Calls of `mb.functional` in the model's own forwards are the same in both runs.

    Works on models of any kind, converted or not, also inside `mb.explicit()` and `mb.backend()`. Trace a model before
    torch.compile. Parameters' gradients, buffers, hooks, random states and training flags stay as they were. NaN is
    shown in the table and raises no error.

    Raises TypeError for a model that is not a module. Raises BadInput for a lazy model that has not seen a batch yet,
    and for a loss that is not a scalar or depends on nothing differentiable.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"trace takes a torch.nn.Module. got: {type(model).__name__}")
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    ours = run(model, args, targets, loss)
    with as_twin(model, loss):
        theirs = run(model, args, targets, twin_function(loss))
    names = _parameter_names(model) | _parameter_names(loss)
    rows = tuple(_row(ours, theirs, call, names) for call in ours.calls)
    rules = [rule for seen in ours.calls.values() for node in seen.nodes if (rule := rule_of(node)) is not None]
    return Trace(rows, ours.loss, {rule.__name__: _formula(rule) for rule in rules})


def _row(ours: Pass, theirs: Pass, call: Call, names: dict[Any, str]) -> Row:
    seen, (name, number) = ours.calls[call], call
    names = names | _parameter_names(seen.module)
    return Row(
        layer=(name or "(itself)") + f" ({number})" * (number > 1),
        type=getattr(seen.module, "__name__", type(seen.module).__name__),
        rules=tuple(dict.fromkeys(_node_name(node) for node in seen.nodes if not is_view(node))),
        input_shapes=seen.input_shapes,
        output_shapes=seen.output_shapes,
        output_is=_output_is(seen),
        input_rms=seen.input_rms,
        output_rms=seen.output_rms,
        delta_rms=rms([delta for delta in seen.deltas if delta is not None]),
        gradient_rms={
            names[parameter]: rms([ours.gradients[parameter]])
            for parameter in seen.parameters
            if parameter in names and parameter in ours.gradients
        },
        dead=seen.dead,
        difference=difference(ours, theirs, call),
    )


def _parameter_names(module: Any) -> dict[Any, str]:
    named = module.named_parameters(remove_duplicate=False) if isinstance(module, torch.nn.Module) else ()
    return {parameter: name.replace("parametrizations.", "") for name, parameter in named}


def _node_name(node: Any) -> str:
    rule = rule_of(node)
    return f"{AUTOGRAD}{name_of(node)}" if rule is None else rule.__name__


def _output_is(seen: Seen) -> str:
    nodes = [node for node in seen.nodes if not is_view(node)]
    rule = rule_of(nodes[-1]) if nodes else None
    package, _, family = rule.__module__.rpartition(".") if rule is not None else ("", "", "")
    if f"{package}." != RULES_PACKAGE:
        return ""
    return "z" if family in WEIGHTED_INPUT else "a" if family in ACTIVATION else ""


def _formula(rule: type[Rule]) -> tuple[str, str]:
    forward, _, backward, *_ = [*paragraphs(rule), "", ""]
    return forward, backward


def _cells(row: Row) -> tuple[str, ...]:
    gradients = ", ".join(f"{name} {_number(value)}" for name, value in row.gradient_rms.items())
    dead = "" if row.dead is None else f"{row.dead:.0%}"
    off = "" if row.difference is None else f"{row.difference:.0e}" if row.difference else "0"
    sizes = map(_number, (row.input_rms, row.output_rms, row.delta_rms))
    shapes = f"{_shown(row.input_shapes)} -> {_shown(row.output_shapes)}"
    return row.layer, _type_and_rules(row), shapes, row.output_is, *sizes, gradients, dead, off


def _type_and_rules(row: Row) -> str:
    if row.rules in ((row.type,), ()):
        return row.type
    rules = [name for name in row.rules if not name.startswith(AUTOGRAD)]
    others = [name.removeprefix(AUTOGRAD) for name in row.rules if name.startswith(AUTOGRAD)]
    parts = [*rules, AUTOGRAD + ", ".join(others)] if others else rules
    return f"{row.type}: {', '.join(parts)}"


def _shown(shapes: Shapes) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes) or "-"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _json(value: Any) -> Any:
    """The same structure, with strings in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop trace`, on random images and labels with cross-entropy. Raises BadInput as `audit` does."""
    parser = argparse.ArgumentParser("manual-backprop trace", description=__doc__)
    add_model(parser, required=True)
    parser.add_argument("--explicit", action="store_true", help="run functions between the layers on rules, too")
    parser.add_argument("--json", metavar="FILE", help="also write the table to a JSON file")
    parser.add_argument("--plot", metavar="FILE", help="also draw a PNG")
    options = parser.parse_args(argv)
    batch = random_batch(options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(options, batch.shape)
        labels = torch.randint(CLASSES, (len(batch),))
        with running(options), explicit() if options.explicit else nullcontext():
            found = trace(model, batch, labels, nn.CrossEntropyLoss())
    print(found)
    if options.json:
        found.save(options.json)
    if options.plot:
        found.plot(options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
