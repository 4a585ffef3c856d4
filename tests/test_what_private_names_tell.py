"""What each private name of torch tells, and that what stands in for it tells the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.engine import torch_private
from tests.private_names import loaded


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


def test_what_the_attributes_tell() -> None:
    x = torch.ones(2, 3)
    assert x[0]._base is x
    assert (x[0]._is_view(), x._is_view()) == (True, False)
    assert (x.add_(1)._version, x._version) == (1, 1)
    assert torch._efficientzerotensor(2)._is_zerotensor()
    assert not x._is_zerotensor()
    sparse = torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,), check_invariants=True)
    assert (sparse._indices().tolist(), sparse._values().tolist()) == ([[0, 0]], [1.0, 2.0])


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
    parameters, buffers, _ = p.members(module)
    assert parameters["weight"] is module.weight
    assert buffers["running_mean"] is module.running_mean
    assert p.members(torch.nn.Sequential(module))[2] == {"0": module}


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
