"""audit: every backward node counted once, with its kind and its module, and the model left as it was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import Tensor

import manual_backprop as mb
from manual_backprop.audit import Audit, main
from manual_backprop.errors import BadInput
from manual_backprop.rules import Rule


def rows(report: Audit) -> list[tuple[str, str, str, int]]:
    return [(row.module, row.node, row.kind, row.count) for row in report.rows]


def test_rules_vendor_kernels_and_autograd_are_told_apart() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Softsign())
    x = torch.randn(2, 1, 5, 5)
    plain = mb.audit(model, x)
    assert (plain.explicit, plain.vendor, plain.views, plain.autograd) == (0, 0, 1, 5)  # Softsign: abs, add, div
    report = mb.audit(mb.convert(model), x)
    assert rows(report) == [
        ("0", "ConvBackward", "vendor", 1),
        ("1", "ReLUBackward", "rule", 1),
        ("2", plain.rows[2].node, "view", 1),
        ("3", "SoftsignBackward", "rule", 1),
    ]
    assert report.rows[0].operators == ("convolution_backward",)
    assert (report.explicit, report.vendor, report.views, report.autograd) == (3, 1, 1, 0)
    with mb.backend("formula"):
        report = mb.audit(model, x)
    assert (report.explicit, report.vendor, report.views, report.autograd) == (3, 0, 1, 0)
    assert {row.kind for row in report.rows} == {"rule", "view"}


def test_what_a_rule_really_calls_is_observed() -> None:
    class Cheat(Rule):
        """y = max(0, x)

        input, output, delta (*)

        delta_input = delta where x > 0
        """

        @staticmethod
        def forward(input: Tensor) -> Tensor:
            return input.relu()

        @staticmethod
        def setup_context(ctx, inputs, output) -> None:
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, delta: Tensor) -> Tensor:
            return torch.ops.aten.threshold_backward(delta, ctx.saved_tensors[0], 0)

    report = mb.audit(lambda x: torch.relu(Cheat.apply(x)), torch.randn(3, requires_grad=True))
    assert [(row.node, row.kind, row.operators) for row in report.rows] == [
        ("CheatBackward", "vendor", ("threshold_backward",)),
        ("ReluBackward0", "autograd", ()),  # its own threshold_backward is not ours
    ]


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mb.nn.Linear(4, 4)
        self.tail = torch.nn.utils.parametrizations.weight_norm(mb.nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(2 * x) + self.tail(x).exp()


def test_a_node_belongs_to_the_module_whose_forward_made_it() -> None:
    shared = Block()
    model = torch.nn.Sequential(shared, shared, mb.nn.Tanh())
    report = mb.audit(model, torch.randn(2, 4, requires_grad=True))
    assert rows(report) == [
        ("0", "MulBackward0", "autograd", 2),
        ("0.inner", "LinearBackward", "rule", 2),
        ("0", "AddBackward0", "autograd", 4),
        ("0.tail.parametrizations.weight.0", "WeightNormInterfaceBackward0", "autograd", 2),
        ("0.tail", "LinearBackward", "rule", 2),
        ("0", "ExpBackward0", "autograd", 2),
        ("2", "TanhBackward", "rule", 1),
    ]
    assert "(itself)" in str(mb.audit(lambda x: model(x) * 2, torch.randn(2, 4)))


@dataclass
class Output:
    first: Tensor
    rest: dict[str, list[Tensor]]


class Nested(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = mb.nn.Linear(3, 2), mb.nn.Linear(3, 2), mb.nn.Linear(3, 2)

    def forward(self, x: Tensor, *, twice: bool) -> Output:
        return Output(self.a(x), {"b": [self.b(x), self.c(x)] if twice else [self.b(x)]})


def test_every_output_of_a_nested_structure_counts_and_keywords_are_passed_on() -> None:
    model = Nested()
    assert mb.audit(model, torch.randn(2, 3), twice=True).explicit == 3
    assert mb.audit(model, torch.randn(2, 3), twice=False).explicit == 2


def test_what_came_before_the_input_is_not_the_models() -> None:
    x = torch.randn(2, 3, requires_grad=True).exp()
    assert rows(mb.audit(mb.nn.Linear(3, 2), x)) == [("", "LinearBackward", "rule", 1)]
    assert x.grad_fn is not None, "the caller's tensor is untouched"


class Counting(torch.nn.Module):
    """Changes whatever a forward can change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)
        self.register_buffer("steps", torch.zeros(()))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.steps = self.steps + 1
        x.mul_(2)
        self.cache = torch.nn.functional.dropout(self.norm(x), 0.5)
        return self.cache


