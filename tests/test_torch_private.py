"""Private names of torch: they stand in one file, and this torch has them."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import torch

import manual_backprop as mb
from manual_backprop.engine import torch_private
from tests.private_names import SOURCE, is_private, private_names

PACKAGE = Path(mb.__file__).parent
FOLDERS = (PACKAGE, *(PACKAGE.parent / name for name in ("benchmarks", "docs", "examples")))
PATHS = {
    call.args[0].value
    for call in ast.walk(ast.parse(SOURCE))
    if isinstance(call, ast.Call)
    and isinstance(call.func, ast.Name)
    and call.func.id in ("_named", "_missing")
    and isinstance(call.args[0], ast.Constant)
}
"""The private names that the file looks up."""


# One file


def others() -> list[Path]:
    """Every program but the one file; tests may use what they like, and listings name what formulas call."""
    files = [path for folder in FOLDERS for path in folder.rglob("*.py")]
    written = {path for path in files if path.parent.name == "written_out" and path.name != "make.py"}
    built = {path for path in files if "_build" in path.parts}
    return [path for path in files if path != Path(torch_private.__file__) and path not in written | built]


def test_no_other_file_uses_a_private_name_of_torch() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path in others()
        for line, name in private_names(path.read_text("utf-8"))
        if name not in torch_private.ATTRIBUTES
    ]
    assert len(others()) > 200
    assert found == []


PLANTED = (
    "import torch._dynamo",
    "import torch._inductor.config as config",
    "from torch import _C",
    "from torch._C import _functorch",
    "from torch._C._functorch import get_unwrapped",
    "from torch.nn.functional import _canonical_mask as canonical",
    "import torch\nx = torch._C._current_graph_task_id()",
    "import torch.nn.functional as F\nF._verify_batch_size([1])",
    "from torch.autograd import forward_ad\nif forward_ad._current_level >= 0: pass",
    "from torch import autograd as a\na.Variable._execution_engine",
    "import torch\nx = torch.ops.mkldnn._linear_pointwise.default",
    "def f(node):\n    return node._sequence_nr()",
    "def f(tensors):\n    return tensors[0]._cdata",
    "def f(module):\n    return [m._modules for m in module]",
    "def f(node):\n    return getattr(node, '_backward_cls', None)",
    "def f(module):\n    return vars(module)['_buffers']",
    "import pkgutil\npkgutil.resolve_name('torch._C:_is_alias_of')",
    "class A(B):\n    def _load_from_state_dict(self): pass",
)


@pytest.mark.parametrize("program", PLANTED)
def test_a_private_name_is_found(program: str) -> None:
    assert list(private_names(program))


@pytest.mark.parametrize(
    "program",
    [
        "import torch\nx = torch.Tensor.__add__",
        "class A:\n    def f(self):\n        self._own = self._other",
        '"""See torch._C._functorch."""',
        "from ._call import _explain\nimport _thread",
        "row._asdict()",
        "import torch\nx = torch.ops.aten._fft_r2c(torch.ones(2), [0], 0, True)",
        "@stands_for('_convolution')\ndef f(): pass",
        "import torch\nfor _ in torch.ones(2): pass",
    ],
)
def test_what_is_not_torchs_or_not_private_is_not(program: str) -> None:
    assert list(private_names(program)) == []


def test_every_name_in_the_file_is_used() -> None:
    text = "\n".join(path.read_text("utf-8") for path in others())
    tree = ast.parse(SOURCE)
    bound = [n.target.id for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    bound += [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    public = {name for name in bound if not name.startswith("_")} - {"FALLBACKS"}
    used = {node.id for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Name)}
    imported = {
        alias.name
        for path in others()
        for n in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(n, ast.ImportFrom) and (n.module or "").endswith("torch_private")
        for alias in n.names
    }
    assert len(public) > 30
    assert public - imported - used == set()
    assert {name for name in torch_private.ATTRIBUTES if f".{name}" not in text and f"def {name}" not in text} == set()


# This torch


@pytest.mark.parametrize("path", sorted(PATHS))
def test_this_torch_has(path: str) -> None:
    assert pkgutil.resolve_name(path) is not None
    name = path.partition(":")[2]
    assert is_private(name.split(".")[-1]) or "._" in f".{name}" or "._" in path


OBJECTS: dict[str, Any] = {
    **dict.fromkeys(("_base", "_is_view", "_is_zerotensor", "_version", "_indices", "_values"), torch.ones(2)),
    **dict.fromkeys(("_schema", "_overloadname"), torch.ops.aten.relu.default),
    **dict.fromkeys([f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)], torch.ops.aten),
    **dict.fromkeys([f"_upsample_{kind}2d_aa" for kind in ("bilinear", "bicubic", "lanczos")], torch.ops.aten),
    "_forward_cls": mb.functional.sigmoid(torch.ones(2, requires_grad=True)).grad_fn,
    "_check_input_dim": torch.nn.BatchNorm2d(1),
    "_conv_forward": torch.nn.Conv2d(1, 1, 1),
    "_output_padding": torch.nn.ConvTranspose2d(1, 1, 1),
    "_reversed_padding_repeated_twice": torch.nn.Conv2d(1, 1, 1),
    "_update_flat_weights": torch.nn.LSTM(1, 1),
    "_pack_padded_sequence": torch.ops.aten,
    **dict.fromkeys(("_sa_block", "_mha_block", "_ff_block"), torch.nn.TransformerDecoderLayer(2, 1, 2)),
}
"""Attribute -> a thing of torch's that has it."""


@pytest.mark.parametrize("name", torch_private.ATTRIBUTES)
def test_this_torch_has_the_attribute(name: str) -> None:
    assert hasattr(OBJECTS[name], name)
