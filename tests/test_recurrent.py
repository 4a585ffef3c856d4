"""Recurrent layers: packed sequences, segments, what is kept, `mb.explicit`, autocast, and the C of recurrent.c."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.engine.torch_private import tree_flatten
from manual_backprop.rules import GRU, LSTM, RNN
from manual_backprop.testing.nodes import graph, is_rule

from .test_native import calls

NAMESPACES = {"ours": mb.nn, "twin": torch.nn}
LAYERS = ("RNN", "LSTM", "GRU")
LENGTHS = [5, 2, 5, 1, 3]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True, "bias": False},
    {"num_layers": 2, "dropout": 0.5},
]


def pair(name: str, *args: Any, **options: Any) -> tuple[torch.nn.RNNBase, torch.nn.RNNBase]:
    """torch's and ours, with the same weights, in float64."""
    torch.manual_seed(0)
    twin = getattr(torch.nn, name)(*args, **options).double()
    ours = getattr(mb.nn, name)(*args, **options).double()
    ours.load_state_dict(twin.state_dict())
    return twin, ours


def sequence(length: int = 5, rows: int = 5, features: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(length, rows, features, dtype=torch.float64)


def tensors_of(result: Any) -> list[Tensor]:
    """The tensors of a result, of a packed sequence its data."""
    output, states = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *(states if isinstance(states, tuple) else (states,))]


def derivatives(run: Callable[[], Any], *wanted: Tensor) -> list[Tensor]:
    """Outputs, and the gradients of a weighted sum of them."""
    torch.manual_seed(2)
    outputs = tensors_of(run())
    deltas = [torch.arange(1, t.numel() + 1, dtype=t.dtype).sin().reshape(t.shape) for t in outputs]
    return [*outputs, *torch.autograd.grad(outputs, wanted, deltas, retain_graph=True)]