def test_the_model_its_inputs_and_the_random_stream_stay_as_they_were() -> None:
    model = Counting()
    model.norm.weight.grad = torch.ones(4)
    hooked: list[object] = []
    model.register_forward_hook(lambda *_: hooked.append(1))
    x = torch.randn(3, 4)
    before_x, attributes = x.clone(), dict(vars(model))
    buffers = {name: (id(b), b.clone(), b._version) for name, b in model.named_buffers()}
    stream = torch.get_rng_state()
    with torch.no_grad():  # a caller's mode does not matter
        assert mb.audit(model, x).autograd == 2
    assert hooked == [1], "the model's own hooks run"
    assert dict(vars(model)) == attributes
    assert model.training
    assert all(len(m._forward_hooks) + len(m._forward_pre_hooks) == (m is model) for m in model.modules())
    for name, buffer in model.named_buffers():
        assert (id(buffer), buffer._version) == (buffers[name][0], buffers[name][2])
        assert torch.equal(buffer, buffers[name][1])
    assert torch.equal(model.norm.weight.grad, torch.ones(4))
    assert model.norm.bias.grad is None
    assert torch.equal(torch.get_rng_state(), stream)
    assert torch.equal(x, before_x)
    with torch.inference_mode():
        assert mb.audit(model.norm, torch.randn(3, 4)).autograd == 1


def test_a_backward_that_is_still_to_come_is_not_disturbed() -> None:
    model = torch.nn.BatchNorm1d(4).eval()
    loss = model(torch.randn(3, 4)).sum()
    mb.audit(model.train(), torch.randn(3, 4))
    loss.backward()  # saved running_mean: an edit of it would raise
    assert model.weight.grad is not None


def test_nothing_differentiable() -> None:
    model = mb.nn.Linear(3, 2).requires_grad_(False)
    report = mb.audit(model, torch.randn(2, 3))
    assert report.rows == ()
    assert str(report) == "backward nodes: 0 explicit, 0 autograd: no output is differentiable"
    assert mb.audit(model, torch.randn(2, 3, requires_grad=True)).explicit == 1


def test_the_same_tensor_twice_stays_the_same_tensor() -> None:
    seen: list[bool] = []
    x = torch.randn(3, requires_grad=True)
    mb.audit(lambda q, k: seen.append(q is k) or q + k, x, x)
    assert seen == [True]


def test_checkpointed_models() -> None:
    block = Block()
    report = mb.audit(lambda x: torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False), torch.randn(2, 4))
    assert report.explicit == 2


def test_refusals() -> None:
    with pytest.raises(BadInput, match="lazy layers without weights"):
        mb.audit(torch.nn.LazyLinear(3), torch.randn(2, 3))
    with pytest.raises(TypeError, match=r"takes a module or a function\. got: str"):
        mb.audit("model")  # type: ignore[arg-type]


def test_resnet18_has_no_node_of_autograd_but_additions_and_the_reshape() -> None:
    model = mb.convert(torchvision.models.resnet18())
    x = torch.randn(2, 3, 32, 32)
    left = {row.node for row in mb.audit(model, x).rows if row.kind == "autograd"}
    assert left <= {"AddBackward0", "ViewBackward0", "UnsafeViewBackward0"}
    with mb.explicit():
        assert mb.audit(model, x).autograd == 0
        assert mb.audit(mb.revert(model), x).autograd == 0, "functions of an unconverted model run on rules, too"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "mlp", "--input", "2,1,8,8"]) == 0
    assert "backward nodes: 5 explicit, 0 autograd" in capsys.readouterr().out
    main(["--model", "torchvision.models.squeezenet1_1", "--input", "1,3,32,32", "--no-convert"])
    assert "backward nodes: 0 explicit" in capsys.readouterr().out
    main(["--model", "torchvision.models.squeezenet1_1", "--input", "1,3,32,32", "--explicit"])
    assert " 0 autograd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nlp"], "Did you mean 'mlp'"),
        (["--model", "mlp", "--input", "2,x"], "expected positive sizes"),
        (["--model", "mlp", "--input", "0,1,8,8"], "expected positive sizes"),
        (["--model", "torchvision.models.resnet18", "--input", "2,1,8,8"], "cannot run on a batch of sizes 2,1,8,8"),
    ],
)
def test_the_command_explains_bad_input(arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        main(arguments)
