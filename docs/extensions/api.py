"""Writes the lists of layers and functions of the API reference: signature, docstring and rules of each."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import torch

import manual_backprop as mb

from .rules import TORCH, written

HEAD = {
    mb.nn: """# manual_backprop.nn

Each layer has the arguments, the initialization and the `state_dict` of the layer of that name in torch.nn. It is
called as that is, with the same errors.
""",
    mb.functional: """# manual_backprop.functional

Each function has the arguments of the function of that name in torch.nn.functional, or of the operator of that name in
torch.ops.aten.
""",
}


def entry(namespace: ModuleType, name: str) -> str:
    """One layer or function."""
    value = getattr(namespace, name)
    kind = "autoclass" if inspect.isclass(value) else "autofunction"
    lines = [f"## {name}", "", "```{eval-rst}", f".. {kind}:: {namespace.__name__}.{name}", "```", ""]
    rules = dict.fromkeys(re.findall(r"mb\.rules\.(\w+)", inspect.getdoc(value) or ""))
    links = [f"[{rule}](#rule-{rule})" for rule in rules if rule in mb.rules.RULES]
    twin = ""
    if namespace is mb.nn and hasattr(torch.nn, name):
        twin = f"{TORCH}torch.nn.{name}.html"
    elif hasattr(torch.nn.functional, name):
        twin = f"{TORCH}torch.nn.functional.{name}.html"
    if links:
        lines += ["Derivation and code: " + ", ".join(links) + ".", ""]
    if twin:
        lines += [f"torch's own: <{twin}>", ""]
    return "\n".join(lines)


def write_lists(folder: Path) -> None:
    """Writes the pages of `nn` and of `functional`."""
    for namespace, head in HEAD.items():
        text = "\n".join([head, *(entry(namespace, name) for name in getattr(namespace, "_LAYERS", namespace.__all__))])
        written(folder / f"{namespace.__name__.rpartition('.')[2]}.md", text)
