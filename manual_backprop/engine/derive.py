"""Writes a rule's `setup_context`, `backward` and `tangent` from the parameter names of its formulas.

A formula is called `delta_<argument>` or `grad_<argument>`, for the arguments of `forward` that have a derivative. Its
parameters say what it needs (as in PyTorch's derivatives.yaml):

    delta                                the delta of the output
    <argument>                           an argument of `forward`; a tensor is saved, a number is kept on `ctx`
    <argument>_shape, <argument>_dtype   of an argument that need not be saved
    output, or a name in `results`       what `forward` returned; saved
    <method>                             the value of another function of the rule: a statistic, a term that formulas
                                         share, or another gradient; its parameters are read in the same way

A result that is also a method is a statistic. It is saved, and recomputed by the method where the backward is itself
differentiated.

Any other result may have a delta, which is handled in one of two ways:
- `<formula>_from_<result>` reads `delta_<result>`, arguments and results. Its value is added to that of `<formula>`.
- Formulas that need the deltas of several results together name each of them: `delta_<result>`, which is None where
  that delta is missing. Results that no formula names have no derivative.

A loss that is elementwise up to a sum or mean has an argument `reduction`. Its tangent is the tangent of the loss per
element, reduced. The generated code is plain Python; `print(rule.source)` shows it.
"""

from __future__ import annotations

import linecache
import sys
import types
from typing import Any

from .declaration import FACTS, IN_PLACE, WIDTH, Declaration, listed, row


def setup_context(d: Declaration) -> list[str]:
    """The lines of `setup_context`."""
    lines = ["def setup_context(ctx, inputs, output):", f"    {listed(d.arguments)} = inputs"]
    if len(d.results) > 1:
        lines.append(f"    {', '.join(d.results)} = output")
        moving = d.results[:1] if d.incoming == ["delta"] else [name.removeprefix("delta_") for name in d.incoming]
        if aside := [result for result in d.results if result not in (*moving, *d.through)]:
            lines.append(f"    not_differentiated(ctx, {', '.join(aside)})")
    if d.through or d.incoming != ["delta"]:
        lines.append("    ctx.set_materialize_grads(False)")
    for result in d.through:
        if condition := d.when(f"delta_{result}"):
            condition = f"({condition})" if " or " in condition else condition
            lines += [f"    if not {condition}:", f"        constant(ctx, {result})"]
    if d.rule.real_only:
        lines.append(f"    refuse_complex(ctx, {d.arguments[0]})")
    if d.in_place:
        lines.append(f"    ctx.in_place = output is {d.arguments[0]}")
    lines += [f"    ctx.{name} = {d.value(name)}" for name in d.kept()]
    lines += [f"    ctx.{name} = {d.value(name)}" for name in d.facts_of_gradients() if name not in d.kept()]
    saved = [_saved(d, name) for name in d.saved()]
    if any("needs_" in entry for entry in (*lines, *saved)):
        lines.insert(2, f"    {_needs(d)} = ctx.needs_input_grad")
    if saved:
        lines += row("ctx.save_for_backward", saved)
    return lines if len(lines) > 2 else [lines[0], "    pass"]


def _saved(d: Declaration, name: str) -> str:
    condition = d.when(name)
    if d.kinds.get(name) == "either":
        condition = f"({condition})" if condition and " or " in condition else condition
        condition = f"isinstance({name}, Tensor)" + (f" and {condition}" if condition else "")
    return name if condition is None else f"{name} if {condition} else None"


def _needs(d: Declaration) -> str:
    return listed([f"needs_{a}" if a in d.formulas else "_" for a in d.arguments])


def backward(d: Declaration) -> list[str]:
    """The lines of `backward`."""
    first = ["delta"] if d.incoming == ["delta"] else []
    others = [f"delta_{name}" if f"delta_{name}" in d.deltas else f"_{name}" for name in d.results[len(first) :]]
    lines = [f"def backward(ctx, {', '.join([*first, *others])}):"]
    if d.saved():
        lines.append(f"    {listed(d.saved())} = ctx.saved_tensors")
    lines += [f"    {n} = ctx.{n} if {n} is None else {n}" for n in d.saved() if d.kinds.get(n) == "either"]
    if d.rule.in_place_slope is not None:
        argument, twin = d.rule.in_place_slope
        lines.append(f'    refuse_negative_slope(ctx, ctx.{argument}, "{twin}")')
    several = len(d.formulas) > 1
    if several:
        lines.append(f"    {_needs(d)} = ctx.needs_input_grad")
    given = {n: n if n in d.saved() else f"ctx.{n}" for n in d.leaves}
    if d.statistics:
        when = " or ".join(sorted({d.when(s) or "" for s in d.statistics} - {""})) or None
        lines.append(f"    if differentiated_again(){f' and ({when})' if several and when else ''}:")
        lines += [f"        {s} = {_call(d, s, given)}" for s in d.statistics]
    if several:
        lines.append(f"    needs = {', '.join(f'needs_{a}' for a in d.formulas)}")
        joint = f"choose({d.name}.derivatives)"
        before = f"{', '.join(d.formulas.values())} = "
        arguments = [*d.incoming, *[given[name] for name in d.given], "needs"]
        steps = row(f"{before}widened", [joint, *arguments]) if d.rule.upcast else row(before + joint, arguments)
    else:
        steps = _steps(d, given, "    ")
    lines += _passed_on(d, steps, given) if d.through else steps
    returned = [_returned(d, argument, several) for argument in d.arguments]
    return [*lines, *(row("return ", returned) if len(returned) > 1 else [f"    return {returned[0]}"])]


