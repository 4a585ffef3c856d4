"""torch.fx: calls of ours are leaves of the traced graph, as torch's are, and what was traced trains on rules."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, fx
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import manual_backprop as mb
import manual_backprop.functional as F
from manual_backprop.functional import gelu
from manual_backprop.functional import relu as rectified
from tests import older_torch


def nodes(traced: fx.GraphModule) -> list[tuple[str, str]]:
    return [(node.op, str(node.target)) for node in traced.graph.nodes]


def gradients(model: torch.nn.Module, *inputs: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    output = model(*inputs)
    output = sum(o.sum() for o in output.values()) if isinstance(output, dict) else output.square().sum()
    return list(torch.autograd.grad(output, list(model.parameters()), allow_unused=True, materialize_grads=True))


def same(left: list[Tensor], right: list[Tensor]) -> None:
    assert len(left) == len(right) > 0
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_converted_resnet_is_traced_as_torch_s_is() -> None:
    model = torchvision.models.resnet18(num_classes=10)
    expected = nodes(fx.symbolic_trace(model))
    traced = fx.symbolic_trace(mb.convert(model))
    leaves = [node for node in nodes(traced) if node[0] == "call_module"]
    assert leaves == [node for node in expected if node[0] == "call_module"]
    assert len(nodes(traced)) == len(expected)

    images = torch.randn(2, 3, 32, 32)
    same(gradients(copy.deepcopy(traced), images), gradients(copy.deepcopy(model), images))
    audit = mb.audit(traced, images)
    assert audit.autograd == mb.audit(model, images).autograd
    assert audit.explicit == mb.audit(model, images).explicit > 50
    # the mode is not frozen in: a leaf asks its own flag
    assert torch.equal(traced.eval()(images), model.eval()(images))
    assert int(traced.bn1.num_batches_tracked) == 0, "nothing is counted while tracing"
    traced.train()(images)
    assert int(traced.bn1.num_batches_tracked) == 1


class Functions(torch.nn.Module):
    """Functions called by every name under which they may be imported."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
        self.bias = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        x = mb.functional.relu(F.linear(x, self.weight, bias=self.bias))
        x = F.dropout(x, 0.0, self.training) + rectified(gelu(x, approximate="tanh"))
        x = F.cat([x, F.softmax(x, dim=-1)], 1)
        values, _ = F.max_pool1d_with_indices(x.unsqueeze(1), 2)
        return F.cross_entropy(F.mul(values.flatten(1), 2.0), target, label_smoothing=0.1)