def close(found: list[Tensor], expected: list[Tensor], rtol: float = 1e-12) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.detach().abs().max()))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_packed_sequences_are_torchs(name: str, options: dict[str, Any]) -> None:
    twin, ours = pair(name, 3, 4, **options)
    x = sequence().requires_grad_()
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    theirs, result = twin(packed), ours(packed)
    assert isinstance(result[0], PackedSequence)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(result[0], field), getattr(theirs[0], field))
    expected = derivatives(lambda: twin(packed), x, *twin.parameters())
    close(derivatives(lambda: ours(packed), x, *ours.parameters()), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_states_of_packed_sequences_follow_the_rows(name: str) -> None:
    twin, ours = pair(name, 3, 4)
    packed = pack_padded_sequence(sequence(), LENGTHS, enforce_sorted=False)
    h, c = torch.randn(2, 1, 5, 4, dtype=torch.float64, requires_grad=True).unbind()
    states = (h, c) if name == "LSTM" else h
    wanted = (h, c) if name == "LSTM" else (h,)
    expected = derivatives(lambda: twin(packed, states), *wanted)
    close(derivatives(lambda: ours(packed, states), *wanted), expected)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("segment", [1, 2, 5, 9])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_segments_give_the_same_gradients(name: str, segment: int, packed: bool) -> None:
    _, ours = pair(name, 3, 4, num_layers=2, bidirectional=True)
    x = sequence().requires_grad_()
    given = pack_padded_sequence(x, LENGTHS, enforce_sorted=False) if packed else x
    expected = derivatives(lambda: ours(given), x, *ours.parameters())
    ours.segment = segment
    close(derivatives(lambda: ours(given), x, *ours.parameters()), expected)


def test_segments_of_a_projection_give_the_same_gradients() -> None:
    _, ours = pair("LSTM", 3, 4, proj_size=2)
    x = sequence().requires_grad_()
    expected = derivatives(lambda: ours(x), x, *ours.parameters())
    ours.segment = 2
    close(derivatives(lambda: ours(x), x, *ours.parameters()), expected)


def kept(module: torch.nn.Module, x: Tensor) -> int:
    """Bytes that are saved for the backward, but for the input and the weights."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(x)
    for tensor in (x, *module.parameters()):
        found.pop(tensor.untyped_storage().data_ptr(), None)
    del result
    return sum(found.values())


@pytest.mark.parametrize("name", LAYERS)
def test_no_more_is_kept_than_torch_keeps(name: str) -> None:
    twin, ours = getattr(torch.nn, name)(32, 64, 2), getattr(mb.nn, name)(32, 64, 2)
    x = torch.randn(32, 8, 32, requires_grad=True)
    assert kept(ours, x) <= 0.75 * kept(twin, x)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_with_segments_little_but_the_outputs_is_kept(name: str) -> None:
    ours = getattr(mb.nn, name)(32, 64, 2)
    x = torch.randn(64, 8, 32, requires_grad=True)
    outputs, all_of_it = 2 * 64 * 8 * 64 * 4, kept(ours, x)
    ours.segment = 8
    assert kept(ours, x) <= 1.2 * outputs
    assert all_of_it >= 4 * outputs


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_torchs_layers_run_on_rules_inside_of_explicit(name: str, packed: bool) -> None:
    twin, _ = pair(name, 3, 4, num_layers=2, bidirectional=True)
    x = sequence().requires_grad_()

    def run() -> Any:
        if not packed:
            return twin(x)
        output, states = twin(pack_padded_sequence(x, sorted(LENGTHS, reverse=True)))
        return pad_packed_sequence(output)[0], states

    def explicit() -> Any:
        with mb.explicit(strict=True):
            return run()

    expected = derivatives(run, x, *twin.parameters())

    close(derivatives(explicit, x, *twin.parameters()), expected)
    rules = {node._forward_cls.__name__ for node in graph(*tensors_of(explicit())) if is_rule(node)}
    assert rules == {name, "Cat"} | ({"PackPaddedSequence"} if packed else set())


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_torchs_cells_run_on_rules_inside_of_explicit(name: str, relu: bool) -> None:
    cell = getattr(torch.nn, name)(3, 4, **({"nonlinearity": "relu"} if relu and name == "RNNCell" else {}))
    x = torch.randn(5, 3, requires_grad=True)
    with mb.explicit(strict=True):
        outputs = tree_flatten(cell(x))[0]
    assert {node._forward_cls.__name__ for node in graph(*outputs) if is_rule(node)} == {name.removesuffix("Cell")}
    close(outputs, tree_flatten(cell(x))[0], 1e-6)


def test_operators_find_the_rules_where_torch_calls_them_by_name() -> None:
    """Not from the table of functions: the dispatcher's arguments lead to the rule."""
    twin, _ = pair("GRU", 3, 4)
    x, h = sequence().requires_grad_(), torch.zeros(1, 5, 4, dtype=torch.float64)
    options = {"has_biases": True, "num_layers": 1, "dropout": 0.0, "train": True, "bidirectional": False}
    with mb.explicit(strict=True):
        output, _ = torch.gru(input=x, hx=h, params=list(twin.parameters()), batch_first=False, **options)
    assert {node._forward_cls.__name__ for node in graph(output) if is_rule(node)} == {"GRU"}
    close([output], [twin(x, h)[0]])


@pytest.mark.parametrize("name", LAYERS)
def test_converted_layers_keep_their_weights(name: str) -> None:
    twin, _ = pair(name, 3, 4, num_layers=2)
    model, x = torch.nn.Sequential(twin), sequence()
    before, expected = {key: value.clone() for key, value in model.state_dict().items()}, twin(x)[0]
    mb.convert(model)
    assert type(model[0]) is getattr(mb.nn, name)
    model[0].flatten_parameters()  # type: ignore[operator]
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    close([model(x)[0]], [expected])
    assert type(mb.revert(model)[0]) is getattr(torch.nn, name)


def test_a_layer_is_one_node_for_each_direction() -> None:
    layer, x = mb.nn.LSTM(3, 4, 2, bidirectional=True), torch.randn(7, 2, 3, requires_grad=True)
    output = layer(x)[0]
    names = [node._forward_cls.__name__ for node in graph(output) if is_rule(node)]
    assert sorted(names) == ["Cat", "Cat", "LSTM", "LSTM", "LSTM", "LSTM"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "options"),
    [(n, {}) for n in (*LAYERS, "RNNCell", "LSTMCell", "GRUCell")] + [("LSTM", {"proj_size": 2})],
)
def test_autocast_gives_torchs_dtypes_and_no_larger_errors(name: str, options: dict, dtype: torch.dtype) -> None:
    twin, ours = pair(name, 16, 8, **options)
    x = sequence(6, 4, 16)[0 if "Cell" in name else slice(None)]
    exact = tree_flatten(twin(x))[0]
    twin, ours = twin.float(), ours.float()
    with torch.autocast("cpu", torch.bfloat16):
        theirs, found = tree_flatten(twin(x.to(dtype)))[0], tree_flatten(ours(x.to(dtype)))[0]
    assert [t.dtype for t in found] == [t.dtype for t in theirs]
    for mine, other, true in zip(found, theirs, exact, strict=True):
        true = true.detach()
        errors = [float((t.detach().double() - true).abs().max()) for t in (mine, other)]
        assert errors[0] <= 1.5 * errors[1] + 2.0**-9 * float(true.abs().max())


