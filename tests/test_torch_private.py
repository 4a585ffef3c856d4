"""Private names of torch: they stand in one file, this torch has them, and what stands in for each is right."""

from __future__ import annotations

import ast
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.engine import rule, torch_private
from manual_backprop.testing import CHECKS, Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_check
from tests.private_names import is_private, private_names

PACKAGE = Path(mb.__file__).parent
FOLDERS = (PACKAGE, *(PACKAGE.parent / name for name in ("benchmarks", "docs", "examples")))
SOURCE = Path(torch_private.__file__).read_text("utf-8")

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
    """Every program but the one file; tests may use what they like."""
    files = [path for folder in FOLDERS for path in folder.rglob("*.py")]
    return [path for path in files if path != Path(torch_private.__file__)]


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
    "import torch\nx = torch.ops.aten._unsafe_view.default",
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
    "_forward_cls": mb.functional.sigmoid(torch.ones(2, requires_grad=True)).grad_fn,
    "_check_input_dim": torch.nn.BatchNorm2d(1),
    "_conv_forward": torch.nn.Conv2d(1, 1, 1),
    "_output_padding": torch.nn.ConvTranspose2d(1, 1, 1),
    "_reversed_padding_repeated_twice": torch.nn.Conv2d(1, 1, 1),
    **dict.fromkeys(("_sa_block", "_mha_block", "_ff_block"), torch.nn.TransformerDecoderLayer(2, 1, 2)),
}
"""Attribute -> a thing of torch's that has it."""


@pytest.mark.parametrize("name", torch_private.ATTRIBUTES)
def test_this_torch_has_the_attribute(name: str) -> None:
    assert hasattr(OBJECTS[name], name)


def test_what_the_attributes_tell() -> None:
    x = torch.ones(2, 3)
    assert x[0]._base is x
    assert (x[0]._is_view(), x._is_view()) == (True, False)
    assert (x.add_(1)._version, x._version) == (1, 1)
    assert torch._efficientzerotensor(2)._is_zerotensor()
    assert not x._is_zerotensor()
    sparse = torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,), check_invariants=True)
    assert (sparse._indices().tolist(), sparse._values().tolist()) == ([[0, 0]], [1.0, 2.0])


# What each name tells, and the same of what stands in for it


def loaded(gone: str = "") -> ModuleType:
    """The file, in a torch in which a private name is gone."""
    assert not gone or SOURCE.count(gone)
    module = ModuleType("torch_private")
    exec(compile(SOURCE.replace(gone, "_gone") if gone else SOURCE, torch_private.__file__, "exec"), vars(module))
    return module


def forward_mode(p: Any) -> None:
    x = torch.ones(2)
    assert not p.in_forward_mode()
    with forward_ad.dual_level():
        assert p.in_forward_mode()
    torch.func.jvp(lambda x: [p.in_forward_mode() or pytest.fail("inside of jvp"), x][1], (x,), (x,))
    torch.func.grad(lambda x: [p.in_forward_mode() and pytest.fail("inside of grad"), x.sum()][1])(x)
    assert not p.in_forward_mode()


def autocast(p: Any) -> None:
    for device in ("cpu", "cuda"):
        assert not p.any_autocast()
        torch.set_autocast_enabled(device, True)
        try:
            assert p.any_autocast()
        finally:
            torch.set_autocast_enabled(device, False)


def storages(p: Any) -> None:
    x, y = torch.ones(2, 3), torch.ones(2, 3)
    assert p.share_storage(x, x.T)
    assert p.share_storage(x[0], x[1].detach())
    assert not p.share_storage(x, y)
    assert not p.share_storage(x.to("meta"), y.to("meta"))


def layouts(p: Any) -> None:
    last = torch.channels_last, torch.channels_last_3d
    for shape, form in (((2, 3, 4, 5), last[0]), ((2, 3, 4, 5, 6), last[1])):
        x = torch.ones(shape)
        assert p.suggested_memory_format(x) is torch.contiguous_format
        assert p.suggested_memory_format(x.to(memory_format=form)) is form
    assert p.suggested_memory_format(torch.ones(2, 3)) is torch.contiguous_format


def another_shape(p: Any) -> None:
    x = torch.arange(6.0)
    matrix = p.unsafe_view(x, (2, 3))
    assert matrix.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not matrix._is_view()


def batch_norm(p: Any) -> None:
    x, weight, bias = torch.randn(5, 3), torch.randn(3), torch.randn(3)
    moved, expected = ([torch.zeros(3), torch.ones(3)] for _ in range(2))
    output, mean, invstd, *_ = p.batch_norm_with_statistics(x, weight, bias, *moved, True, 0.1, 1e-5, True)
    torch.testing.assert_close(output, torch.nn.functional.batch_norm(x, *expected, weight, bias, True, 0.1, 1e-5))
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(invstd, (x.var(0, correction=0) + 1e-5).rsqrt())


