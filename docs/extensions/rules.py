"""Writes a page for each family of rules, a section for each rule: formulas from the docstring, derivation, code."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

import manual_backprop as mb
from manual_backprop.engine.rule import paragraphs
from manual_backprop.testing import CHECKS
from manual_backprop.testing.cases import CASES

from .notation import statements
from .plots import PLOTTED, plot
from .typeset import typeset

ROOT = Path(__file__).parent.parent.parent
DERIVATIONS = ROOT / "docs" / "derivations"
TORCH = "https://docs.pytorch.org/docs/stable/generated/"


@cache
def public_names(namespace: ModuleType) -> dict[str, list[str]]:
    """Rule name -> the public names of a namespace whose docstrings name that rule."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in getattr(namespace, "_LAYERS", namespace.__all__):
        for rule in dict.fromkeys(re.findall(r"mb\.rules\.(\w+)", inspect.getdoc(getattr(namespace, name)) or "")):
            found[rule].append(name)
    return found


@cache
def rows_of_cases() -> Counter[str]:
    """Public name -> number of its rows in the check suite."""
    return Counter(case.covers for case in CASES)


@cache
def measured() -> dict[str, list[dict]]:
    """Layer -> its lines in the committed benchmark."""
    found = defaultdict(list)
    for line in json.loads((ROOT / "benchmarks/results/layers.json").read_text(encoding="utf-8"))["results"]:
        found[line["layer"]].append(line)
    return found


