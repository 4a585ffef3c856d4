"""Layers that a module calls one behind the other as one rule: where that is, and where it must not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

import manual_backprop as mb
from manual_backprop._nodes import rule_of
from manual_backprop._observe import graph
from manual_backprop.nn import _together
from tests.limits import large

Layer = torch.nn.Module
TOGETHER = ("AddLayerNorm", "AddRMSNorm", "BiasActivation")
APART = ("LayerNorm", "RMSNorm", "ReLU", "GELU")


def encoder(nn: Any = mb.nn, **options: Any) -> Layer:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(16, 2, 32, 0.0, **{"batch_first": True, "activation": F.gelu, **options})


def decoder(nn: Any = mb.nn, **options: Any) -> Layer:
    torch.manual_seed(0)
    return nn.TransformerDecoderLayer(16, 2, 32, 0.0, **{"batch_first": True, "activation": F.gelu, **options})


def tokens(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


def rules_of(output: Tensor) -> Counter[str]:
    names = Counter(rule.__name__ for node in graph([output]) if (rule := rule_of(node)))
    return Counter({name: names[name] for name in (*TOGETHER, *APART) if names[name]})


@pytest.mark.parametrize("first", [False, True])
def test_transformer_layers_are_made_of_them(first: bool) -> None:
    found = rules_of(encoder(norm_first=first)(tokens()))
    assert found == {"AddLayerNorm": 1 + (not first), "BiasActivation": 1} | ({"LayerNorm": 1} if first else {})
    found = rules_of(decoder(norm_first=first)(tokens(), tokens()))
    assert found == {"AddLayerNorm": 2 + (not first), "BiasActivation": 1} | ({"LayerNorm": 1} if first else {})


@pytest.mark.parametrize("activation", ["relu", "gelu", F.silu, F.mish, torch.tanh, torch.sigmoid, F.tanh, torch.relu])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("make", [encoder, decoder])
def test_they_compute_what_the_layers_do(make: Callable[..., Layer], first: bool, activation: Any) -> None:
    results = []
    for nn in (mb.nn, torch.nn):
        layer, x = make(nn, norm_first=first, activation=activation).double(), tokens(torch.double)
        inputs = (x,) if make is encoder else (x, x * 2)
        output = layer(*inputs)
        assert nn is torch.nn or rules_of(output)["BiasActivation"] == 1
        results.append([output, *torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)  # sums in another order


def test_another_norm_of_ours_and_none_of_ours() -> None:
    layer = encoder()
    layer.norm1, layer.norm2 = mb.nn.RMSNorm(16), torch.nn.LayerNorm(16)
    assert rules_of(layer(tokens())) == {"AddRMSNorm": 1, "BiasActivation": 1}


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)  # fmt: skip
def test_what_someone_watches_is_called(register: str) -> None:
    layer = encoder()
    apart, together = {"LayerNorm": 2, "GELU": 1}, {"AddLayerNorm": 2, "BiasActivation": 1}
    handles = [getattr(part, register)(lambda *_: None) for part in (layer.norm1, layer.norm2, layer.linear1)]
    assert rules_of(layer(tokens())) == apart
    for handle in handles:
        handle.remove()
    assert rules_of(layer(tokens())) == together
    name = register.replace("register_", "register_module_")
    handle = getattr(torch.nn.modules.module, name)(lambda *_: None)
    try:
        assert rules_of(layer(tokens())) == apart
    finally:
        handle.remove()
    for part in (layer.norm1, layer.norm2, layer.linear1):
        part.forward = type(part).forward.__get__(part)  # what some libraries wrap
    assert rules_of(layer(tokens())) == apart


def test_what_has_a_class_of_its_own_is_called() -> None:
    layer = encoder()
    torch.nn.utils.parametrizations.weight_norm(layer.linear1)
    layer.norm1 = type("Mine", (mb.nn.LayerNorm,), {})(16)
    assert rules_of(layer(tokens())) == {"LayerNorm": 1, "AddLayerNorm": 1, "GELU": 1}
    assert rules_of(encoder(bias=False)(tokens())) == {"AddLayerNorm": 2, "GELU": 1}
    assert rules_of(encoder(activation=torch.nn.ReLU())(tokens()))["BiasActivation"] == 0


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_as_the_twin(first: bool, dtype: torch.dtype) -> None:
    """Of dtypes, and of values to what bfloat16 leaves of them."""
    results = []
    for nn in (mb.nn, torch.nn):
        layer, x = encoder(nn, norm_first=first).to(dtype), tokens(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(x)
        gradients = torch.autograd.grad(output.float().sin().sum(), [x, *layer.parameters()])
        results.append([output.detach(), *gradients])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        assert float((ours - theirs).abs().max()) <= 0.04 * float(theirs.abs().max())  # seen: 0.02


def test_a_norm_that_autocast_computes_in_float32_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = encoder().bfloat16()
    assert rules_of(layer(tokens(torch.bfloat16)))["AddLayerNorm"] == 2
    with torch.autocast("cpu", torch.bfloat16):
        assert rules_of(layer(tokens(torch.bfloat16)))["AddLayerNorm"] == 0


def kept(layer: Layer, x: Tensor) -> int:
    """Bytes of all storages that one forward saves, but for parameters, which live anyway."""
    found = {}
    alive = {p.untyped_storage()._cdata for p in layer.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = layer(x)  # noqa: F841 (alive, with all that it keeps, until the count is made)
    return sum(storage.nbytes() for address, storage in found.items() if address not in alive)


@pytest.mark.parametrize("mode", ["exact", "off"])
@pytest.mark.parametrize("first", [False, True])
def test_they_keep_no_more_than_the_layers(first: bool, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch, 1)
    layer, x, found = encoder(norm_first=first), tokens(), []
    with mb.saving(mode):
        found.append(kept(layer, x))
        monkeypatch.setattr(_together, "_unwatched", lambda _: False)
        found.append(kept(layer, x))
    # and a copy of the activation's bias, which `.data` may change before the backward; the layers keep the sum
    assert found[0] <= found[1] + layer.linear1.bias.nbytes


@pytest.mark.parametrize("size", [8, 600])
@pytest.mark.parametrize("first", [False, True])
def test_what_they_make_again_is_the_same_bit_for_bit(size: int, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The norms' outputs and the activations, which the projections behind them need; by ATen's loops and by ours."""
    large(monkeypatch, 1)
    layer, gradients, bytes_kept = encoder(norm_first=first), [], []
    for mode in ("exact", "off"):
        x = torch.randn(2, size, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with mb.saving(mode):
            bytes_kept.append(kept(layer, x))
            output = layer(x)
        gradients.append(torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()]))
    assert bytes_kept[0] < 0.9 * bytes_kept[1]
    assert all(torch.equal(again, stayed) for again, stayed in zip(*gradients, strict=True))


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_two_dtypes(activation: str) -> None:
    """Outputs and gradients have the dtypes, and the values, that torch gives them."""
    x, wide = tokens(), tokens(torch.double)
    results = []
    for ours in (True, False):
        single, double = x.detach().requires_grad_(), wide.detach()[0, 0].requires_grad_()
        if ours:
            y = mb.functional.bias_activation(single, double, activation)
            _, s = mb.functional.add_layer_norm(single, double, (16,))
            r, t = mb.functional.add_rms_norm(double, single, (16,), eps=1e-5)
        else:
            y = getattr(F, activation)(single + double)
            s = t = single + double
            r = F.rms_norm(t, (16,), eps=1e-5)
        loss = y.sin().sum() + s.sin().sum() + (r * t).sin().sum()
        results.append([y.detach(), s.detach(), r.detach(), *torch.autograd.grad(loss, [single, double])])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)  # roundings of float32; dtypes, too