@pytest.mark.parametrize("name", LAYERS)
def test_forward_mode_moves_the_states_alone(name: str) -> None:
    twin, ours = pair(name, 3, 4)
    x = sequence()
    h, c = torch.randn(2, 1, 5, 4, dtype=torch.float64)
    states = (h, c) if name == "LSTM" else (h,)

    def run(module: torch.nn.Module) -> Any:
        return torch.func.jvp(lambda *s: module(x, s if name == "LSTM" else s[0])[0], states, states)

    close(list(run(ours)), list(run(twin)))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_in_bfloat16_are_on_average_no_worse_than_torchs(name: str) -> None:
    errors: dict[str, float] = {"ours": 0.0, "twin": 0.0}
    for seed in range(20):
        torch.manual_seed(seed)
        exact = getattr(torch.nn, name)(3, 4, 2, bidirectional=True).bfloat16()
        x, delta = torch.randn(4, 2, 3).bfloat16(), torch.randn(4, 2, 8).bfloat16()
        found = {}
        for key, module in (("exact", exact.double()), *((k, getattr(n, name)) for k, n in NAMESPACES.items())):
            if key != "exact":
                module = module(3, 4, 2, bidirectional=True).bfloat16()
                module.load_state_dict(exact.state_dict())
            input = x.to(module.weight_ih_l0.dtype).requires_grad_()
            found[key] = torch.autograd.grad(module(input)[0], [input, *module.parameters()], delta.to(input.dtype))
        for key in errors:
            pairs = zip(found[key], found["exact"], strict=True)
            errors[key] += sum(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)
    assert errors["ours"] <= errors["twin"]


@pytest.mark.parametrize("name", LAYERS)
def test_what_torch_refuses_is_refused(name: str) -> None:
    twin, ours = pair(name, 3, 4)
    state = torch.zeros(1, 2, 4, dtype=torch.float64)
    states = (state, state) if name == "LSTM" else state
    calls: list[tuple] = [
        (torch.zeros(3, dtype=torch.float64),),
        (torch.zeros(2, 2, 5, dtype=torch.float64),),
        (torch.zeros(0, 2, 3, dtype=torch.float64),),
        (torch.zeros(2, 2, 3),),
        (torch.zeros(2, 5, 3, dtype=torch.float64), states),
        (torch.zeros(2, 3, dtype=torch.float64), states),
    ]
    for arguments in calls:
        with pytest.raises((ValueError, RuntimeError)) as expected:
            twin(*arguments)
        with pytest.raises(type(expected.value)):
            ours(*arguments)