def test_functions_are_leaves_by_whatever_name_they_are_called() -> None:
    model, data = Functions(), (torch.linspace(-2, 2, 20).reshape(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    traced = fx.symbolic_trace(model)
    targets = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    for function in (F.linear, F.relu, F.dropout, gelu, F.cat, F.softmax, F.max_pool1d_with_indices, F.cross_entropy):
        assert function in targets
    assert targets.count(F.relu) == 2
    assert torch.relu not in targets
    same(gradients(traced, *data), gradients(model, *data))
    assert mb.audit(traced, *data).explicit == mb.audit(model, *data).explicit

    pickled = [pickle.loads(pickle.dumps(traced))] if older_torch.PICKLES_GRAPHS else []
    for again in (copy.deepcopy(traced), *pickled, fx.symbolic_trace(traced)):
        assert again(*data).grad_fn.name() == "CrossEntropyLossBackward"
        same(gradients(again, *data), gradients(model, *data))


def test_nothing_is_left_behind_and_other_modules_are_traced_as_before() -> None:
    before = F.relu, rectified

    class Own(mb.nn.Linear):  # as with torch: a subclass of a layer is traced into
        def forward(self, input: Tensor) -> Tensor:
            return F.relu(super().forward(input))

    traced = fx.symbolic_trace(torch.nn.Sequential(Own(4, 3), mb.nn.Sequential(mb.nn.Tanh(), torch.nn.ReLU())))
    assert (F.relu, rectified) == before
    found = [node for node in nodes(traced) if node[0].startswith("call")]
    assert [op for op, _ in found] == ["call_function", "call_function", "call_module", "call_module"]
    assert [name for op, name in found if op == "call_module"] == ["1.0", "1.1"]
    traced(torch.ones(2, 4)).sum().backward()
    assert isinstance(mb.audit(traced, torch.ones(2, 4)).explicit, int)


class Doubled(mb.rules.Rule):
    """y = 2 x"""

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return 2 * input

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 2 * delta


def doubled(input: Tensor) -> Tensor:
    return F.call(Doubled, input)


def test_a_rule_of_a_user_s_own() -> None:
    x = torch.ones(3, requires_grad=True)
    for trace in (fx.symbolic_trace(doubled), copy.deepcopy(fx.symbolic_trace(doubled))):
        y = trace(x)
        assert y.grad_fn.name() == "DoubledBackward"
        assert torch.autograd.grad(y.sum(), x)[0].tolist() == [2.0] * 3


def test_a_rule_without_a_name_is_refused() -> None:
    class Local(Doubled):
        """y = 2 x"""

    with pytest.raises(TypeError, match=r"cannot keep .*Local in a graph.*define the rule in a module"):
        fx.symbolic_trace(lambda x: F.call(Local, x))


def test_torch_s_functions_traced_inside_explicit_run_on_rules_inside_explicit() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.relu(x) + 1

    with mb.explicit():
        traced = fx.symbolic_trace(function)
        y = traced(torch.ones(3, requires_grad=True))
    assert y.grad_fn.name() == "AddBackward"
    assert y.grad_fn.next_functions[0][0].name() == "ReLUBackward"


def test_a_proxy_outside_of_a_trace_leads_into_its_graph() -> None:
    """As passes do that put a function in the place of a module."""
    graph = fx.Graph()
    x = fx.Proxy(graph.placeholder("x"), fx.proxy.GraphAppendingTracer(graph))
    graph.output(F.softmax(F.relu(x), 1).node)
    made = fx.GraphModule(torch.nn.Module(), graph)
    numbers = torch.randn(2, 3, requires_grad=True)
    y = made(numbers)
    torch.testing.assert_close(y, torch.softmax(torch.relu(numbers), 1))
    assert mb.audit(made, numbers).explicit == 2


def test_a_function_goes_behind_a_node_of_a_traced_graph() -> None:
    """As a pass does that puts an activation behind a layer."""
    made = fx.symbolic_trace(torch.nn.Sequential(mb.nn.Linear(3, 2)))
    *_, layer, output = made.graph.nodes
    with made.graph.inserting_after(layer):
        output.args = (F.leaky_relu(fx.Proxy(layer), 0.1).node,)
    made.graph.lint()
    made.recompile()
    x = torch.randn(4, 3)
    torch.testing.assert_close(made(x), torch.nn.functional.leaky_relu(getattr(made, "0")(x), 0.1))


def test_traced_through_a_relu_is_torch_s_graph() -> None:
    """As a tracer does that leaves no layer whole."""
    ours, theirs = ([node for node in fx.Tracer().trace(nn.ReLU()).nodes][1] for nn in (mb.nn, torch.nn))
    assert (ours.args[1:], ours.kwargs) == (theirs.args[1:], theirs.kwargs)


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("resnet18", 32, "layer3"),
        ("mobilenet_v3_small", 32, "features.6"),
        ("efficientnet_b0", 32, "features.4"),
        ("vit_b_16", 32, "encoder.layers.encoder_layer_1"),
    ],
)
def test_features_of_torchvision_s_models(name: str, size: int, layer: str) -> None:
    torch.manual_seed(0)
    options = {"image_size": size} if name.startswith("vit") else {}
    model = getattr(torchvision.models, name)(num_classes=5, **options)
    expected = get_graph_node_names(model)
    converted = mb.convert(copy.deepcopy(model))
    assert get_graph_node_names(converted) == expected
    images = torch.randn(2, 3, size, size)
    twin, ours = (create_feature_extractor(m, [layer]).eval() for m in (model, converted))
    found = ours(images)
    assert list(found) == [layer]
    torch.testing.assert_close(found[layer], twin(images)[layer], rtol=1e-4, atol=1e-5)  # float32, two libraries' sums
    assert mb.audit(ours, images).explicit > 10
    for a, b in zip(gradients(ours, images), gradients(twin, images), strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm() + 1e-4
    same(gradients(copy.deepcopy(ours).eval(), images), gradients(ours, images))  # torch copies into training mode