def test_the_rms_norm_keeps_what_is_recomputed() -> None:
    layer, x = encoder(), torch.randn(64, 80, 16, requires_grad=True)
    layer.norm1, layer.norm2 = mb.nn.RMSNorm(16), mb.nn.RMSNorm(16)
    gradients = []
    for mode in ("exact", "off"):
        with mb.saving(mode):
            output = layer(x)
        gradients.append(torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()]))
    assert all(torch.equal(again, stayed) for again, stayed in zip(*gradients, strict=True))


def test_compiled_they_are_apart() -> None:
    layer = encoder()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = tokens()
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: mb.functional.add_layer_norm(torch.ones(2, 3), 1.0, (3,)), TypeError, "adds two tensors, got float"),
    (lambda: mb.functional.add_rms_norm(torch.ones(2, 3), torch.ones(2, 3) * 1j, (3,)), TypeError, "real numbers"),
    (lambda: mb.functional.add_layer_norm(torch.ones(2, 3), torch.ones(2, 4), (3,)), RuntimeError, "size of tensor"),
    (lambda: mb.functional.add_layer_norm(torch.ones(2, 3), torch.ones(2, 3), (4,)), RuntimeError, "normalized_shape"),
    (
        lambda: mb.functional.bias_activation(torch.ones(2, 3), torch.ones(3), "celu"),
        ValueError,
        "expected: one of 'relu', 'gelu'",
    ),
    (lambda: mb.functional.bias_activation(torch.ones(2, 3), torch.ones(2), "relu"), RuntimeError, r"input \(2, 3\)"),
    (lambda: mb.functional.bias_activation(torch.ones(()), torch.ones(()), "relu"), RuntimeError, r"input \(\)"),
    (lambda: mb.functional.bias_activation(torch.ones(2, 3), None, "relu"), TypeError, "bias must be a tensor"),
    (lambda: mb.functional.bias_activation(torch.ones(2, 3) * 1j, torch.ones(3), "relu"), TypeError, "real numbers"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
