"""Lists which layers, functions and differentiable operators of the installed torch have rules.

The operators are read from torch's derivatives.yaml, which is installed with torch's code generator. So new operators
of a new torch appear here.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import functional, nn
from ._nodes import VIEWS
from ._operators import composite, served
from .errors import BadInput
from .functional._without_rules import CONSTANT, HELPERS

REASONS = {
    r"_backward(_.*)?$": "a backward operator of torch, which no rule calls: formulas are differentiable themselves",
    r"sparse|^_to_dense|^_?coalesce|^values|^smm|^sspaddmm": "sparse",
    r"_?nested_|_jagged|_padded": "nested tensors",
    r"mkldnn|mps|miopen|cudnn|cufft|_hip|xnn|_thnn_fused|_fused_sdp|overrideable|_cslt|_transform_bias|_triton|cutlass":
        "an implementation for one backend, which torch chooses inside an operator that has a rule",
    r"^_(efficient|flash)_attention|^_scaled_dot_product_(efficient|flash)_attention$":
        "on GPUs only, called inside scaled_dot_product_attention, which has a rule",
    r"^_(log_)?softmax$|_loss2?d?_forward$|^_ctc_loss|^_trilinear|^_weight_norm_interface|^rrelu_with_noise|depthwise|"
    r"^_?slow_conv|^_masked_softmax|_cpu_fallback|^_pin_memory|^lift$": "called inside a function that has a rule",
    r"quantize|_fake_quant|_choose_qparams": "quantized",
    r"^_foreach_|^_fused_": "on lists of tensors, for optimizers, which record no gradient",
    r"^_test_|^_make_dual|^_fw_primal|^_reshape_from_tensor|^_lazy|^_unsafe_view$|^_nnpack": "internal to torch",
}  # fmt: skip
"""Pattern of operator names -> why these operators have no rule."""


NOTHING = {
    "Container", "DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase",
    "RNNCellBase", "Sequential",
}  # fmt: skip
"""Classes of torch.nn that compute nothing themselves."""


@dataclass(frozen=True)
class Entry:
    """One layer, function or operator of torch (`kind`). `state` is "rule", "view", "composed" (of other operators),
    "left out" (`reason` tells why) or "missing"."""

    kind: str
    name: str
    state: str
    reason: str = ""


def layers() -> Iterator[Entry]:
    """Every class of torch.nn that computes something."""
    ours = set(nn._LAYERS)
    for name, cls in sorted(vars(torch.nn).items()):
        if isinstance(cls, type) and issubclass(cls, torch.nn.Module) and name not in NOTHING:
            yield Entry("layer", name, "rule" if name in ours else "missing")


def functions() -> Iterator[Entry]:
    """Every function of torch.nn.functional, without in-place forms of others, which the others' entries cover."""
    ours = set(functional.__all__)
    for name, function in sorted(vars(torch.nn.functional).items()):
        home = getattr(function, "__module__", None) or "torch"
        if (
            inspect.isroutine(function)
            and home.startswith("torch")
            and not name.startswith("_")
            and name not in HELPERS
        ):
            if name.endswith("_") and hasattr(torch.nn.functional, name[:-1]):
                continue
            state = "rule" if name in ours else "left out" if name in CONSTANT else "missing"
            yield Entry("function", name, state, "torch has no derivative for it" if state == "left out" else "")


def differentiable() -> list[str]:
    """The operators in torch's derivatives.yaml that have a derivative. Raises BadInput where the file is not there."""
    spec = importlib.util.find_spec("torchgen")
    path = Path(str(spec and spec.origin)).parent / "packaged" / "autograd" / "derivatives.yaml"
    if not path.exists():
        raise BadInput(
            f"the list of operators in torch {torch.__version__} was not found. expected: {path}. Reinstall torch: "
            "its package torchgen has this file"
        )
    found = []
    for entry in re.split(r"^- name: ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        lines = [line.strip().partition(":") for line in entry.splitlines()[1:] if re.match(r"^  \w", line)]
        fields = {key: value.strip() for key, _, value in lines}
        constant = "True" not in fields.pop("output_differentiability", "True")
        formulas = [value for key, value in fields.items() if key not in ("result", "dispatch")]
        known = [v for v in formulas if v != "non_differentiable" and not v.startswith("not_implemented")]
        if not constant and (known or not formulas):
            found.append(entry.partition("(")[0].strip())
    return found


def operators() -> Iterator[Entry]:
    """Every overload of every differentiable ATen operator, without in-place forms, which the others' entries cover."""
    for full in sorted(differentiable()):
        name, _, overload = full.partition(".")
        func = getattr(getattr(torch.ops.aten, name, None), overload or "default", None)
        if func is not None and not name.endswith(("_", "_copy")):
            yield Entry("operator", full, *_state(func, name))


def _state(func: Any, name: str) -> tuple[str, str]:
    if served(func) is not None:
        return "rule", ""
    if func.is_view or "".join(part.capitalize() for part in name.split("_")) in VIEWS:
        return "view", ""
    if composite(func):
        return "composed", ""
    if not any("Tensor" in str(r.type) for r in func._schema.returns):
        return "composed", ""
    for pattern, reason in REASONS.items():
        if re.search(pattern, name):
            return "left out", reason
    return "missing", ""


def report(entries: Sequence[Entry], every: bool) -> str:
    """Counts for each kind, and the names that are missing; with `every`, one line for each entry."""
    lines = []
    for kind in ("layer", "function", "operator"):
        chosen = [entry for entry in entries if entry.kind == kind]
        counts = {state: sum(e.state == state for e in chosen) for state in ("rule", "view", "composed", "left out")}
        missing = [entry.name for entry in chosen if entry.state == "missing"]
        states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        if not chosen:
            continue
        lines.append(f"{len(chosen)} {kind}s: {states}, {len(missing)} missing" + ":" * bool(missing))
        if every:
            lines += [f"  {e.name:50} {e.state:9} {e.reason}".rstrip() for e in chosen]
        else:
            lines += [f"  {name}" for name in missing]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop coverage`."""
    parser = argparse.ArgumentParser("manual-backprop coverage", description=__doc__)
    parser.add_argument("--all", action="store_true", help="list each entry, with the reason where it is left out")
    parser.add_argument("--kind", choices=("layer", "function", "operator"), help="list one kind only")
    options = parser.parse_args(argv)
    entries = [*layers(), *functions(), *operators()]
    print(report([e for e in entries if options.kind in (None, e.kind)], options.all))
    return 0


if __name__ == "__main__":
    sys.exit(main())
