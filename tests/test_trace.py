"""trace: every number against one computed another way, and the model left as it was."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.errors import BadInput
from manual_backprop.rules import Linear, ReLU
from manual_backprop.trace import Row, Trace, main

EXACT = 1e-5  # float32 sums in another order


def rms(tensor: Tensor) -> float:
    return tensor.double().square().mean().sqrt().item()


def by_layer(report: Trace) -> dict[str, Row]:
    return {row.layer: row for row in report.rows}


def perceptron() -> torch.nn.Sequential:
    return mb.nn.Sequential(mb.nn.Linear(4, 6), mb.nn.ReLU(), mb.nn.Linear(6, 3))


def squares(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum()


def test_every_number_is_that_of_a_pass_written_out_by_hand() -> None:
    net, x, labels = perceptron(), torch.randn(5, 4), torch.randint(3, (5,))
    report = mb.trace(net, x, labels, mb.nn.CrossEntropyLoss())

    (w1, b1), (w2, b2) = ((layer.weight.detach(), layer.bias.detach()) for layer in (net[0], net[2]))
    z1 = x @ w1.T + b1
    a1 = z1.clamp(min=0)
    z2 = a1 @ w2.T + b2
    delta2 = (z2.softmax(1) - torch.nn.functional.one_hot(labels, 3)) / 5
    delta_a1 = Linear.delta_input(delta2, w2)
    delta1 = ReLU.delta_input(delta_a1, a1)
    expected = [
        ("0", "Linear", ("Linear",), "z", x, z1, delta1, {"weight": delta1.T @ x, "bias": delta1.sum(0)}),
        ("1", "ReLU", ("ReLU",), "a", z1, a1, delta_a1, {}),
        ("2", "Linear", ("Linear",), "z", a1, z2, delta2, {"weight": delta2.T @ a1, "bias": delta2.sum(0)}),
        ("(loss)", "CrossEntropyLoss", ("CrossEntropyLoss",), "", z2, torch.tensor(report.loss), torch.ones(()), {}),
    ]
    for row, (layer, kind, rules, is_, given, output, delta, gradients) in zip(report.rows, expected, strict=True):
        assert (row.layer, row.type, row.rules, row.output_is) == (layer, kind, rules, is_)
        assert (row.input_shapes, row.output_shapes) == ([tuple(given.shape)], [tuple(output.shape)])
        found = (row.input_rms, row.output_rms, row.delta_rms)
        assert found == pytest.approx((rms(given), rms(output), rms(delta)), rel=EXACT)
        assert row.gradient_rms == pytest.approx({name: rms(g) for name, g in gradients.items()}, rel=EXACT)
        assert row.difference == pytest.approx(0, abs=EXACT)
    assert report.loss == pytest.approx(torch.nn.functional.cross_entropy(z2, labels).item(), rel=EXACT)
    assert report.rows[1].dead == pytest.approx((a1 == 0).all(0).float().mean().item())
    assert [row.dead for row in report.rows if row.layer != "1"] == [None] * 3


@pytest.mark.parametrize("namespace", [mb.nn, torch.nn])
def test_what_is_overwritten_in_place_is_seen_as_it_was(namespace) -> None:
    apart = namespace.Sequential(namespace.Linear(4, 6), namespace.ReLU(), namespace.Linear(6, 3))
    x, target = torch.randn(5, 4), torch.randn(5, 3)
    expected = mb.trace(apart, x, target, squares)
    apart[1].inplace = True
    assert mb.trace(apart, x, target, squares) == expected


class Twice(torch.nn.Module):
    """One layer called twice; its first output used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = mb.nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer(x)
        return mb.functional.add(self.layer(first), first * first)


def test_delta_is_that_of_every_use_and_a_shared_parameter_has_the_sum() -> None:
    model, x, target = Twice(), torch.randn(2, 3), torch.randn(2, 3)
    report = mb.trace(model, x, target, squares)
    rows = by_layer(report)
    assert [row.layer for row in report.rows] == ["layer", "layer (2)", "(itself)", "(loss)"]
    assert rows["(itself)"].rules == ("autograd: MulBackward0", "Add")
    assert rows["(loss)"].rules == ("autograd: SubBackward0", "autograd: PowBackward0", "autograd: SumBackward0")

    first = model.layer(x)
    second = model.layer(first)
    output = second + first * first
    loss = squares(output, target)
    deltas = torch.autograd.grad(loss, (first, second, output, *model.parameters()))
    found = [rows[name].delta_rms for name in ("layer", "layer (2)", "(itself)")]
    assert found == pytest.approx([rms(delta) for delta in deltas[:3]], rel=EXACT)
    gradients = {"weight": rms(deltas[3]), "bias": rms(deltas[4])}
    assert rows["layer"].gradient_rms == pytest.approx(gradients, rel=EXACT)
    assert rows["layer (2)"].gradient_rms == rows["layer"].gradient_rms
    assert rows["(itself)"].gradient_rms == {}