def batched(p: Any) -> None:
    x = torch.ones(2, 3, 4)
    assert p.check_attention_shapes(x, x, x, None, None, 1)
    assert not p.check_attention_shapes(x[0], x[0], x[0], None, None, 1)


def cuda(p: Any) -> None:
    called: list[int] = []
    p.when_cuda_starts(lambda: called.append(1))
    assert len(called) == torch.cuda.is_initialized()


def rms_norm_under_autocast(p: Any) -> None:
    if torch.__version__ >= "2.14":
        assert p.has_kernel("aten::rms_norm", "AutocastCUDA")
    assert p.has_kernel("aten::layer_norm", "AutocastCUDA")


SAME: dict[str, Callable[[Any], None]] = {
    "_current_level": forward_mode,
    "_is_any_autocast_enabled": autocast,
    "_is_alias_of": storages,
    "suggest_memory_format": layouts,
    "_unsafe_view": another_shape,
    "_batch_norm_impl_index": batch_norm,
    "_mha_shape_check": batched,
    "_lazy_call": cuda,
    "_dispatch_has_kernel_for_dispatch_key": rms_norm_under_autocast,
}
"""Private name -> what holds with it and without it."""


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("there", [True, False], ids=["there", "gone"])
def test_what_stands_in_for_a_name_tells_the_same(name: str, there: bool) -> None:
    SAME[name](loaded("" if there else name))


def test_transforms_and_wrapped_tensors() -> None:
    seen: list[Any] = []

    def note(x: torch.Tensor) -> torch.Tensor:
        seen.extend((torch_private.transforms_active(), torch_private.unwrapped(x)))
        return x.sum()

    x = torch.ones(2, 3)
    torch.func.vmap(torch.func.grad(note))(x)
    assert seen[0]
    assert seen[1].data_ptr() == x.data_ptr()
    assert not torch_private.transforms_active()
    assert torch_private.unwrapped(x) is x
    for gone in ("is_functorch_wrapped_tensor", "get_unwrapped"):
        assert loaded(gone).unwrapped(x) is x
    assert loaded("_are_functorch_transforms_active").transforms_active()


def test_batched_gradients() -> None:
    found = []
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    y.register_hook(lambda delta: found.append(torch_private.batched_by_autograd(delta)))
    torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True, retain_graph=True)
    torch.autograd.grad(y, x, torch.ones(3))
    assert found == [True, False]
    assert loaded("is_legacy_batchedtensor").batched_by_autograd(x)


def test_stacks_of_modes() -> None:
    p = torch_private
    assert (p.function_modes(), p.dispatch_modes()) == (0, 0)
    with mb.explicit() as mode:
        assert p.function_modes() == 1
        assert p.function_mode_at(0) is mode
        assert p.pop_function_mode() is mode
        assert p.function_modes() == 0
        p.push_function_mode(mode)
        for name in ("_len", "_get_function_stack_at", "_pop_torch_function_stack", "_push_on_torch_function_stack"):
            assert loaded(name).function_modes() == 0
    with torch.utils._python_dispatch.TorchDispatchMode():
        assert p.dispatch_modes() == 1
    assert loaded("_len_torch_dispatch_stack").dispatch_modes() == 1


def test_the_running_pass_of_backward() -> None:
    p, told = torch_private, []
    x = torch.ones(3, requires_grad=True)
    y = x * 2

    def hook(delta: torch.Tensor) -> None:
        told.append(p.current_graph_task())
        p.end_of_pass(lambda: told.append("end"))

    y.register_hook(hook)
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    first, end, second, again = told
    assert (end, again) == ("end", "end")
    assert -1 < first < second
    assert p.current_graph_task() == -1
    assert loaded("_current_graph_task_id").current_graph_task() == -1


def test_nodes() -> None:
    p = torch_private
    x = torch.ones(3, requires_grad=True)
    begin = p.next_sequence_number()
    y = mb.functional.call(mb.rules.Mul, x, x)
    torchs = y * 2
    assert begin == p.sequence_number(y.grad_fn) < p.sequence_number(torchs.grad_fn) < p.next_sequence_number()
    assert issubclass(p.function_of(y.grad_fn), mb.rules.Mul)
    assert p.function_of(torchs.grad_fn) is None
    (metadata,) = p.input_metadata(y.grad_fn)
    assert (tuple(metadata.shape), metadata.dtype) == ((3,), torch.float32)
    assert loaded("_sequence_nr").sequence_number(y.grad_fn) == 0
    assert loaded("_get_sequence_nr").next_sequence_number() == 0
    assert loaded("_forward_cls").function_of(y.grad_fn) is None
    with p.engine_runs() as runs:
        torch.autograd.grad(torchs.sum(), x)
    assert len(runs) == 1