@cache
def derivations(family: str) -> dict[str, str]:
    """Rule name -> its derivation; `*` is that of the whole family."""
    file = DERIVATIONS / f"{family}.md"
    if not file.exists():
        return {}
    parts = re.split(r"^## (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {}
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        first, *others = (name.strip() for name in heading.split(","))
        found[first] = text.strip()
        found |= dict.fromkeys(others, f"Together with that of [{first}](#rule-{first}).")
    return found


def formulas(paragraph: str) -> str:
    """Statements of a docstring, typeset, one per line."""
    lines = ["\u2003".join(map(typeset, re.split(r"(?<=[,;]) {3,}", line))) for line in statements(paragraph)]
    return "\n".join([":::{container} formulas", *(line + "\n" for line in lines), ":::"])


def prose(paragraph: str) -> str:
    """Sentences of a docstring as Markdown: words and short formulas stay in their order."""
    parts = re.split(r"(`[^`]+`)", " ".join(paragraph.split()))
    return "".join(part if i % 2 else re.sub(r"([\\*_|<\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def shapes(paragraph: str) -> str:
    """Names with their shapes; what stands in brackets is code."""
    text = re.sub(r"(\((?:[^()\n]|\([^()]*\))*\))", r"`\1`", paragraph)
    return "\n".join(f"* {item.strip()}" for item in re.split(r"\n| {3,}", text) if item.strip())


def saved(rule: type) -> str:
    """What the forward keeps for the backward, from the code that the engine derives from the formulas."""
    if rule.source and "saved_tensors" not in rule.source:  # type: ignore[attr-defined]
        return "no tensor"
    names = re.search(r"\n +(.*) = ctx.saved_tensors", rule.source)  # type: ignore[attr-defined]
    kept = re.findall(r"\w+", names[1]) if names else ()
    return ", ".join(f"`{name}`" for name in kept) or "see the code"


def without_docstring(text: str) -> str:
    """The code of a class without its docstring, which the page shows typeset."""
    head, _, rest = text.partition('"""')
    return head.rstrip() + "\n" + rest.partition('"""')[2].lstrip("\n") if head.count("\n") == 1 else text


def code(rule: type) -> str:
    """The source of a rule: a class statement, or an assignment where a function makes the rule."""
    module = inspect.getmodule(rule)
    text = inspect.getsource(module)  # type: ignore[arg-type]
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.ClassDef) and statement.name == rule.__name__:
            return without_docstring(ast.get_source_segment(text, statement) or "")
        if isinstance(statement, ast.Assign) and vars(module).get(ast.unparse(statement.targets[0])) is rule:
            return ast.get_source_segment(text, statement) or ""
    return rule.source.strip()  # type: ignore[attr-defined]


def speed(layers: list[str]) -> str:
    """The lines of the committed benchmark on these layers."""
    lines = [line for layer in layers for line in measured().get(layer, ())]
    if not lines:
        return ""
    head = ["| layer | input | torch.nn | ours | times as fast |", "|---|---|---|---|---|"]
    for line in lines:
        ours, twin = line["ours"]["both"] * 1e6, line["torch"]["both"] * 1e6
        size = " x ".join(map(str, line["shape"]))
        head.append(
            f"| {line['layer']} | {size} | {twin:,.0f} µs | {ours:,.0f} µs | {line['speed']['both']['value']:.2f} |"
        )
    return "\n".join(head)


@cache
def bytes_kept(layer: str) -> tuple[str, int, int] | None:
    """The shapes of the inputs of a layer's first row in the check suite, and the bytes that ours and torch's save."""
    for case in CASES:
        if case.covers == layer and not case.without:
            torch.manual_seed(0)
            args = [spec.make(torch.Generator().manual_seed(0), torch.float32) for spec in case.inputs]
            inputs = [arg for arg in args if isinstance(arg, torch.Tensor)]
            for spec, arg in zip(case.inputs, args, strict=True):
                if isinstance(arg, torch.Tensor) and arg.is_floating_point():
                    arg.requires_grad_(spec.differentiable)
            found = mb.saved_bytes(case.build(), *args)
            return ", ".join(" x ".join(map(str, arg.shape)) or "scalar" for arg in inputs), found.ours, found.twin
    return None


def memory(layers: list[str]) -> str:
    """What each layer saves beside its inputs and parameters."""
    rows = [(layer, bytes_kept(layer)) for layer in layers if layer in mb.nn._LAYERS]
    lines = [f"| {layer} | {kept[0]} | {kept[2]:,} | {kept[1]:,} |" for layer, kept in rows if kept]
    return "\n".join(["| layer | inputs | torch.nn | ours |", "|---|---|---|---|", *lines]) if lines else ""


def section(rule: type[mb.rules.Rule], folder: Path, heading: str = "##") -> str:
    """All about one rule."""
    name = rule.__name__
    layers, functions = public_names(mb.nn).get(name, []), public_names(mb.functional).get(name, [])
    forward, shape, backward, *notes = paragraphs(rule)
    source = notes.pop() if notes and notes[-1].startswith("Source: ") else ""
    used = [f"`mb.nn.{layer}`" for layer in layers] + [f"`mb.functional.{function}`" for function in functions]
    parts = [f"(rule-{name})=", f"{heading} {name}", ""]
    if used:
        parts += ["Used by " + ", ".join(used) + ".", ""]
    if rule.operator:
        operators = ", ".join(f"`{operator}`" for operator in rule.operator.split())
        parts += [f"Inside `mb.explicit()` it stands in for torch's {operators}.", ""]
    parts += ["**Forward**", "", formulas(forward), "", "**Shapes**", "", shapes(shape), ""]
    parts += ["**Backward**", "", formulas(backward), ""]
    parts += [f"Saved for the backward: {saved(rule)}.", ""]
    for note in notes:
        parts += [prose(note), ""]
    if name in PLOTTED:
        parts += [f"![{name} and its derivative]({plot(name, folder)})", ""]
    family = rule.__module__.rpartition(".")[2]
    if name in derivations(family):
        parts += [f"{heading}# Derivation of {name}", "", derivations(family)[name], ""]
    parts += ["**The code**", "", "```python", code(rule), "```", ""]
    if table := speed(layers):
        parts += ["**Speed**, forward and backward, "
                  "from `benchmarks/results/layers.md`, which names the machine:", "", table, ""]  # fmt: skip
    if table := memory(layers):
        parts += ["**Bytes** saved beside inputs and parameters, in float32 (`mb.saved_bytes`):", "", table, ""]
    rows = sum(rows_of_cases()[covered] for covered in {*layers, *functions})
    if rows:
        command = f"manual-backprop check --layer {(layers or functions)[0]}"
        checks = ", ".join(f"`{check}`" for check in CHECKS)
        parts += [f"**Proof**: {rows} rows of the check suite, each with all checks that apply to it: {checks}.", ""]
        parts += [f"See them pass: `{command}`.", ""]
    if layers:
        links = [f"<{TORCH}torch.nn.{layer}.html>" for layer in layers if hasattr(torch.nn, layer)]
        parts += ["torch's own: " + ", ".join(links) + ".", ""] if links else []
    if source:
        parts += [f"**Source**: {' '.join(source.removeprefix('Source: ').split())}", ""]
    return "\n".join(parts)


TITLES = {
    "batchnorm": "BatchNorm",
    "conv_tbc": "ConvTBC",
    "ctc": "CTC",
    "lp_pool": "LPPool",
    "lstm": "LSTM",
    "lu": "LU decomposition",
    "sync_batchnorm": "SyncBatchNorm",
}


def title(family: str) -> str:
    return TITLES.get(family) or family.replace("_", " ").capitalize()


def about_family(paragraph: str) -> str:
    """A paragraph of a module's docstring; indented lines are kept as they are."""
    if paragraph.startswith("    "):
        return f"```text\n{inspect.cleandoc(paragraph)}\n```\n"
    return prose(paragraph) + "\n"


def page(family: str, rules: list[type[mb.rules.Rule]], folder: Path) -> str:
    """The page of a family: what it is about, its shared derivation, its rules."""
    module = inspect.getmodule(rules[0])
    about = (inspect.getdoc(module) or "").split("\n\n")
    parts = [f"# {title(family)}", "", *map(about_family, about), ""]
    if shared := derivations(family).get("*"):
        parts += ["## Derivation", "", shared, ""]
    parts += [section(rule, folder) for rule in rules]
    return "\n".join(parts)


def families() -> dict[str, list[type[mb.rules.Rule]]]:
    found: dict[str, list[type[mb.rules.Rule]]] = defaultdict(list)
    for rule in mb.rules.RULES.values():
        found[rule.__module__.rpartition(".")[2]].append(rule)
    return dict(sorted(found.items()))


def index(pages: dict[str, list[type[mb.rules.Rule]]]) -> str:
    """The index page, with links to all others."""
    layers = public_names(mb.nn)
    lines = ["# Rules", "", INTRODUCTION, "", "## Layers and losses", ""]
    of_layers = {
        family: rules
        for family, rules in pages.items()
        if any(rule.__name__ in layers or not rule.operator for rule in rules)
    }
    for chosen, heading in ((of_layers, ""), ({f: r for f, r in pages.items() if f not in of_layers}, "## Operators")):
        lines += [heading, "", "| family | rules |", "|---|---|"]
        for family, rules in chosen.items():
            names = ", ".join(f"[{rule.__name__}](#rule-{rule.__name__})" for rule in rules)
            lines.append(f"| [{title(family)}]({family}.md) | {names} |")
        lines += ["", "```{toctree}", ":hidden:", "", *chosen, "```", ""]
    return "\n".join(lines)


INTRODUCTION = """A rule is one operation with its forward and its backward formulas. Here each stands with its
derivation and its code.

In all formulas $\\delta$ is the derivative of the loss with respect to the output of the rule, in its shape;
$\\delta_{\\text{input}}$ is the derivative by the input, $\\text{grad}_{\\text{weight}}$ that by a parameter. $x$
is the input and $y$ the output. Factors side by side are multiplied element by element where they are lower case, and
as matrices where they are capitals. $(*)$ is any shape."""


def write_pages(folder: Path) -> None:
    """Writes the folder of rule pages."""
    folder.mkdir(exist_ok=True)
    pages = families()
    texts = {family: page(family, rules, folder) for family, rules in pages.items()} | {"index": index(pages)}
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in texts}:
        stale.unlink()
    for name, text in texts.items():
        written(folder / f"{name}.md", text)


def written(file: Path, text: str) -> None:
    """Writes a page if its text changes. Sphinx skips pages that were not written."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, file)
