"""What forwards keep: recomputed bit for bit from what is kept anyway, rounded where that was asked for."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop._observe import graph
from manual_backprop.engine import rule as _rule
from manual_backprop.memory import codes as _codes
from manual_backprop.memory import recompute as _recompute
from manual_backprop.memory import saving as _saving
from tests.limits import large


@pytest.fixture(autouse=True)
def small_tensors_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    large(monkeypatch, 1)
    with mb.saving("exact"):
        yield


class Residual(torch.nn.Module):
    def __init__(self, channels: int, inplace: bool) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(self.relu(self.norms[0](self.first(x)))))
        return self.relu(F.add(y, x))


class Mixed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.rms, self.group = nn.LayerNorm(8), nn.RMSNorm(8), nn.GroupNorm(2, 8)
        self.left, self.right, self.last = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 3)
        self.slope, self.drop = nn.PReLU(), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        left = F.gelu(self.left(self.norm(x)))
        right = F.glu(self.right(self.rms(F.sub(x, left))))
        both = F.cat((self.drop(F.silu(left)), self.slope(self.group(right.flatten(0, 1)).reshape(x.shape))), -1)
        return self.last(F.tanh(both))


def _normed() -> torch.nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ELU(), nn.Dropout(0.5), nn.Linear(8, 2))


def _pooled() -> torch.nn.Module:
    return nn.Sequential(Residual(4, False), Residual(4, False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2))


NETS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "gelu": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.Mish(), nn.Linear(8, 2)), (5, 6)),
    "norms": (_normed, (5, 6)),
    "residual": (_pooled, (3, 4, 4, 4)),
    "in-place": (lambda: nn.Sequential(Residual(4, True), nn.Flatten(), nn.Linear(64, 2)), (3, 4, 4, 4)),
    "mixed": (Mixed, (2, 3, 8)),
}


def made(name: str) -> tuple[torch.nn.Module, Tensor]:
    torch.manual_seed(3)
    make, shape = NETS[name]
    return make(), torch.randn(shape)


def gradients(net: torch.nn.Module, x: Tensor, run: Callable = lambda net, x: net(x)) -> list[Tensor]:
    net, x = copy.deepcopy(net), x.clone().requires_grad_()
    torch.manual_seed(4)
    run(net, x).square().sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())]  # type: ignore[list-item]


def same(ours: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


@pytest.mark.parametrize("name", NETS)
def test_the_same_gradients_to_the_last_bit_from_fewer_bytes(name: str) -> None:
    net, x = made(name)
    with mb.saving("off"):
        expected, before = gradients(net, x), mb.saved_bytes(net, x).ours
    assert same(gradients(net, x), expected)
    assert mb.saved_bytes(net, x).ours < 0.9 * before


@pytest.mark.parametrize("name", NETS)
def test_a_recipe_that_is_wrong_gives_other_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = made(name)
    expected = gradients(net, x)

    def wrong(output: Tensor, index: int, function: Callable, *rest: Any) -> _saving.Offer:
        return _saving.Offer(output, index, lambda *args: _first(function(*args)) + 1e-3, *rest)

    monkeypatch.setattr(_rule, "Offer", wrong)
    assert not same(gradients(net, x), expected)


def _first(value: Tensor | tuple) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(name: str, reentrant: bool) -> None:
    net, x = made(name)
    assert same(gradients(net, x, lambda net, x: checkpoint(net, x, use_reentrant=reentrant)), gradients(net, x))


@pytest.mark.parametrize("name", NETS)
def test_retained_graph_and_hooks_on_saved_tensors(name: str) -> None:
    net, x = made(name)
    expected = gradients(net, x)

    def twice(net: torch.nn.Module, x: Tensor) -> Tensor:
        y = net(x)
        y.square().sum().backward(retain_graph=True)
        net.zero_grad()
        x.grad = None
        return y

    assert same(gradients(net, x, twice), expected)

    def with_hooks(net: torch.nn.Module, x: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
            return net(x)

    assert same(gradients(net, x, with_hooks), expected)


@pytest.mark.parametrize("name", ["gelu", "norms", "mixed"])
def test_second_derivatives(name: str) -> None:
    net, x = made(name)
    net, x = net.double().eval(), x.double().requires_grad_()
    weights = [p.requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradgradcheck(lambda x, *_: net(x), (x, *weights))


def test_second_derivative_by_a_tensor_in_between() -> None:
    x, weight = torch.randn(5, 6, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    a = F.gelu(F.mul(x, x))
    (grad_weight,) = torch.autograd.grad(F.linear(a, weight).sum(), weight, create_graph=True)
    (by_a,) = torch.autograd.grad(grad_weight.sum(), a)
    assert torch.equal(by_a, torch.full_like(a, 3.0))


def test_an_output_that_was_written_over_is_kept_as_it_is() -> None:
    def run(functions: object) -> Tensor:
        torch.manual_seed(0)
        x, weight = torch.randn(5, 6, requires_grad=True), torch.randn(3, 6, requires_grad=True)
        y = functions.layer_norm(x * 2, (6,))  # type: ignore[attr-defined]
        with torch.no_grad():
            y.mul_(3)
        functions.linear(y, weight).sum().backward()  # type: ignore[attr-defined]
        return weight.grad  # type: ignore[return-value]

    torch.testing.assert_close(run(F), run(torch.nn.functional))


def test_a_root_that_was_written_over_is_an_error() -> None:
    x, weight = torch.randn(5, 6, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    z = x * 2
    y = F.linear(F.gelu(z), weight)
    with torch.no_grad():
        z.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_frozen_parts_keep_nothing() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 2)).requires_grad_(False)
    x = torch.randn(5, 6)
    assert mb.saved_bytes(net, x).ours == 0
    net[2].requires_grad_(True)
    assert mb.saved_bytes(net, x).ours == 5 * 8 * 4  # the input of the last layer, which no one else keeps


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("backward", [True, False])
def test_what_is_kept_ends_with_the_graph(name: str, backward: bool) -> None:
    """At once, without the garbage collector: nothing in it refers back to itself."""
    net, x = made(name)
    gc.collect()
    gc.disable()
    try:
        y = net(x.requires_grad_()).square()
        nodes = [weakref.ref(node) for node in graph([y]) if isinstance(node, _recompute.Saving)]
        assert any(node().recipe is not None for node in nodes)  # type: ignore[union-attr]
        if backward:
            y.sum().backward(retain_graph=True)
        del y
        assert not [node for node in nodes if node() is not None]
    finally:
        gc.enable()


def test_outputs_stay_ordinary_tensors() -> None:
    y = F.gelu(torch.randn(4, 4, requires_grad=True) * 2)
    assert not y.__dict__
    assert torch.equal(pickle.loads(pickle.dumps(y.detach())), y)


def test_off_under_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = made("gelu")
    expected = gradients(net, x)
    monkeypatch.setattr(_rule, "pack_saved", None)
    found = gradients(net, x, lambda net, x: torch.compile(net, backend="aot_eager", fullgraph=True)(x))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_off_under_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = made("gelu")
    parameters = dict(net.named_parameters())

    def loss(parameters: dict, x: Tensor) -> Tensor:
        return torch.func.functional_call(net, parameters, (x,)).square().sum()

    with monkeypatch.context() as patch:
        patch.setattr(_rule, "pack_saved", None)
        per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    loss(parameters, x).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(per_sample[name].sum(0), parameter.grad)


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_masks_as_bits_and_back(count: int, seed: int) -> None:
    mask = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = _codes.pack_bits(mask)
    assert packed.nbytes == (count + 7) // 8
    assert torch.equal(_codes.unpack_bits(packed, count), mask)


@pytest.mark.parametrize("kind", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_rounding_is_near_and_right_in_the_mean(kind: str, dtype: torch.dtype) -> None:
    _codes.reseed()
    x = torch.randn(3, 5, 7, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    code = _codes.Code(x, kind)
    decoded = [code.decode(*code.encoded(x)) for _ in range(400)]
    assert decoded[0].dtype == dtype
    assert decoded[0].stride() == x.stride()
    range_ = float(x.max() - x.min())
    step = {"bf16": 2.0**-7 * float(x.abs().max()), "int8": range_ / 255, "int4": range_ / 15}[kind]
    errors = torch.stack(decoded).double() - x.double()
    assert errors.abs().max() <= step * 1.001  # and float32's own rounding
    # the mean of 400 errors below one step: standard deviation at most step / 2 / 20, and 5 of those among 630
    assert errors.mean(0).abs().max() <= 5 * step / 40
    assert not torch.equal(decoded[0], decoded[1])


@pytest.mark.parametrize("kind", ["bf16", "int8", "int4"])
def test_infinities_and_nan_do_not_vanish(kind: str) -> None:
    x = torch.ones(3 * 128)
    x[0], x[200] = float("inf"), float("nan")
    code = _codes.Code(x, kind)
    decoded = code.decode(*code.encoded(x))
    assert not decoded[0].isfinite()
    assert decoded[200].isnan()
    assert torch.equal(decoded[256:], x[256:])


@pytest.mark.parametrize(("mode", "bytes_", "error"), [("bf16", 0.5, 0.02), ("int8", 0.3, 0.05), ("int4", 0.2, 0.5)])
def test_rounded_activations(mode: str, bytes_: float, error: float) -> None:
    """Bytes beside autograd's, and gradients within `error` of the exact ones (three layers of relative steps)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 4))
    x = torch.randn(256, 64)
    exact = torch.cat([g.flatten() for g in gradients(net, x)])
    with mb.saving(mode):
        estimate = torch.cat([g.flatten() for g in gradients(net, x)])
        assert mb.saved_bytes(net, x).ratio <= bytes_
    assert 0 < (estimate - exact).norm() <= error * exact.norm()


def test_rounding_leaves_torchs_random_stream_alone() -> None:
    torch.manual_seed(0)
    with mb.saving("int4"):
        F.linear(F.gelu(torch.ones(9, 9, requires_grad=True) * 2), torch.ones(2, 9)).sum().backward()
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))


def test_noise_goes_on_from_step_to_step_and_repeats_with_the_seed() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))

    def decoded(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with mb.saving("int4"):
            code = _codes.Code(x, "int4")
            return code.decode(*code.encoded(x))

    first, second = decoded(4711), decoded(4711)
    assert not torch.equal(first, second), "one stream, however often the mode is chosen"
    other = decoded(4712)
    assert torch.equal(decoded(4711), first), "anew with another seed"
    assert not torch.equal(other, first)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got: 'int2'\. expected: one of 'exact', 'off', 'bf16', 'int8', 'int4'"):
        mb.saving("int2")
    mb.saving("off")
    assert _saving._mode == "off"