def test_the_class_of_nodes() -> None:
    class Mixin:
        pass

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    assert not loaded("_backward_cls").subclass_node(Twice, Mixin, {})
    assert not loaded("_current_graph_task_id").subclass_node(Twice, Mixin, {})
    assert torch_private.subclass_node(Twice, Mixin, {})
    assert isinstance(Twice.apply(torch.ones(2, requires_grad=True)).grad_fn, Mixin)


def test_the_running_checkpoint() -> None:
    p, seen = torch_private, []

    def forward(x: torch.Tensor) -> torch.Tensor:
        seen.append((p.checkpoint_state(), loaded("_top_saved_tensors_default_hooks").checkpoint_state()))
        return x.sin()

    assert p.checkpoint_state() == {}
    checkpoint(forward, torch.ones(2, requires_grad=True), use_reentrant=False).sum().backward()
    (first, none), (second, none_again) = seen
    assert callable(first["frame"].recompute_fn)
    assert second["target_frame_ref"]() is first["frame"]
    assert second["gid"] > -1
    assert none == none_again == {}
    with torch.autograd.graph.save_on_cpu():
        assert p.checkpoint_state() == {}


def test_hooks_and_members_of_a_module() -> None:
    p, module = torch_private, torch.nn.BatchNorm1d(1)
    assert not p.has_hooks(module)
    assert loaded("_global").has_hooks(module)
    hooks = torch.nn.modules.module
    for register in (
        module.register_forward_pre_hook, module.register_forward_hook, module.register_full_backward_pre_hook,
        module.register_full_backward_hook, hooks.register_module_forward_pre_hook,
        hooks.register_module_forward_hook, hooks.register_module_full_backward_pre_hook,
        hooks.register_module_full_backward_hook,
    ):  # fmt: skip
        handle = register(print)
        assert p.has_hooks(module), register
        handle.remove()
        assert not p.has_hooks(module)
    assert p.members(module).parameters["weight"] is module.weight
    assert p.members(module).buffers["running_mean"] is module.running_mean
    assert p.members(torch.nn.Sequential(module)).modules == {"0": module}


def test_names_of_compiled_modules_and_what_compile_refuses() -> None:
    compiled: Any = torch.compile(torch.nn.Sequential(torch.nn.ReLU()))
    assert [name.split(".")[0] for name, _ in compiled.named_children()] == [torch_private.COMPILED]
    broken = torch.compile(lambda x: [torch._dynamo.graph_break(), x][1], fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="graph_break") as raised:
        broken(torch.ones(2))
    assert torch_private.refused_by_compile(raised.value)
    assert not torch_private.refused_by_compile(RuntimeError())
    assert not loaded("torch._dynamo.exc:Unsupported").refused_by_compile(raised.value)


def test_the_caches_of_compile() -> None:
    with torch_private.compiling_from_nothing():
        assert torch._inductor.config.force_disable_caches
        assert torch._inductor.config.compile_threads == 1
    with loaded("torch._inductor:config").compiling_from_nothing():
        assert not torch._inductor.config.force_disable_caches


def test_what_inspects_a_run_says_what_it_lacks() -> None:
    for name in ("tree_map", "tree_map_only", "tree_flatten", "tree_unflatten"):
        with pytest.raises(NotImplementedError, match=rf"needs torch.utils._gone.{name}, which torch .* lacks"):
            vars(loaded("_pytree"))[name]([])

    class Watch(loaded("_python_dispatch").TorchDispatchMode):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

    with pytest.raises(NotImplementedError, match=r"mb.audit needs torch.utils._gone.TorchDispatchMode"):
        Watch()


# The package without a name

