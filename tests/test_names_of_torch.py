"""manual_backprop.nn in place of torch.nn: what imports as it does there, and what is refused with a reason."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.common_types

import manual_backprop as mb
from manual_backprop.functional._without_rules import CONSTANT, HELPERS

STUBS = Path(mb.__file__).parent
SAME = [
    "common_types",
    "init",
    "parallel",
    "parallel.distributed",
    "parameter",
    "utils",
    "utils.parametrize",
    "utils.rnn",
]
SAME += ["modules.container", "modules.lazy", "modules.module", "modules.utils", "utils.prune"]


@pytest.mark.parametrize("name", SAME)
def test_modules_without_layers_are_torchs_own(name: str) -> None:
    """The very module: a class that were defined twice would not be an instance of itself."""
    theirs = importlib.import_module(f"torch.nn.{name}")
    assert importlib.import_module(f"manual_backprop.nn.{name}") is theirs
    assert theirs.__name__ == theirs.__spec__.name == f"torch.nn.{name}"


IMPORTS = """
import manual_backprop.nn.functional as F, manual_backprop.nn.init as init, manual_backprop.nn.utils
from manual_backprop.nn.utils.rnn import pad_sequence, PackedSequence
from manual_backprop.nn.functional import relu, one_hot
from manual_backprop.nn.modules import Linear, Module
import manual_backprop as mb, torch
assert F is mb.functional and relu is mb.functional.relu and one_hot is torch.nn.functional.one_hot
assert init is torch.nn.init and PackedSequence is torch.nn.utils.rnn.PackedSequence
assert Linear is mb.nn.Linear and Module is torch.nn.Module
"""


@pytest.mark.parametrize("line", IMPORTS.splitlines()[1:5])
def test_imports_work_as_the_first_line_of_a_program(line: str) -> None:
    """In a process where nothing has imported the package before."""
    program = f"{line}\n{IMPORTS}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_modules_has_our_layers_and_torchs_containers() -> None:
    everything: dict[str, object] = {}
    exec("from manual_backprop.nn.modules import *", everything)
    for name in torch.nn.modules.__all__:
        assert everything[name] is getattr(mb.nn, name), name
    assert everything["Conv2d"] is not torch.nn.Conv2d
    assert everything["Sequential"] is torch.nn.Sequential


def test_files_of_modules_have_our_layers() -> None:
    """As `torch.serialization.safe_globals` lists them."""
    from manual_backprop.nn.modules.activation import ReLU
    from manual_backprop.nn.modules.linear import NonDynamicallyQuantizableLinear

    assert ReLU is mb.nn.ReLU
    assert NonDynamicallyQuantizableLinear is mb.nn.NonDynamicallyQuantizableLinear
    for name in torch.nn.modules.__all__:
        file = getattr(torch.nn, name).__module__.rpartition(".")[2]
        assert getattr(getattr(mb.nn.modules, file), name) is getattr(mb.nn, name), name


@pytest.mark.parametrize("name", ["DataParallel", "Module", "Parameter", "RNNBase", "Sequential", "init", "utils"])
def test_what_is_no_layer_is_torchs_own(name: str) -> None:
    assert getattr(mb.nn, name) is getattr(torch.nn, name)


@pytest.mark.parametrize("name", [*sorted(CONSTANT | HELPERS), "GRID_SAMPLE_PADDING_MODES", "Tensor"])
def test_what_has_no_derivative_is_torchs_own(name: str) -> None:
    if not hasattr(torch.nn.functional, name):
        pytest.skip(f"not in torch {torch.__version__}")
    assert getattr(mb.functional, name) is getattr(torch.nn.functional, name)


class Missing(torch.nn.Module):
    """A layer of some later torch."""


@pytest.fixture
def newer_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn, "Missing", Missing, raising=False)
    monkeypatch.setattr(torch.nn.modules, "Missing", Missing, raising=False)
    monkeypatch.setattr(torch.nn.functional, "missing", lambda input: input, raising=False)


REFUSED = [
    ("nn", "Missing", "no rule for 'Missing' yet; torch.nn.Missing computes it with autograd's own backward"),
    ("nn.modules", "Missing", "no rule for 'Missing' yet"),
    ("functional", "missing", "no rule for 'missing' yet; torch.nn.functional.missing computes it"),
    ("nn.functional", "missing", "no rule for 'missing' yet"),
    ("functional", "_canonical_mask", "a private function of torch; torch.nn.functional._canonical_mask"),
    ("nn", "grad", "no 'grad': what torch.nn.grad computes does not run on rules. Write torch.nn.grad"),
    ("nn", "quantized", "Write torch.nn.quantized"),
    ("nn.modules.batchnorm", "_BatchNorm", "Import base classes, such as _BatchNorm, from torch.nn.modules.batchnorm"),
]


@pytest.mark.usefixtures("newer_torch")
@pytest.mark.parametrize(("package", "name", "reason"), REFUSED, ids=[f"{row[0]}.{row[1]}" for row in REFUSED])
def test_a_refusal_has_one_reason_however_it_is_asked_for(package: str, name: str, reason: str) -> None:
    module = importlib.import_module(f"manual_backprop.{package}")
    with pytest.raises(AttributeError, match=re.escape(reason)) as attribute:
        getattr(module, name)
    for statement in (f"from manual_backprop.{package} import {name}", f"import {module.__name__}.{name}"):
        with pytest.raises(ImportError) as imported:
            exec(statement)
        assert str(imported.value) == str(attribute.value), statement
    assert not hasattr(module, name)


@pytest.mark.parametrize("package", ["nn", "nn.modules", "nn.modules.activation", "functional"])
def test_what_torch_does_not_have_either_is_pythons_own_error(package: str) -> None:
    module: ModuleType = importlib.import_module(f"manual_backprop.{package}")
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'Nonsense'"):
        module.Nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        exec(f"from manual_backprop.{package} import Nonsense")
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{module.__name__}.Nonsense'"):
        importlib.import_module(f"{module.__name__}.Nonsense")


def test_every_further_name_of_a_module_has_its_stub() -> None:
    """Type checkers look for a file."""
    below = {name: module for name, module in sys.modules.items() if name.startswith("manual_backprop.nn.")}
    names = [name for name, module in below.items() if module.__name__.startswith("torch.nn.")]
    assert len(names) > 20
    for name in [*names, "manual_backprop.nn.functional", "manual_backprop.nn.modules"]:
        path = STUBS.parent / name.replace(".", "/")
        assert path.with_suffix(".pyi").is_file() or (path / "__init__.pyi").is_file(), name


def test_all_names_can_be_imported_at_once() -> None:
    """`from torch.nn import *` gives torch's containers and submodules, too; so does ours."""
    theirs: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    exec("from torch.nn import *", theirs)
    exec("from manual_backprop.nn import *", ours)
    other_libraries = {"attention", "grad", "intrinsic", "modules", "qat", "quantizable", "quantized"}
    assert theirs.keys() - ours.keys() <= other_libraries
    assert ours["Linear"] is mb.nn.Linear
    assert ours["functional"] is mb.functional
    assert ours["Module"] is torch.nn.Module