def test_units_at_rest_are_channels_behind_a_convolution_and_its_pooling() -> None:
    net = mb.nn.Sequential(mb.nn.Conv2d(1, 4, 3), mb.nn.MaxPool2d(2), mb.nn.ReLU())
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([-100.0, 100.0, 100.0, 100.0]))
    rows = by_layer(mb.trace(net, torch.randn(2, 1, 6, 6), None, lambda output, _: output.sum()))
    assert rows["2"].dead == 0.25
    assert rows["1"].dead is None


def test_a_wrong_formula_shows_where_it_is_and_in_front_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net, right = perceptron(), Linear.grad_weight
    x, target = torch.randn(5, 4), torch.randn(5, 3)
    with mb.backend("formula"):
        assert all(row.difference < EXACT for row in mb.trace(net, x, target, squares).rows)
        monkeypatch.setattr(Linear, "grad_weight", staticmethod(lambda *args: 1.25 * right(*args)))
        rows = by_layer(mb.trace(net, x, target, squares))
        assert rows["1"].difference < EXACT
        assert 0 < rows["0"].difference <= 0.26
        monkeypatch.undo()
        monkeypatch.setattr(ReLU, "delta_input", staticmethod(lambda delta, output: -delta * (output > 0)))
        rows = by_layer(mb.trace(net, x, target, squares))
    assert rows["2"].difference < EXACT
    assert rows["1"].difference < EXACT, "delta arrives at its output as it should"
    assert rows["0"].difference == pytest.approx(2, abs=EXACT), "of the wrong sign"


def test_the_twin_draws_the_same_random_numbers() -> None:
    net = mb.nn.Sequential(mb.nn.Linear(4, 50), mb.nn.BatchNorm1d(50), mb.nn.Dropout(0.5), mb.nn.Linear(50, 3))
    rows = mb.trace(net, torch.randn(8, 4), torch.randn(8, 3), mb.functional.mse_loss).rows
    assert all(row.difference < EXACT for row in rows)
    assert rows[-1].type == "mse_loss"


class TypeDependent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = mb.nn.Linear(3, 3), torch.nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.other(x)) if isinstance(self.layer, mb.nn.Linear) else self.layer(x)


def test_calls_that_the_twin_does_not_make_have_no_difference() -> None:
    rows = by_layer(mb.trace(TypeDependent(), torch.randn(2, 3), torch.randn(2, 3), squares))
    assert rows["other"].difference is None
    assert rows["other"].rules == ("autograd: AddmmBackward0",)
    assert rows["layer"].difference is not None


class Mixed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head, self.unused = torch.nn.Embedding(7, 3), mb.nn.Linear(3, 2), mb.nn.Linear(3, 2)

    def forward(self, tokens: Tensor, scale: Tensor) -> dict:
        features = self.embed(tokens)
        return {"logits": self.head(features), "rest": (features * scale, [self.unused(features)], tokens, "text")}


def test_mixed_inputs_and_outputs() -> None:
    inputs = (torch.randint(7, (4,)), torch.tensor(2.0, requires_grad=True))
    loss = lambda output, target: squares(output["logits"], target) + output["rest"][0].sum()  # noqa: E731
    rows = by_layer(mb.trace(Mixed(), inputs, torch.randn(4, 2), loss))
    assert rows["embed"].input_rms is None, "integers"
    assert rows["embed"].input_shapes == [(4,)]
    assert rows["embed"].rules == ("autograd: EmbeddingBackward0",)
    assert rows["(itself)"].output_shapes == [(4, 2), (4, 3), (4, 2), (4,)]
    assert rows["unused"].delta_rms is None, "the loss does not depend on it"
    assert rows["unused"].gradient_rms == {}
    assert rows["head"].delta_rms > 0
    assert inputs[1].grad is None


class Counting(torch.nn.Module):
    """Changes whatever a forward can change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.calls = mb.nn.BatchNorm1d(4), 0
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.steps = self.steps + 1
        x.mul_(2)
        self.cache = mb.functional.dropout(self.norm(x), 0.5)
        return self.cache


def test_model_inputs_and_random_stream_stay_as_they_were() -> None:
    model, loss = Counting(), mb.nn.MSELoss()
    model.norm.weight.grad = torch.ones(4)
    stepped: list[object] = []
    model.norm.bias.register_post_accumulate_grad_hook(stepped.append)
    x, target = torch.randn(3, 4), torch.randn(3, 4)
    before, attributes, stream = (x.clone(), target.clone()), dict(vars(model)), torch.get_rng_state()
    buffers = {name: (id(b), b.clone(), b._version) for name, b in model.named_buffers()}
    with torch.no_grad():
        mb.trace(model, x, target, loss)
    assert stepped == [], "an optimizer that steps inside of backward would change the weights"
    assert dict(vars(model)) == attributes
    assert type(loss) is mb.nn.MSELoss
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in (*model.modules(), loss))
    assert all(not p._backward_hooks for p in model.parameters())
    for name, buffer in model.named_buffers():
        assert (id(buffer), buffer._version) == (buffers[name][0], buffers[name][2])
        assert torch.equal(buffer, buffers[name][1])
    assert torch.equal(model.norm.weight.grad, torch.ones(4))
    assert model.norm.bias.grad is None
    assert torch.equal(torch.get_rng_state(), stream)
    assert torch.equal(x, before[0])
    assert torch.equal(target, before[1])


class HandsOut(torch.nn.Module):
    """Returns what will be there after the trace: hooks must not stay on it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3))

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.weight, 2 * self.weight


