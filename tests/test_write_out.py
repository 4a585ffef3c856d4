"""`mb.write_out`: the same gradients as autograd's, bad input refused, and nothing of the model changed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.errors import BadInput

LEVELS = ["formulas", "torch"]
CLOSE = 1e-10
"""Of the largest entry, in float64: sums in another order."""


def squares(output: Any, target: Any) -> Tensor:
    return (output - target).square().sum()


def total(output: Tensor, _: Any) -> Tensor:
    return output.square().sum()


def expected(model: Any, inputs: tuple, targets: Any, loss: Callable) -> tuple[Tensor, dict[str, Tensor]]:
    """autograd's loss and gradients, of copies."""
    model = copy.deepcopy(model)
    inputs = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)
    with torch.random.fork_rng(devices=[]):
        value = loss(model(*inputs), targets)
    value.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return value, found | {k: x.grad for k, x in enumerate(inputs) if x.grad is not None}


def assert_same(
    model: Any, *inputs: Tensor, targets: Any = None, loss: Callable = total, level: str = "formulas"
) -> Any:
    """The program's loss and gradients are autograd's. Returns the program."""
    value, wanted = expected(model, inputs, targets, loss)
    program = mb.write_out(model, *inputs, targets=targets, loss=loss, level=level)
    with torch.random.fork_rng(devices=[]):
        found, grad = program(*inputs, targets=targets)
    assert found.item() == pytest.approx(value.item(), rel=CLOSE)
    names = {k: program._signature.names[k] for k in wanted if isinstance(k, int)}
    assert set(grad) == {names.get(k, k) for k in wanted}
    for key, gradient in wanted.items():
        got = grad[names.get(key, key)]
        assert got.shape == gradient.shape, key
        assert (got - gradient).abs().max().item() <= CLOSE * max(1.0, gradient.abs().max().item()), key
    return program


@pytest.fixture(autouse=True)
def double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def perceptron(*between: torch.nn.Module) -> torch.nn.Sequential:
    return mb.nn.Sequential(mb.nn.Linear(4, 6), *(between or (mb.nn.ReLU(),)), mb.nn.Linear(6, 3))


class Of(torch.nn.Module):
    """A model from layers by name and a function of them and the inputs."""

    def __init__(self, run: Callable, **layers: torch.nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Any) -> Any:
        return self.run(self, *inputs)


# the same gradients


@pytest.mark.parametrize("level", LEVELS)
def test_tied_weights_add_up(level: str) -> None:
    def run(net, x):
        return net.b(torch.tanh(net.a(x)))

    net = Of(run, a=mb.nn.Linear(4, 4), b=mb.nn.Linear(4, 4))
    net.b.weight = net.a.weight
    program = assert_same(net, torch.randn(5, 4), level=level)
    assert program.text.count('grad["a.weight"] = ') == 1
    assert 'grad["b.weight"]' not in program.text