def test_lists_of_weights_and_states_of_other_sizes_are_refused() -> None:
    x, h, weights = torch.randn(4, 2, 3), torch.randn(1, 2, 5), [torch.randn(15, 3), torch.randn(15, 5)]
    options = 1, 0.0, False, False, False
    assert mb.functional.gru(x, h, weights, False, *options)[0].shape == (4, 2, 5)
    with pytest.raises(RuntimeError, match=r"got: 2\. expected: 4 for each"):
        mb.functional.gru(x, h, weights, True, *options)
    with pytest.raises(RuntimeError, match=r"got: \(1, 3, 5\)\. expected: .*\(1, 2, \*\)"):
        mb.functional.gru(x, torch.randn(1, 3, 5), weights, False, *options)
    with pytest.raises(RuntimeError, match=r"one dtype\. got: torch.float32, torch.bfloat16"):
        mb.functional.gru(x, h.bfloat16(), weights, False, *options)


SIZES = (9, 9, 7, 3, 3, 1)


@pytest.mark.usefixtures("c_kernels")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", [SIZES, (16,) * 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("units", [1, 32, 79])
def test_the_loops_in_c_are_the_formulas(
    units: int, dtype: torch.dtype, sizes: tuple, reverse: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    rtol = 4e-6 if dtype == torch.float32 else 1e-13

    def random(*shape: int) -> Tensor:
        return (torch.randn(shape, dtype=torch.float64) / shape[-1] ** 0.5).to(dtype)

    def same(formula: Callable[..., Any], *args: Any, count: int) -> list[Tensor]:
        """The first results of a kernel, compared with the formula's in float64."""
        exact = formula(*[a.double() if isinstance(a, Tensor) else a for a in args])
        found = KERNELS[formula](*args)
        pairs = [(a, b) for a, b in zip(found, exact, strict=True) if b is not None]
        assert len(pairs) == count
        close([a.double() for a, _ in pairs], [b for _, b in pairs], rtol)
        return [a for a, _ in pairs]

    rows, batch = sum(sizes), sizes[0] + 2  # some rows have no step at all
    x, h, c, delta = random(rows, 5), random(batch, units), random(batch, units), random(rows, units)
    dh, dc = random(batch, units), random(batch, units)
    for blocks, run in ((1, RNN.run), (3, GRU.run), (4, LSTM.run)):
        size = blocks * units
        weights = random(size, 5), random(size, units), random(size), random(size)
        if run is RNN.run:
            for activation in ("tanh", "relu"):
                output, _ = same(run, x, h, *weights, activation, sizes, reverse, count=2)
                same(RNN.recursion, delta, dh, output, weights[1], activation, sizes, reverse, count=2)
        elif run is GRU.run:
            output, _, gates = same(run, x, h, *weights, sizes, reverse, count=3)
            same(GRU.recursion, None, dh, gates, delta, weights[1], sizes, reverse, count=3)
            same(GRU.recursion, delta, dh, gates, delta, weights[1], sizes, reverse, count=3)
        else:
            _, _, _, gates, cells = same(run, x, h, c, *weights, None, sizes, reverse, count=5)
            options = weights[1], None, sizes, reverse
            same(LSTM.recursion, delta, dh, dc, gates, cells, c, *options, count=3)


@pytest.mark.usefixtures("c_kernels")
@pytest.mark.parametrize("name", LAYERS)
def test_layers_run_on_the_loops_in_c(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.randn(4, 3, 5, requires_grad=True)
    getattr(mb.nn, name)(5, 6)(x)[0].sum().backward()
    assert names == ["recurrent_forward_float", "recurrent_backward_float"]


@pytest.mark.usefixtures("c_kernels")
def test_a_weights_gradient_by_onednn_is_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual_backprop.kernels import matmul

    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(matmul, "WORTHWHILE", 1)
    monkeypatch.setattr(matmul, "faster", lambda: True)
    deltas, factors = torch.randn(40, 6), torch.randn(40, 3)
    found = KERNELS[RNN.grad_weight](deltas, factors)
    assert found.is_contiguous()
    close([found.double()], [deltas.double().T @ factors.double()], 1e-6)