def test_no_hook_stays_on_a_parameter_that_is_an_output() -> None:
    model = HandsOut()
    rows = mb.trace(model, (), None, lambda output, _: (output[0] * output[1]).sum()).rows
    expected = torch.cat([4 * model.weight, model.weight]).detach()  # of 2 w^2 by w, and by the second factor
    assert rows[0].delta_rms == pytest.approx(rms(expected), rel=EXACT)
    assert not model.weight._backward_hooks


def test_parameters_of_other_modules_and_of_parametrizations_have_their_names() -> None:
    model = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(mb.nn.Linear(3, 3)))
    rows = by_layer(mb.trace(model, torch.randn(2, 3), torch.randn(2, 3), squares))
    assert set(rows["0"].gradient_rms) == {"bias"}
    assert set(rows["0.parametrizations.weight.0"].gradient_rms) == {"0.weight.original0", "0.weight.original1"}


def test_a_loss_with_parameters_and_a_model_that_computes_its_loss() -> None:
    class Weighted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(3.0))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return self.scale * squares(output, target)

    net, x, target = mb.nn.Linear(3, 2), torch.randn(4, 3), torch.randn(4, 2)
    last = mb.trace(net, x, target, Weighted()).rows[-1]
    assert last.gradient_rms == pytest.approx({"scale": squares(net(x), target).item()}, rel=EXACT)

    class WithLoss(torch.nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return squares(super().forward(x), target)

    report = mb.trace(WithLoss(net), x, None, lambda output, _: output)
    assert [row.layer for row in report.rows] == ["0", "(itself)", "(loss)"]
    assert report.rows[-1].rules == ()
    assert report.rows[-1].delta_rms == 1


def test_explicit_runs_functions_on_rules_and_the_twin_on_autograd() -> None:
    net, x, target = (
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softsign()),
        torch.randn(2, 3),
        torch.randn(2, 4),
    )
    plain = mb.trace(net, x, target, torch.nn.functional.mse_loss)
    assert plain.rows[1].rules == tuple(f"autograd: {name}Backward0" for name in ("Abs", "Add", "Div"))
    assert plain.formulas == {}
    with mb.explicit():
        rows = mb.trace(net, x, target, torch.nn.functional.mse_loss).rows
    assert [row.rules for row in rows] == [("Linear",), ("Softsign",), ("MSELoss",)]
    assert all(row.difference < EXACT for row in rows)


def test_checkpointed_models() -> None:
    block = perceptron()

    class Checkpointed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.block, x, use_reentrant=False)

    x, target = torch.randn(2, 4), torch.randn(2, 3)
    found, expected = (mb.trace(model, x, target, squares).rows for model in (Checkpointed(), block))
    assert [row.layer for row in found] == ["block.0", "block.1", "block.2", "(loss)"]
    assert [row.delta_rms for row in found] == [row.delta_rms for row in expected]


def broken() -> Trace:
    net = perceptron()
    torch.nn.init.constant_(net[0].weight, math.nan)
    return mb.trace(net, torch.randn(2, 4), torch.randn(2, 3), squares)


def test_nan_is_shown() -> None:
    report = broken()
    assert math.isnan(report.loss)
    assert math.isnan(report.rows[0].delta_rms)
    assert math.isnan(report.rows[2].difference)
    assert str(report).count("nan") > 5


def test_the_file(tmp_path: Path) -> None:
    report = mb.trace(perceptron(), torch.randn(5, 4), torch.randn(5, 3), squares)
    report.save(tmp_path / "new" / "trace.json")
    written = json.loads((tmp_path / "new" / "trace.json").read_text())
    assert written["loss"] == report.loss
    for read, row in zip(written["rows"], report.rows, strict=True):
        lists = {"rules": list(row.rules), "input_shapes": [list(s) for s in row.input_shapes]}
        assert read == {**vars(row), **lists, "output_shapes": [list(s) for s in row.output_shapes]}
    broken().save(str(tmp_path / "new" / "trace.json"))
    written = json.loads((tmp_path / "new" / "trace.json").read_text(), parse_constant=pytest.fail)
    assert written["loss"] == "nan"
    assert written["rows"][0]["gradient_rms"] == {"weight": "nan", "bias": "nan"}
    assert written["rows"][0]["dead"] is None
    with pytest.raises(BadInput, match="Cannot write"):
        report.save(tmp_path / "new" / "trace.json" / "below_a_file")


