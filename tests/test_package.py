"""The package as a whole: what is public, what an import costs and pulls in, that every public layer has a row."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop.engine.exports import defined
from manual_backprop.engine.rule import paragraphs
from manual_backprop.functional import _derived
from manual_backprop.rules import RULES
from manual_backprop.testing.cases import CASES

# ours alone before torch 2.13; tests/test_linear_cross_entropy.py has more
NEW = {name for name in ("LinearCrossEntropyLoss",) if not hasattr(torch.nn, name)}
NEW |= {name for name in ("linear_cross_entropy",) if not hasattr(torch.nn.functional, name)}


def layers() -> list[str]:
    """Public layers of ours: subclasses of a torch.nn class of the same name."""
    found = []
    for name in mb.nn._LAYERS:
        ours = getattr(mb.nn, name)
        if name in NEW:
            continue
        if inspect.isclass(ours) and ours.__module__.startswith("manual_backprop.") and not name.startswith("Lazy"):
            found.append(name)
    return found


def functions() -> list[str]:
    """Public functions with a rule; `call` applies any."""
    return [name for name in mb.functional.__all__ if name not in {"call", *NEW}]


@pytest.mark.parametrize("name", [*layers(), *functions()])
def test_every_public_layer_and_function_has_a_row(name: str) -> None:
    """One that follows from a rule is run by the rows of the layer of its name."""
    covered = {case.covers for case in CASES}
    if name in vars(_derived):
        covered |= {_derived.NAMES[cover.lower()] for cover in covered if cover.lower() in _derived.NAMES}
        covered |= {f"{cover}_" for cover in covered}
    assert name in covered, f"add a row for {name} to the family's file of cases"


@pytest.mark.parametrize("name", layers())
def test_a_layer_is_a_subclass_of_its_twin_and_overrides_forward_alone(name: str) -> None:
    ours, twin = getattr(mb.nn, name), getattr(torch.nn, name)
    assert issubclass(ours, twin)
    assert ours.__name__ == name
    assert inspect.signature(ours) == inspect.signature(twin), "the constructor is the twin's"


@pytest.mark.parametrize("name", functions())
def test_a_function_has_the_signature_of_its_twin(name: str) -> None:
    twin = getattr(torch.nn.functional, name, None)
    try:
        expected = inspect.signature(twin)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        assert twin is None or callable(twin), "a builtin has no signature to compare"
        return
    if list(expected.parameters) == ["args", "kwargs"]:
        return  # torch's boolean dispatch hides the names
    ours = inspect.signature(getattr(mb.functional, name))
    assert list(ours.parameters) == list(expected.parameters)
    defaults = {n: p.default for n, p in expected.parameters.items()}
    assert {n: p.default for n, p in ours.parameters.items()} == defaults


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_documented_as_a_textbook_would(name: str) -> None:
    documented = paragraphs(RULES[name])
    assert len(documented) >= 3, "formula, shapes, backward formulas"
    assert "delta" in documented[1], "the second paragraph names the shapes"
    assert RULES[name] is getattr(mb.rules, name)


def test_a_rule_of_a_user_runs_and_is_not_counted_among_ours() -> None:
    class ReLU(mb.rules.Rule):
        """y = 2 x

        input, output, delta (*)

        delta_input = 2 delta
        """

        @staticmethod
        def forward(input: torch.Tensor) -> torch.Tensor:
            return input * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, delta: torch.Tensor) -> torch.Tensor:
            return delta * 2

    x = torch.ones(3, requires_grad=True)
    mb.functional.call(ReLU, x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    assert RULES["ReLU"] is mb.rules.ReLU
    assert all(rule.__module__.startswith("manual_backprop.rules.") for rule in RULES.values())
    with pytest.raises(TypeError, match=r"(?s)in ReLU: y = 2 x.*got: +input None.*expected: input, output"):
        mb.functional.call(ReLU, None)


def test_import_pulls_in_nothing_of_the_train_extra() -> None:
    code = (
        "import sys, manual_backprop;"
        "heavy = {'pytorch_lightning', 'torchvision', 'matplotlib', 'sklearn', 'torchmetrics', 'rich', 'jsonargparse'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


BACKWARD_OF_TORCH = re.compile(
    r"(torch|F)\.(\w+\.)*\w*_backward\w*(\.\w+)?|(\w+\.)*autograd\.(grad|backward)|torch\.func\.vjp"
)
ALLOWED = (
    "kernels/vendor.py",  # the one place for a vendor's kernels, each tested equal to its formula
    "testing/", "bench/",  # compare with torch and time it
    "_backward_pass.py", "audit.py",  # run a whole backward pass, as a user does
)  # fmt: skip
"""Where torch's own backwards may be called."""


def backwards_of_torch(text: str) -> list[str]:
    """The names of torch's backwards that a program calls."""
    called = [ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [name for name in called if BACKWARD_OF_TORCH.fullmatch(name)]


def test_no_rule_and_no_kernel_calls_a_backward_of_torch() -> None:
    root = Path(mb.__file__).parent
    found = {
        path.relative_to(root).as_posix(): backwards_of_torch(path.read_text("utf-8")) for path in root.rglob("*.py")
    }
    assert {name: calls for name, calls in found.items() if calls and not name.startswith(ALLOWED)} == {}


def test_that_search_finds_them() -> None:
    for call in ("torch._softmax_backward_data(a)", "torch.ops.aten.tanh_backward.default(a)", "autograd.grad(a, b)"):
        assert backwards_of_torch(f"x = {call}")
    assert not backwards_of_torch("x = rules.Tanh.backward(ctx, d)  # torch.ops.aten.tanh_backward(a)")


@pytest.mark.parametrize("name", [n for n in functions() if getattr(mb.functional, n).__module__ == _derived.__name__])
def test_a_function_that_follows_from_a_rule_is_written_out(name: str) -> None:
    function = getattr(mb.functional, name)
    assert f"def {name}(" in inspect.getsource(function)
    rule = next(rule for rule in RULES.values() if f"`mb.rules.{rule.__name__}`" in inspect.getdoc(function))
    assert inspect.getdoc(function).startswith(paragraphs(rule)[0])
    assert pickle.loads(pickle.dumps(function)) is function


def test_what_files_define_is_found_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "__init__": "", "one": "class A: pass\nclass _B: pass\nfrom pathlib import Path\n", "_two": "class C: pass\n",
        "three": "from .one import A\nclass D: pass\n",
    }  # fmt: skip
    (tmp_path / "found").mkdir()
    for name, text in files.items():
        (tmp_path / "found" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("found")
    assert set(defined("found", inspect.isclass)) == {"A", "D"}
    (tmp_path / "found" / "zero.py").write_text("class A: pass\n")
    importlib.invalidate_caches()
    with pytest.raises(ImportError, match=r"A is defined twice: in found\.one and in found\.zero"):
        defined("found", inspect.isclass)
