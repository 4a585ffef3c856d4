"""Which part of the package imports which: the mathematics at the bottom, what trains networks at the top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import manual_backprop as mb

ROOT = Path(mb.__file__).parent
NAME = "manual_backprop"

LAYERS = (
    {"engine", "memory"},  # the base class, and what runs a rule
    {"rules"},  # the mathematics: of ours the base class and the terms that formulas share (see below)
    {"kernels"},  # faster functions for formulas
    {"functional"},  # torch's signatures
    {"explicit", "_dialects", "_nodes", "_operators"},  # torch's functions led to them
    {"nn"},  # drop-in modules
    {
        "__init__", "__main__", "_backward_pass", "_files", "_fx", "_observe", "_options", "_saving_picture",
        "_statistics", "_style", "_tables", "_trace_picture", "_within", "audit", "cli", "convert", "coverage",
        "errors", "listing", "optim", "plan", "saving", "testing", "trace",
    },  # what looks at networks, changes them, checks them
    {"bench", "training"},
)  # fmt: skip
"""Parts of the package, each of which may import those of its own line and of the lines above it."""

FOR_RULES = {"engine.forward_mode", "engine.operators", "engine.rule", "engine.terms", "engine.torch_private"}
"""Of the package, all that a file of rules may import, besides other files of rules."""

UPWARDS = {
    ("_options", "training"): "the networks that a command takes by name; imported when one is asked for",
    ("functional.margins", "explicit"): "a distance function of the caller's: its torch calls run on rules, too",
}  # fmt: skip

EXTRA = {
    "PIL", "jsonargparse", "matplotlib", "pytorch_lightning", "rich", "sklearn", "tensorboard", "torchmetrics",
    "torchvision", "yaml",
}  # fmt: skip
"""What pip installs with the extra `train` alone."""


def files() -> dict[str, Path]:
    """Every module of the package by its name below the package."""
    return {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.rglob("*.py")}


def imports(text: str, module: str, late: bool) -> Iterator[str]:
    """What a module imports, of the package without the package's name; late: in its functions, too."""
    package = f"{NAME}.{module}".split(".")[:-1]
    nodes: list[ast.AST] = [ast.parse(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix(f"{NAME}.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")]
            path = ".".join(filter(None, home)) if node.level else str(node.module)
            if path == NAME:
                yield from (alias.name for alias in node.names)
            elif path.startswith(f"{NAME}."):
                yield path.removeprefix(f"{NAME}.")
            else:
                yield path
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)


def of_ours(module: str) -> set[str]:
    """The modules of the package that one of them imports, at whatever time."""
    known = {part for layer in LAYERS for part in layer}
    found = imports(files()[module].read_text("utf-8"), module, late=True)
    return {name for name in found if name.partition(".")[0] in known}


def layer_of(module: str) -> int:
    return next(i for i, parts in enumerate(LAYERS) if module.partition(".")[0] in parts)


def wrong(module: str) -> set[str]:
    """The modules of higher layers that one imports, but for the exceptions."""
    higher = {name for name in of_ours(module) if layer_of(name) > layer_of(module)}
    return {name for name in higher if (module, name.partition(".")[0]) not in UPWARDS}


def test_imports_lead_to_layers_below() -> None:
    assert {module: found for module in files() if (found := wrong(module))} == {}


def test_exceptions_are_needed_and_late() -> None:
    for part, upper in UPWARDS:
        text = files()[part].read_text("utf-8")
        assert any(name.partition(".")[0] == upper for name in imports(text, part, late=True))
        assert not any(name.partition(".")[0] == upper for name in imports(text, part, late=False))


def test_rules_import_torch_and_the_base_class() -> None:
    standard = {"__future__", "collections.abc", "functools", "itertools", "math", "typing"}
    for module in files():
        if module.startswith("rules.") and module != "rules.__init__":  # which collects the others
            found = set(imports(files()[module].read_text("utf-8"), module, late=True))
            allowed = {name for name in found if name.partition(".")[0] in ("torch", "rules")} | standard | FOR_RULES
            assert found <= allowed, module


def test_below_training_nothing_of_its_extra_is_imported() -> None:
    """But where it is needed: matplotlib, say, when a picture is drawn."""
    for module, path in files().items():
        found = {name.partition(".")[0] for name in imports(path.read_text("utf-8"), module, late=False)}
        assert not found & EXTRA or layer_of(module) == len(LAYERS) - 1, module
        assert "triton" not in found or module.startswith("kernels.cuda."), module


def test_every_part_has_its_layer() -> None:
    parts = [part for layer in LAYERS for part in layer]
    assert len(parts) == len(set(parts))
    assert set(parts) == {name.partition(".")[0] for name in files()}


def test_a_wrong_import_is_seen() -> None:
    text = "from ..nn import Linear\ndef f():\n    import manual_backprop.training.models\nfrom . import piecewise\n"
    assert set(imports(text, "rules.smooth", late=False)) == {"nn", "rules"}
    assert set(imports(text, "rules.smooth", late=True)) == {"nn", "training.models", "rules"}
    assert set(imports("from manual_backprop import nn, trace", "kernels.c", late=False)) == {"nn", "trace"}