@pytest.mark.parametrize("level", LEVELS)
def test_a_module_that_is_called_twice(level: str) -> None:
    net = Of(lambda net, x: net.a(torch.sigmoid(net.a(x))), a=mb.nn.Linear(4, 4))
    assert_same(net, torch.randn(5, 4), level=level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_module_of_several_lines_that_is_called_for_each_input(level: str) -> None:
    """Each call keeps values of its own."""
    body = mb.nn.Sequential(mb.nn.Linear(4, 6), mb.nn.Tanh(), mb.nn.Linear(6, 6), mb.nn.Tanh(), mb.nn.Linear(6, 3))

    def run(net, x, y, z):
        return net.body(x) * net.body(y) - net.body(z)

    inputs = [torch.randn(5, 4) for _ in range(3)]
    program = assert_same(Of(run, body=body), *inputs, level=level)
    kept = re.search(r"def backward\(p, kept\):\n(.*?) = kept", program.text, re.DOTALL)
    assert kept is not None
    names = re.findall(r"kept_body\w*", kept[1])
    assert len(names) == len(set(names)) >= 2, names
    assert_same(Of(lambda net, x: net.body(net.body(net.body(x)[:, [0, 1, 2, 0]])[:, [0, 1, 2, 0]]), body=body),
                torch.randn(5, 4), level=level)  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
def test_edits_in_place_of_a_part_of_what_needs_no_gradient(level: str) -> None:
    def run(net, x):
        mask = torch.zeros(5, 3)
        mask[:, 1:] = 2.0
        mask[0].add_(1)
        return net.a(x) * mask

    assert_same(Of(run, a=mb.nn.Linear(4, 3)), torch.randn(5, 4), level=level)


def test_names_of_python_are_not_overwritten() -> None:
    """The backward of a maximum has `float("inf")` in it, the forward a line called float."""
    net = Of(lambda net, x: torch.linalg.vector_norm(net.a(x), float("inf")), a=mb.nn.Linear(4, 3))
    assert_same(net, torch.randn(5, 4), level="torch")


def test_a_function_with_out_left_out_gives_a_value() -> None:
    net = Of(lambda net, x: torch.nn.functional.normalize(net.a(x)), a=mb.nn.Linear(4, 3))
    assert_same(net, torch.randn(5, 4), loss=lambda y, t: (y * y * y).sum(), level="torch")


@pytest.mark.parametrize("level", LEVELS)
def test_frozen_weights_have_no_line(level: str) -> None:
    net = perceptron()
    net[0].requires_grad_(False)
    program = assert_same(net, torch.randn(5, 4), level=level)
    assert "0.weight" not in program.text.partition("def backward")[2].partition("return grad")[0]
    assert "delta_a1" not in program.text
    net[2].bias.requires_grad_(False)
    assert '"2.bias"] =' not in str(assert_same(net, torch.randn(5, 4), level=level)).partition("def main")[0]


@pytest.mark.parametrize("level", LEVELS)
def test_dropout_takes_the_mask_of_the_forward(level: str) -> None:
    assert_same(perceptron(mb.nn.Dropout(0.4), mb.nn.ReLU()), torch.randn(50, 4), level=level)
    program = assert_same(perceptron(mb.nn.Dropout(0.4)).eval(), torch.randn(5, 4), level=level)
    assert "dropout" not in program.text.partition("def main")[0].lower()


@pytest.mark.parametrize("level", LEVELS)
def test_an_edit_in_place(level: str) -> None:
    assert_same(perceptron(mb.nn.ReLU(inplace=True)), torch.randn(5, 4), level=level)

    def run(net, x):
        y = net.a(x)
        y += x
        y.relu_()
        return y * 2

    assert_same(Of(run, a=mb.nn.Linear(4, 4)), torch.randn(5, 4), level=level)


@pytest.mark.parametrize("level", LEVELS)
def test_inputs_that_require_a_gradient(level: str) -> None:
    assert_same(perceptron(), torch.randn(5, 4, requires_grad=True), level=level)


@pytest.mark.parametrize("level", LEVELS)
def test_several_inputs(level: str) -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = mb.nn.Linear(4, 3), mb.nn.Linear(2, 3)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.a(left) * self.b(right)

    x = torch.randn(5, 2, requires_grad=True)
    program = assert_same(Two(), torch.randn(5, 4), x, targets=torch.randn(5, 3), loss=squares, level=level)
    assert "def forward(p, left, right, t):" in program.text


@pytest.mark.parametrize("level", LEVELS)
def test_one_tensor_given_twice(level: str) -> None:
    net = Of(lambda net, x, y: net.a(x) * y, a=mb.nn.Linear(4, 4))
    x = torch.randn(5, 4)
    assert_same(net, x, x, level=level)


@pytest.mark.parametrize("level", LEVELS)
def test_statistics_are_updated_by_the_program(level: str) -> None:
    net = perceptron(mb.nn.BatchNorm1d(6), mb.nn.Tanh())
    x, other = torch.randn(5, 4), copy.deepcopy(net)
    program = mb.write_out(net, x, loss=total, level=level)
    program(x)
    other(x)
    assert torch.equal(net[1].num_batches_tracked, other[1].num_batches_tracked)
    torch.testing.assert_close(net[1].running_mean, other[1].running_mean, rtol=CLOSE, atol=CLOSE)
    assert_same(net, x, level=level)


def test_a_branch_on_numbers_is_said_in_the_header() -> None:
    net = Of(lambda net, x: net.a(x) if x.sum() > 0 else net.b(x), a=mb.nn.Linear(4, 3), b=mb.nn.Linear(4, 3))
    program = assert_same(net, torch.ones(5, 4))
    assert "Python read numbers in the model itself: what depends on them is written as it went" in program.text
    assert "b.weight" not in program.text.partition("def main")[0]
    assert "Python read numbers" not in str(mb.write_out(net.a, torch.ones(5, 4), loss=total))


def test_a_program_follows_the_parameters() -> None:
    net, x = perceptron(), torch.randn(5, 4)
    program = mb.write_out(net, x, loss=total)
    with torch.no_grad():
        net[0].weight.mul_(2)
    value, wanted = expected(net, (x,), None, total)
    found, grad = program(x)
    assert found.item() == pytest.approx(value.item(), rel=CLOSE)
    torch.testing.assert_close(grad["0.weight"], wanted["0.weight"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("level", LEVELS)
def test_a_network_of_torchvision(level: str) -> None:
    models = pytest.importorskip("torchvision.models")
    net = mb.convert(models.resnet18(num_classes=5))
    x, labels = torch.randn(2, 3, 32, 32), torch.tensor([1, 4])
    program = assert_same(net, x, targets=labels, loss=mb.nn.CrossEntropyLoss(), level=level)
    assert re.search(r"def \w+_backward\(p, kept, ", program.text), "blocks that are alike are written once"


@pytest.mark.parametrize("level", LEVELS)
def test_a_network_of_transformers(level: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=17, n_positions=8, n_embd=8, n_layer=2, n_head=2, use_cache=False)
    net = mb.convert(transformers.GPT2LMHeadModel(config).double()).eval()

    def loss(output: Any, labels: Tensor) -> Tensor:
        return mb.functional.cross_entropy(output.logits.flatten(0, 1), labels)

    ids = torch.randint(17, (2, 6))
    assert_same(net, ids, targets=torch.randint(17, (12,)), loss=loss, level=level)


# bad input


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input**3

    @staticmethod
    def backward(ctx, delta):
        return 3 * ctx.saved_tensors[0] ** 2 * delta


def refused(said: str, *args: Any, error: type[Exception] = BadInput, **options: Any) -> None:
    with pytest.raises(error, match=said):
        mb.write_out(*args, **{"loss": total, **options})


def test_nodes_of_autograd_are_listed() -> None:
    net = Of(lambda net, x: Cubed.apply(net.a(Cubed.apply(net.a(x)))), a=mb.nn.Linear(4, 4))
    refused(r"got: CubedBackward 2\. expected: rules alone\. mb\.audit shows where", net, torch.randn(5, 4))


def test_tensors_without_numbers_are_refused() -> None:
    refused("got: tensors on the meta device. expected: a CPU or a GPU", perceptron(), torch.empty(5, 4, device="meta"))
    refused("got: tensors on the meta device", perceptron().to("meta"), torch.randn(5, 4))


def test_autocast_is_refused() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused("autocast is on", perceptron(), torch.randn(5, 4))


@pytest.mark.parametrize(
    ("loss", "got"),
    [
        (lambda y, t: y, r"got: \(5, 3\)"),
        (lambda y, t: y.sum().item(), "got: float"),
        (lambda y, t: y.detach().sum(), r"got: \(\)"),
    ],
)
def test_a_loss_that_is_none_is_refused(loss: Callable, got: str) -> None:
    refused(
        f"the loss has to be a scalar that depends on parameters.*{got}", perceptron(), torch.randn(5, 4), loss=loss
    )


def test_a_lazy_model_is_refused() -> None:
    net = mb.nn.Sequential(mb.nn.LazyLinear(3))
    refused("lazy.*run one batch through it first", net, torch.randn(5, 4))
    assert isinstance(net[0].weight, torch.nn.UninitializedParameter)


def test_what_is_no_module_or_no_level_is_refused() -> None:
    refused(r"takes a torch\.nn\.Module\. got: function", total, torch.randn(5, 4), error=TypeError)
    refused("level 'c' is unknown. expected: 'formulas' or 'torch'", perceptron(), torch.randn(5, 4), level="c")


def test_other_inputs_than_those_it_was_written_for_are_refused() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    program = mb.write_out(perceptron(), torch.randn(5, 4), targets=labels, loss=mb.nn.CrossEntropyLoss())
    for x, t, said in [
        (torch.randn(6, 4), labels, r"x: the program was written for \(\(5, 4\), .*got: \(\(6, 4\)"),
        (torch.randn(5, 4).float(), labels, r"x: .*torch\.float64.*got: .*torch\.float32"),
        (torch.randn(5, 4), labels[:4], r"t: the program was written for \(\(5,\), .*got: \(\(4,\)"),
        (torch.randn(5, 4), (labels, labels), "of another structure: write it out anew"),
        (torch.randn(5, 4), None, "of another structure|t: the program was written for"),
        (3, labels, "x: the program was written for.*got: .*int"),
    ]:
        with pytest.raises(BadInput, match=said):
            program(x, targets=t)
    with pytest.raises(BadInput, match="of another structure"):
        program(torch.randn(5, 4), torch.randn(5, 4), targets=labels)


# nothing changes


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_of_the_model_changes(level: str) -> None:
    net = perceptron(mb.nn.BatchNorm1d(6), mb.nn.Dropout(0.5), mb.nn.ReLU(inplace=True))
    net[2].eval()
    net[0].weight.grad = torch.ones(6, 4)
    net[4].bias.requires_grad_(False)
    calls: list[str] = []
    net[0].register_forward_hook(lambda *_: calls.append("hook"))
    x = torch.randn(5, 4, requires_grad=True)

    def state() -> Any:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()]
        flags = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()], hooks
        grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
        numbers = [t.detach().clone() for t in (*net.state_dict().values(), x)]
        return {"tensors": [*numbers, *grads, torch.get_rng_state()], "flags": flags}

    before, tensors = state(), [id(t) for t in (*net.parameters(), *net.buffers())]
    mb.write_out(net, x, loss=total, level=level)
    after = state()
    assert [id(t) for t in (*net.parameters(), *net.buffers())] == tensors
    torch.testing.assert_close(after["tensors"], before["tensors"], rtol=0, atol=0)
    assert after["flags"] == before["flags"]
    assert x.grad is None
    assert calls == ["hook"]
    assert torch.is_grad_enabled()


def test_an_input_that_the_forward_writes_into_is_left_as_it_was() -> None:
    def run(net: Any, x: Tensor, y: Tensor) -> Tensor:
        return net.a(x) * y.clamp_(-0.5, 0.5)

    x, y = torch.randn(5, 4), torch.randn(5, 4)
    before = y.clone()
    assert_same(Of(run, a=mb.nn.Linear(4, 4)), x, y.clone())
    mb.write_out(Of(run, a=mb.nn.Linear(4, 4)), x, y, loss=total)
    assert torch.equal(y, before)


def test_nothing_changes_either_where_it_raises() -> None:
    net = Of(lambda net, x: Cubed.apply(net.b(net.a(x))), a=mb.nn.Linear(4, 6), b=mb.nn.BatchNorm1d(6))
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    refused("CubedBackward", net, torch.randn(5, 4).detach())
    torch.set_rng_state(random)
    torch.testing.assert_close(dict(net.state_dict()), dict(before), rtol=0, atol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    (torch.ones(2, requires_grad=True) * 2).sum().backward()  # no mode is left behind
    assert re.match("Mul", type((torch.ones(2, requires_grad=True) * 2).grad_fn).__name__)


def test_single_numbers_of_one_tensor_are_values_of_their_own() -> None:
    class Parts(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b, c = x.unbind(-1)
            return a.exp() * b.sin() + c

    x = torch.tensor([0.3, 0.7, 1.1], dtype=torch.float64, requires_grad=True)
    program = mb.write_out(Parts(), x, loss=lambda y, _: y * 2)
    loss, gradients = program(x)
    expected = Parts()(x) * 2
    expected.backward()
    assert loss.item() == expected.item()
    assert x.grad is not None
    torch.testing.assert_close(gradients["x"], x.grad, rtol=1e-14, atol=0)


@pytest.mark.parametrize("place", ["parameter", "forward"])
def test_hooks_on_gradients_are_refused(place: str) -> None:
    class Hooked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            if place == "forward":
                y.register_hook(lambda g: g * 2)
            return y.tanh()

    model = Hooked()
    if place == "parameter":
        model.fc.weight.register_hook(lambda g: g * 2)
    with pytest.raises(BadInput, match="has hooks, which a program has no place for"):
        mb.write_out(model, torch.randn(4, 3), loss=lambda y, _: y.sum())


def test_a_shape_changed_in_place_is_refused() -> None:
    class Turned(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y.transpose_(0, 1)
            return y

    with pytest.raises(BadInput, match="changes the shape of a tensor in place"):
        mb.write_out(Turned(), torch.randn(2, 3, requires_grad=True), loss=lambda y, _: y.sum())


# names


def attending(heads: int, several: bool) -> torch.nn.Module:
    """Self-attention, or two of them one behind the other."""

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = mb.nn.Linear(8, 24)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (u.unflatten(-1, (heads, -1)).transpose(1, 2) for u in self.qkv(x).chunk(3, -1))
            return mb.functional.scaled_dot_product_attention(q, k.contiguous(), v).transpose(1, 2).flatten(2)

    if not several:
        return Attention()
    return Of(lambda net, x: torch.tanh(net.b(torch.relu(net.a(x)))), a=Attention(), b=Attention())


@pytest.mark.parametrize("level", LEVELS)
def test_queries_keys_and_values_have_their_names(level: str) -> None:
    program = assert_same(attending(2, several=False), torch.randn(2, 3, 8), level=level)
    assert all(f"    {name} = " in program.text for name in ("q", "k", "v"))
    assert "attention" in program.text.partition("def forward(p")[2] or level == "torch"
    text = assert_same(attending(2, several=True), torch.randn(2, 3, 8), level=level).text
    assert all(re.search(rf"^    {name}(_a|_b)? = ", text, re.MULTILINE) for name in ("q", "k", "v"))


def test_first_states_have_their_names() -> None:
    net = Of(lambda net, x: net.rnn(x)[0], rnn=mb.nn.LSTM(4, 3))
    program = assert_same(net, torch.randn(5, 2, 4))
    assert "    h0, = " in program.text
    assert "    c0, = " in program.text
    assert "    delta_a = LSTM.recursion(" in program.text
    net = Of(lambda net, x: net.rnn(x)[0], rnn=mb.nn.GRU(4, 3))
    assert "    h0, = " in assert_same(net, torch.randn(5, 2, 4)).text


def test_formulas_and_sources_of_other_options_are_left_out() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    plain = assert_same(perceptron(), torch.randn(5, 4), targets=labels, loss=mb.nn.CrossEntropyLoss()).text
    smooth = mb.nn.CrossEntropyLoss(label_smoothing=0.1)
    smoothed = assert_same(perceptron(), torch.randn(5, 4), targets=labels, loss=smooth).text
    assert "with smoothing" not in plain
    assert smoothed.count("with smoothing") == 2
    assert plain.count("onehot(t)") == smoothed.count("onehot(t)") == 1


def test_a_maximum_is_kept_by_its_index() -> None:
    """Places in windows save memory in training; here they would be twenty more lines."""
    net = mb.nn.Sequential(mb.nn.Conv2d(1, 2, 3), mb.nn.MaxPool2d(2))
    program = assert_same(net, torch.randn(2, 1, 8, 8))
    assert "def places(" not in program.text
    assert "scatter_add" in program.text


def test_only_a_forward_that_writes_or_draws_needs_copies_in_main() -> None:
    plain, x = perceptron(), torch.randn(5, 4)
    assert "def run(p)" not in mb.write_out(plain, x, loss=total).text
    drawn = mb.write_out(perceptron(mb.nn.Dropout(0.5)), x, loss=total).text
    assert "torch.manual_seed(1)" in drawn
    assert ".clone()" not in drawn.partition("def main")[2]
    updated = mb.write_out(perceptron(mb.nn.BatchNorm1d(6)), x, loss=total).text
    assert "v.clone() for n, v in p.items()" in updated
    assert "torch.manual_seed(1)" not in updated