def _passed_on(d: Declaration, steps: list[str], given: dict[str, str]) -> list[str]:
    """`steps` for the output's delta, if there is one, and then the terms that come from deltas of other results."""
    lines = [f"    {' = '.join(d.formulas.values())} = None", "    if delta is not None:"]
    lines += [f"    {line}" for line in steps]
    for result, formulas in d.through.items():
        lines.append(f"    if delta_{result} is not None:")
        for argument, formula in formulas.items():
            target, arguments = d.formulas[argument], ", ".join(given.get(p, p) for p in d.reads[formula])
            added = _called("widened" if d.rule.upcast else "", f"{d.name}.{formula}", arguments)
            condition = f"needs_{argument}" if len(d.formulas) > 1 else None
            lines += _assigned("        ", target, f"total({target}, {added})", condition)
    return lines


def _returned(d: Declaration, argument: str, several: bool) -> str:
    formula = d.formulas.get(argument)
    if formula is None:
        return "None"
    value = formula
    if d.rule.broadcasts:
        value = f"like({value}, {', '.join(f'ctx.{argument}_{fact}' for fact in FACTS)})"
    elif d.rule.upcast:
        value = f"{value}.to(ctx.{argument}_dtype)"
    if value is formula:
        return value
    conditions = [f"needs_{argument}"] * several + [f"{formula} is not None"] * bool(d.through)
    return f"{value} if {' and '.join(conditions)} else None" if conditions else value


def derivatives(d: Declaration) -> list[str]:
    """The lines of `derivatives`: all formulas in one call, which one kernel may serve."""
    lines = [f"def derivatives({', '.join([*d.incoming, *d.given, 'needs'])}):"]
    lines.append(f"    {', '.join(f'needs_{a}' for a in d.formulas)} = needs")
    lines += _steps(d, {n: n for n in d.leaves}, "    ")
    return [*lines, f"    return {', '.join(d.formulas.values())}"]


def _steps(d: Declaration, given: dict[str, str], indent: str) -> list[str]:
    lines = []
    for name in d.order:
        if name in d.statistics:
            continue
        call, condition = _call(d, name, given), d.when(name) if len(d.formulas) > 1 else None
        lines += _assigned(indent, name, call, condition)
    return lines


def _assigned(indent: str, name: str, value: str, condition: str | None) -> list[str]:
    line = f"{indent}{name} = {value}" + (f" if {condition} else None" if condition else "")
    if not condition or len(line) <= WIDTH:
        return [line]
    return [f"{indent}{name} = (", *(f"{indent}    {p}" for p in (value, f"if {condition}", "else None")), f"{indent})"]


def _call(d: Declaration, name: str, given: dict[str, str]) -> str:
    arguments = ", ".join(given.get(p, p) for p in d.reads[name])
    function = f"{d.name}.{name}"
    if name in d.in_place:
        function = f"{function}{IN_PLACE} if ctx.in_place else {function}"
    return _called("widened" if d.rule.upcast else "", f"choose({function})", arguments)


def _called(through: str, function: str, arguments: str) -> str:
    return f"{through}({function}, {arguments})" if through else f"{function}({arguments})"