MEMORY = ("GELU", "LayerNorm-4", "ReLU-inplace=True", "BatchNorm2d-2")
ATTENTION = ("scaled_dot_product_attention",)
ROWS = {
    "_are_functorch_transforms_active": (
        "Linear-4-3", "GroupNorm-2-4-image", "Dropout", "MaxPool2d-2", "binary_cross_entropy_with_logits-weights",
        "scaled_dot_product_attention-mask", "embedding", "ReLU-inplace=True", "linear_cross_entropy", "add-broadcast",
    ),
    "_current_level": ("Linear-4-3", "LayerNorm-4", "ReLU-inplace=True", "embedding", "MaxPool2d-2", "cross_entropy"),
    "_is_any_autocast_enabled": ("Linear-4-3", "LayerNorm-4"),
    "_len_torch_function_stack": ("Linear-4-3",),
    "_len_torch_dispatch_stack": ("ReLU-inplace=True",),
    "is_functorch_wrapped_tensor": ("Linear-4-3", "add-broadcast", "ReLU-inplace=True"),
    "is_legacy_batchedtensor": ("GELU", "LayerNorm-4", "MaxPool2d-2"),
    "_is_alias_of": ("add-broadcast",),
    "suggest_memory_format": ("GroupNorm-2-4-image",),
    "_current_graph_task_id": MEMORY,
    "_backward_cls": MEMORY,
    "_execution_engine": MEMORY,
    "_get_sequence_nr": ("GELU",),
    "_sequence_nr": ("GELU",),
    "_top_saved_tensors_default_hooks": ("GELU",),
    "_linear_pointwise": ("Linear-4-3",),
    "_unsafe_view": ("Linear-4-3-4d",),
    "_scaled_dot_product_flash_attention_for_cpu": ATTENTION,
    "_fused_sdp_choice": ATTENTION,
    "_batch_norm_impl_index": ("BatchNorm2d-2", "batch_norm-weight-only"),
}  # fmt: skip
"""A private name -> rows of the check suite that use what stands in for it."""

UNFUSED = ("forward", "specials", "autocast")
EXCUSED = {
    ("_fused_sdp_choice", *ATTENTION): UNFUSED,
    ("_scaled_dot_product_flash_attention_for_cpu", *ATTENTION): UNFUSED,
    ("_are_functorch_transforms_active", "ReLU-inplace=True"): ("explicit",),
}
"""Checks that ask for more than right results: the bits of a fused forward of torch's, and no copy of torch's."""

CHECKED = [name for name in CHECKS if name not in ("compiled", "layouts", "bfloat16")]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The whole package in a torch that lacks a name."""

    def give(gone: str) -> None:
        module = loaded(gone)
        for user in [m for name, m in sys.modules.items() if name.startswith("manual_backprop.")]:
            for key, value in list(vars(user).items()):
                if user is not torch_private and value is vars(torch_private).get(key, loaded):
                    monkeypatch.setattr(user, key, vars(module)[key])
        rule.plain.cache_clear()

    yield give
    monkeypatch.undo()
    rule.plain.cache_clear()


@pytest.mark.parametrize(("gone", "row"), [(gone, row) for gone in ROWS for row in ROWS[gone]])
def test_a_row_without_a_name(gone: str, row: str, without: Callable[[str], None]) -> None:
    without(gone)
    (case,) = (case for case in CASES if case.name == row)
    subject = Subject(case, "cpu")
    results = [run_check(subject, name) for name in CHECKED if name not in EXCUSED.get((gone, row), ())]
    assert [result.detail for result in results if result.outcome not in ("pass", "n/a")] == []


def gradients(saving: str = "exact") -> list[torch.Tensor]:
    """Of a network whose activations are recomputed, some inside of a checkpoint, with writes in place, two passes of
    backward, and arithmetic inside of `mb.explicit`."""
    torch.manual_seed(0)
    nn = mb.nn
    first, last = nn.Sequential(nn.Linear(8, 128), nn.GELU(), nn.LayerNorm(128)), nn.Linear(128, 8)
    middle = nn.Sequential(nn.Linear(128, 128), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(128, 128), nn.SiLU())
    x = torch.randn(256, 8, requires_grad=True)
    with mb.saving(saving), mb.explicit():
        y = checkpoint(middle, first(x), use_reentrant=False)
        y = last(torch.tanh(y) + y)
        part, loss = y[:, 0].sum(), mb.functional.mse_loss(y, torch.ones_like(y))
    leaves = [x, *first.parameters(), *middle.parameters(), *last.parameters()]
    once = torch.autograd.grad(part, leaves, retain_graph=True)
    return [*once, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("gone", sorted({*ROWS, "_push_on_torch_function_stack", "get_unwrapped", "_global"}))
def test_a_network_without_a_name(gone: str, without: Callable[[str], None]) -> None:
    expected = gradients()
    without(gone)
    for ours, theirs in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gone", ["_backward_cls", "_current_graph_task_id"])
def test_all_is_saved_where_nodes_cannot_recompute(gone: str, without: Callable[[str], None]) -> None:
    block = mb.nn.Sequential(mb.nn.Linear(64, 256), mb.nn.GELU(), mb.nn.Linear(256, 64))
    x = torch.randn(256, 64)
    assert mb.saved_bytes(block, x).ratio < 0.6
    expected = gradients("off")
    without(gone)
    assert mb.saved_bytes(block, x).ratio == 1
    for ours, theirs in zip(gradients("int4"), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