def test_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.image import imread

    whole = mb.trace(perceptron(), torch.randn(5, 4), torch.randn(5, 3), squares)
    for name, report in (("whole", whole), ("nan", broken())):
        report.plot(tmp_path / f"{name}.png")
        pixels = imread(tmp_path / f"{name}.png")[..., :3]
        assert pixels.shape[0] == 900
        orange = (abs(pixels - [0xD5 / 255, 0x5E / 255, 0]) < 0.01).all(-1)
        assert orange.any(), "delta, or its legend"
        alarm = (abs(pixels - [0xFB / 255, 0xE3 / 255, 0xD6 / 255]) < 0.01).all(-1)
        assert alarm.any() == (name == "nan")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadInput, match=r"matplotlib is not installed.*manual-backprop\[train\]"):
        report.plot(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_table() -> None:
    layers = mb.nn.Conv2d(1, 8, 3), mb.nn.BatchNorm2d(8), mb.nn.ReLU(), mb.nn.Flatten(), mb.nn.Linear(200, 10)
    net, x, labels = mb.nn.Sequential(*layers), torch.randn(4, 1, 7, 7), torch.randint(10, (4,))
    table, formulas, loss = str(mb.trace(net, x, labels, mb.nn.CrossEntropyLoss())).split("\n\n")
    lines = table.splitlines()
    assert max(map(len, lines)) <= 130
    assert lines[2].split()[:7] == ["0", "Conv2d:", "Conv", "4x1x7x7", "->", "4x8x5x5", "z"]
    assert [line.split()[0] for line in formulas.splitlines() if line[0] != " "] == [
        "Conv", "BatchNorm", "ReLU", "Linear", "CrossEntropyLoss",
    ]  # fmt: skip
    assert "ReLU              y = max(0, x)\n                  delta_input = delta where y > 0, else 0" in formulas
    assert "(N, C" not in formulas, "the shapes are those of the table"
    assert float(loss.removeprefix("loss ")) > 0

    net[0] = torch.nn.Sequential(torch.nn.Softsign(), layers[0])
    table, *_ = str(mb.trace(net, x.requires_grad_(), labels, torch.nn.CrossEntropyLoss())).split("\n\n")
    assert "Softsign: autograd: AbsBackward0, AddBackward0, DivBackward0  " in table


def test_refusals() -> None:
    net, x = mb.nn.Linear(3, 2), torch.randn(4, 3)
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module\. got: function"):
        mb.trace(lambda x: x, x, None, squares)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"not a scalar\. got: a tensor of shape \(4, 2\)\. Take the mean"):
        mb.trace(net, x, torch.randn(4, 2), mb.nn.MSELoss(reduction="none"))
    with pytest.raises(BadInput, match=r"the loss is not a scalar\. got: float"):
        mb.trace(net, x, None, lambda output, _: output.sum().item())
    with pytest.raises(BadInput, match="nothing differentiable"):
        mb.trace(net, x, None, lambda output, _: output.detach().sum())
    with pytest.raises(BadInput, match="lazy layers"):
        mb.trace(mb.nn.LazyLinear(3), x, None, squares)
    assert not net._forward_hooks


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "trace.json"), "--plot", str(tmp_path / "trace.png")]
    stream = torch.get_rng_state()
    assert main(["--model", "mlp", "--input", "2,1,8,8", *files]) == 0
    printed = capsys.readouterr().out
    assert "y = x W^T + b" in printed
    assert "2x64 -> 2x256" in printed
    assert len(json.loads((tmp_path / "trace.json").read_text())["rows"]) == 6
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")
    assert torch.equal(torch.get_rng_state(), stream)
    main(["--model", "mlp", "--input", "2,1,8,8"])
    assert capsys.readouterr().out == printed, "the same weights, images and labels each time"
    main(["--model", "torchvision.models.squeezenet1_1", "--input", "1,3,32,32", "--no-convert"])
    assert "Conv2d: autograd: ConvolutionBackward0" in capsys.readouterr().out
    main(["--model", "torchvision.models.squeezenet1_1", "--input", "1,3,32,32", "--explicit"])
    assert "autograd:" not in capsys.readouterr().out
    with pytest.raises(BadInput, match="cannot run on a batch of sizes 2,1,8,8"):
        main(["--model", "torchvision.models.resnet18", "--input", "2,1,8,8"])
