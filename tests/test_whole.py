"""convert: forwards that run inside `mb.explicit()`, of modules that compute by themselves and of whole models."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as tF
from torch import Tensor
from torch.nn.utils import parametrizations

import manual_backprop as mb

from .opdb import different


class Norm(torch.nn.LayerNorm):
    """A layer norm over the channels, as timm has it."""

    def forward(self, input: Tensor) -> Tensor:
        moved = input.permute(0, 2, 3, 1)
        return tF.layer_norm(moved, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class Frozen(torch.nn.Module):
    """A frozen batch norm, as torchvision has it: a module of one's own without children."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(channels) + 0.5)

    def forward(self, input: Tensor) -> Tensor:
        return input * self.scale.reshape(1, -1, 1, 1).rsqrt()


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.frozen = Norm(4), Frozen(4)
        self.head = torch.nn.Linear(4, 5)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, input: Tensor, shift: float = 0.0) -> Tensor:
        hidden = self.frozen(self.norm(self.conv(input))).exp().log()
        return self.head(torch.einsum("nchw->nc", hidden)) * self.scale + shift


def network() -> Network:
    torch.manual_seed(0)
    return Network().double()


def batch() -> Tensor:
    return torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(model: torch.nn.Module) -> list[Tensor | None]:
    model.zero_grad()
    model(batch(), shift=1.0).square().sum().backward()
    return [parameter.grad for parameter in model.parameters()]


def assert_as(model: torch.nn.Module, expected: list[Tensor | None]) -> None:
    for ours, theirs in zip(gradients(model), expected, strict=True):
        assert different(theirs, ours) == ""


def test_modules_that_compute_by_themselves_run_on_rules() -> None:
    model = mb.convert(network())
    assert isinstance(model.norm, Norm)
    assert isinstance(model.frozen, Frozen)
    assert type(model) is Network
    assert mb.conversion_report(model).converted == 4
    assert mb.audit(model.norm, batch()[:, :1].expand(2, 4, 4, 4)).autograd == 0
    assert mb.audit(model.frozen, batch()[:, :1].expand(2, 4, 4, 4).requires_grad_()).autograd == 0
    assert mb.audit(model, batch()).autograd > 0, "what the model itself computes"
    assert_as(model, gradients(network()))


def test_the_whole_model_runs_on_rules_and_back() -> None:
    model = mb.convert(network(), whole=True)
    assert mb.audit(model, batch()).autograd == 0
    assert_as(model, gradients(network()))
    mb.convert(model, whole=True)
    assert_as(model, gradients(network()))
    mb.revert(model)
    assert [type(module) for module in model.modules()] == [type(module) for module in network().modules()]
    assert mb.audit(model, batch()).explicit == 0


def test_copies_and_pickles_keep_it() -> None:
    model = mb.convert(network(), whole=True)
    assert mb.audit(copy.deepcopy(model), batch()).autograd == 0
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert mb.audit(loaded, batch()).autograd == 0
    assert_as(loaded, gradients(network()))
    assert type(mb.revert(loaded)) is Network


def test_what_was_parametrized_stays_so() -> None:
    model = network()
    parametrizations.weight_norm(model.norm)
    expected = gradients(model)
    mb.convert(model, whole=True)
    assert_as(model, expected)
    assert isinstance(model.norm, Norm)
    torch.nn.utils.parametrize.remove_parametrizations(model.norm, "weight")
    mb.revert(model)
    assert type(model.norm) is Norm


def test_torch_compile_takes_the_whole_forward() -> None:
    model = mb.convert(network(), whole=True)
    assert_as(torch.compile(model, fullgraph=True, backend="aot_eager"), gradients(network()))


def test_inside_the_context_it_is_entered_once() -> None:
    model = mb.convert(network(), whole=True)
    with mb.explicit(strict=True):
        assert model(batch()).requires_grad


def test_a_wrapped_model_is_converted_inside() -> None:
    class Wrapped(torch.nn.DataParallel):
        """On the CPU it only calls the module."""

    wrapped = mb.convert(Wrapped(network()), whole=True)
    assert mb.audit(wrapped, batch()).autograd == 0
    assert type(wrapped) is Wrapped


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::DeprecationWarning")
def test_what_the_class_does_not_decide_is_refused() -> None:
    patched = network()
    patched.forward = lambda input: input  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="replaced on the instance"):
        mb.convert(patched, whole=True)
    script: Any = torch.jit.trace(network(), batch())
    with pytest.raises(TypeError, match="script module"):
        mb.convert(script, whole=True)


def test_meta_tensors_have_shapes_alone() -> None:
    model = mb.convert(network().to("meta"), whole=True)
    assert model(batch().to("meta")).shape == (2, 5)
    assert mb.revert(network()).conv.weight.device.type == "cpu", "nothing to revert"


def test_compiled_and_exported_models() -> None:
    compiled = mb.convert(torch.compile(network(), backend="aot_eager"), whole=True)
    assert_as(compiled, gradients(network()))
    exported = torch.export.export(network(), (batch(),), {"shift": 1.0})
    with pytest.raises(TypeError, match=r"got: ExportedProgram\. Take its module\(\)"):
        mb.convert(exported)
    graph = mb.convert(exported.module(), whole=True)
    assert mb.audit(graph, batch(), shift=1.0).autograd == 0
    traced = mb.convert(torch.fx.symbolic_trace(network()), whole=True)
    assert_as(traced, gradients(network()))