def tangent(d: Declaration) -> list[str]:
    """The lines of `tangent` for an elementwise rule: its formulas apply to tangents, too (a diagonal Jacobian).

    A formula multiplies the delta by the conjugate of the derivative; a tangent is multiplied by the derivative itself.
    So a tangent that may be complex is conjugated before and after.
    """
    lines = ["def tangent(inputs, tangents, output):", f"    {listed(d.arguments)} = inputs"]
    if len(d.results) > 1:
        lines.append(f"    {', '.join(d.results)} = output")
    lines.append(f"    {listed([f't_{a}' if a in d.formulas else '_' for a in d.arguments])} = tangents")
    may_be_complex = (d.rule.broadcasts and not d.rule.real_only) or d.rule.takes_complex
    terms, conj = [], ".conj()" if may_be_complex else ""
    lines += [f"    {name} = {d.value(name)}" for name in d.leaves if d.fact(name)]
    for argument, formula in d.formulas.items():
        terms.append(_nested(d, formula, {"delta": f"t_{argument}{conj}", "reduction": '"none"'}))
        if len(d.formulas) > 1:
            terms[-1] = f"None if t_{argument} is None else {terms[-1]}"
    moved = terms[0]
    if len(terms) > 1:
        lines += row("moved = total", terms)
        moved = "moved"
    if "reduction" in d.arguments:
        moved = f"reduced({moved}, reduction)"
    if d.rule.broadcasts:
        moved = f"{moved}{conj}.expand_as(output)"
    elif conj:
        moved = f"{moved}{conj}"
    if d.rule.broadcasts or d.rule.upcast:
        moved = f"{moved}.to(output.dtype)"
    return [*lines, f"    return {', '.join([moved, *['None'] * (len(d.results) - 1)])}"]


def linear_tangent(d: Declaration) -> list[str]:
    """The lines of `tangent` for a linear rule: forward again, with tangents in place of arguments.

    The rule is linear in some arguments together (a missing tangent counts as zeros), or in each of several arguments.
    """
    lines = ["def tangent(inputs, tangents, output):", f"    {listed(d.arguments)} = inputs"]
    together, each = d.rule.linear, d.rule.multilinear
    moving = together or each
    lines.append(f"    {listed([f't_{a}' if a in moving else '_' for a in d.arguments])} = tangents")
    if together:
        if len(together) > 1:
            lines += [f"    t_{a} = torch.zeros_like({a}) if t_{a} is None else t_{a}" for a in together]
        moved = f"{d.name}.forward({', '.join(f't_{a}' if a in together else a for a in d.arguments)})"
        return [*lines, f"    return {moved}"]
    terms = []
    for argument in each:
        call = f"{d.name}.forward({', '.join(f't_{a}' if a == argument else a for a in d.arguments)})"
        terms.append(f"None if t_{argument} is None else {call}")
    return [*lines, *row("return total", terms)]


def _nested(d: Declaration, name: str, stand_ins: dict[str, str]) -> str:
    """A name's value as one expression of nested calls."""
    if name not in d.reads or name in d.statistics:
        return stand_ins.get(name, name)
    arguments = ", ".join(_nested(d, read, stand_ins) for read in d.reads[name])
    return _called("widened" if d.rule.upcast else "", f"{d.name}.{name}", arguments)


def derive(rule: Any, helpers: dict[str, Any]) -> None:
    """Derive a rule's methods and attributes from its formulas.

    Sets `setup_context`, `backward`, `derivatives`, `tangent`, `keeps_input`, `returns_more`, `tangent_reads` and
    `source`, except those that the class itself defines. Raises TypeError for a parameter whose name is unknown.
    """
    d = Declaration(rule)
    written = {"setup_context": setup_context(d), "backward": backward(d)}
    if len(d.formulas) > 1:
        written["derivatives"] = derivatives(d)
    if rule.elementwise:
        written["tangent"] = tangent(d)
    elif rule.linear or rule.multilinear:
        written["tangent"] = linear_tangent(d)
    written = {name: lines for name, lines in written.items() if name not in vars(rule)}
    rule.source = "\n\n".join("\n".join(lines) for lines in written.values()) + "\n"
    file = f"<{rule.__module__}.{rule.__qualname__}>"
    linecache.cache[file] = (len(rule.source), None, rule.source.splitlines(keepends=True), file)
    # a separate module: torch.compile looks names up in the module that `function.__module__` names
    module = types.ModuleType(f"{rule.__module__}.{rule.__qualname__}")
    scope = vars(module)
    scope.update(helpers)
    scope[rule.__name__] = rule
    sys.modules[module.__name__] = module
    exec(compile(rule.source, file, "exec"), scope)
    for name in written:
        function = scope[name]
        function.__qualname__ = f"{rule.__qualname__}.{name}"
        function.derived = True
        setattr(rule, name, staticmethod(function))
    if "derivatives" in written:
        rule.derivatives.rounds_once = True  # the caller need not upcast: each formula inside is upcast already
    if "keeps_input" not in vars(rule):
        rule.keeps_input = d.arguments[0] in d.saved() and not d.in_place
    if "returns_more" not in vars(rule):
        rule.returns_more = len(d.results) > 1
    if "tangent_reads" not in vars(rule) and (rule.linear or rule.multilinear):
        rule.tangent_reads = ()
    elif "tangent_reads" not in vars(rule) and rule.elementwise:
        reads = set(d.reading(d.formulas.values()))
        rule.tangent_reads = tuple(i for i, name in enumerate(d.results) if name in reads)
