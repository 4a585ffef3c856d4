"""What the rows of the suite cannot say of dropouts: random streams, moments, identity, memory, transforms, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb

F = torch.nn.functional
SHAPES = {
    "dropout": (4, 6, 5, 3),
    "dropout1d": (4, 6, 5),
    "dropout2d": (4, 6, 5, 3),
    "dropout3d": (4, 6, 5, 3, 2),
    "alpha_dropout": (4, 6, 5, 3),
    "feature_alpha_dropout": (4, 6, 5, 3),
}


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def pair(name: str, **options: object) -> list[Callable[[Tensor], Tensor]]:
    """Ours and torch's, each from the same state of the random stream."""

    def seeded(function: Callable) -> Callable[[Tensor], Tensor]:
        def run(input: Tensor) -> Tensor:
            torch.manual_seed(7)
            return function(input, training=True, **options)

        return run

    return [seeded(getattr(functions, name)) for functions in (mb.functional, F)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_torch_s_random_stream_to_the_last_bit(name: str, p: float, dtype: torch.dtype) -> None:
    outputs, states = [], []
    for run in pair(name, p=p):
        outputs.append(run(values(*SHAPES[name], dtype=dtype)))
        states.append(torch.get_rng_state())
    assert torch.equal(*outputs)
    assert torch.equal(*states)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
@pytest.mark.parametrize("name", ["dropout", "dropout2d", "alpha_dropout"])
def test_layouts(name: str, layout: str) -> None:
    x = values(8, 6, 10, 4)
    x = {
        "channels_last": lambda: x.contiguous(memory_format=torch.channels_last),
        "transposed": lambda: x.transpose(0, 3),
        "sliced": lambda: x[::2, :, 1::3],
        "expanded": lambda: x[:1].expand(3, 6, 10, 4),
    }[layout]()
    results = []
    for run in pair(name, p=0.4):
        input = x.detach().requires_grad_()
        output = run(input)
        (gradient,) = torch.autograd.grad(output, input, values(*output.shape))
        results.append((output, gradient))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("name", SHAPES)
def test_identity_returns_the_input_itself(name: str) -> None:
    input = values(*SHAPES[name]).requires_grad_()
    state = torch.get_rng_state()
    function = getattr(mb.functional, name)
    assert function(input, training=False) is input
    assert function(input, 0.0, True) is input
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("name", "kept"), [("dropout", 4000), ("dropout1d", 400), ("alpha_dropout", 4000)])
def test_only_the_mask_is_kept(name: str, kept: int) -> None:
    input = values(10, 40, 10).requires_grad_()
    sizes: list[tuple[int, torch.dtype]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append((t.numel(), t.dtype)) or t, lambda t: t):
        getattr(mb.functional, name)(input, 0.5, True)
    assert sizes == [(kept, torch.bool)]


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout"])
def test_share_of_dropped_elements_and_moments(name: str) -> None:
    torch.manual_seed(0)
    input = torch.randn(100_000)
    output = getattr(mb.functional, name)(input, 0.2, True)
    (gradient,) = torch.autograd.grad(getattr(mb.functional, name)(input.requires_grad_(), 0.2, True).sum(), input)
    # five standard deviations of the mean of 100,000 Bernoulli or unit normal draws
    assert abs(float((gradient == 0).double().mean()) - 0.2) < 5 * (0.2 * 0.8 / 100_000) ** 0.5
    assert abs(float(output.detach().mean())) < 5 * (1.25 / 100_000) ** 0.5
    if name == "alpha_dropout":  # it keeps the variance, too; the fourth moment is below 10
        assert abs(float(output.detach().var()) - 1.0) < 5 * (10 / 100_000) ** 0.5


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap_draws_as_the_twin_does(name: str, randomness: str) -> None:
    inputs = values(3, *SHAPES[name])
    results = []
    for run in pair(name, p=0.4):
        gradient = grad(lambda x, r=run: r(x).square().sum())
        results.append([vmap(f, randomness=randomness)(inputs) for f in (run, gradient)])
    assert torch.equal(results[0][0], results[1][0])
    # the square's derivative rounds once more than torch's
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-6, atol=1e-6)


def test_vmap_without_a_randomness_is_refused_as_by_the_twin() -> None:
    for run in pair("dropout"):
        with pytest.raises(RuntimeError, match="randomness"):
            vmap(run)(values(3, 4))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", ["dropout", "dropout2d", "alpha_dropout"])
def test_compiled_in_one_graph(name: str, inplace: bool) -> None:
    torch._dynamo.reset()
    function = getattr(mb.functional, name)
    run = torch.compile(lambda x: function(x * 2, 0.5, True, inplace), fullgraph=True, backend="aot_eager")
    input = (values(4, 6, 5, 3).abs() + 1).requires_grad_()
    output = run(input)
    (gradient,) = torch.autograd.grad(output.sum(), input)
    scale = 2.0 * mb.rules.dropout.alpha_scale(0.5) if name == "alpha_dropout" else 4.0
    dropped = gradient == 0
    assert 0 < int(dropped.sum()) < input.numel()
    # one rounding of the scale
    torch.testing.assert_close(gradient[~dropped], torch.full_like(gradient[~dropped], scale), rtol=1e-6, atol=0)
    if name != "alpha_dropout":
        assert torch.equal(dropped, output == 0)


@pytest.mark.parametrize("name", SHAPES)
def test_in_place(name: str) -> None:
    for run in pair(name, p=0.3, inplace=True):
        with pytest.raises(RuntimeError, match="leaf"):
            run(values(*SHAPES[name]).requires_grad_())
    expected = pair(name, p=0.3)[1](values(*SHAPES[name]))
    leaf = values(*SHAPES[name]).requires_grad_()
    middle = leaf * 1
    output = pair(name, p=0.3, inplace=True)[0](middle)
    assert output is middle
    assert torch.equal(middle, expected)
    (ours,) = torch.autograd.grad(output.sum(), leaf)
    (theirs,) = torch.autograd.grad(pair(name, p=0.3)[1](leaf).sum(), leaf)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda f: f.dropout(values(3), 1.5), ValueError),
        (lambda f: f.dropout(values(3), -0.1, False), ValueError),
        (lambda f: f.dropout1d(values(3)), RuntimeError),
        (lambda f: f.dropout1d(values(2, 3, 4, 5)), RuntimeError),
        (lambda f: f.feature_alpha_dropout(values(3), 0.5, True), RuntimeError),
        (lambda f: f.dropout(torch.arange(6)), RuntimeError),
        (lambda f: f.alpha_dropout(torch.arange(6), 0.5, True), RuntimeError),
    ],
)
def test_bad_arguments_raise_the_twin_s_error(call: Callable, error: type[Exception]) -> None:
    for functions in (F, mb.functional):
        with pytest.raises(error) as raised:
            call(functions)
        assert type(raised.value) is error


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("dropout2d", (4, 6, 5), "3D input"),
        ("dropout2d", (4, 6), "2-D input"),
        ("dropout2d", (4, 6, 5, 3, 2), "5-D input"),
        ("dropout3d", (4, 6, 5), "3-D input"),
    ],
)
def test_odd_numbers_of_axes_warn_as_the_twin_and_give_its_result(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    outputs = []
    for run in pair(name, p=0.4):
        with pytest.warns(UserWarning, match=message):
            outputs.append(run(values(*shape)))
    assert torch.equal(*outputs)


@pytest.mark.filterwarnings("ignore:dropout2d")
def test_one_axis_has_no_channels() -> None:
    for run in pair("dropout2d"):
        vector = values(3)
        with pytest.raises(RuntimeError, match="at least 2 dimensions"):
            run(vector)


@pytest.mark.filterwarnings("ignore:dropout")
@pytest.mark.parametrize("name", ["dropout2d", "dropout3d", "feature_alpha_dropout"])
def test_where_everything_is_dropped_no_channels_are_needed(name: str) -> None:
    for shape in ((), (3,), (2, 3)):
        results = []
        for run in pair(name, p=1.0):
            x = torch.ones(shape, requires_grad=True)
            output = run(x)
            results.append((output, *torch.autograd.grad(output.sum(), x)))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


def test_complex_values() -> None:
    input = torch.complex(values(4, 6), values(4, 6))
    ours, twin = pair("dropout", p=0.4)
    try:
        expected = twin(input)
    except NotImplementedError:  # torch before 2.15 draws no complex masks: as ours has it, of the real and imaginary
        expected = input * (ours(torch.ones_like(input)) != 0) / 0.6
    assert torch.allclose(ours(input), expected)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("dropout", {"inplace": True}), ("dropout2d", {}), ("alpha_dropout", {}), ("alpha_dropout", {"inplace": True}),
    ("feature_alpha_dropout", {}),
]  # fmt: skip


class Draws(TorchDispatchMode):
    """The operators that draw, with the dtype of what they draw."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if name in ("bernoulli", "native_dropout"):
            self.drawn.append((name, (result[0] if isinstance(result, tuple) else result).dtype))
        return result


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("name", "options"), CALLS)
def test_on_cuda_the_operators_that_draw_are_torch_s(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    """On CUDA float64 is drawn from other numbers than all narrower dtypes, and fused dropout from others again."""
    found = []
    for functional in (mb.functional, torch.nn.functional):
        with FakeTensorMode(), Draws() as draws:
            getattr(functional, name)(torch.empty(3, 4, 5, 6, dtype=dtype, device="cuda"), 0.3, True, **options)
        found.append([(kind, drawn == torch.float64) for kind, drawn in draws.drawn])
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "options"), CALLS)
def test_torch_s_draws_on_cuda(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    outputs = []
    for functional in (mb.functional, torch.nn.functional):
        torch.manual_seed(3)
        x = torch.ones(3, 4, 5, 6, dtype=dtype, device="cuda")
        outputs.append(getattr(functional, name)(x, 0.3, True, **options))
    assert torch.equal(outputs[0] > 1, outputs[1] > 1)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SHAPES)
def test_torch_s_random_stream_on_cuda(name: str) -> None:
    outputs = [run(values(*SHAPES[name]).cuda().requires_grad_()) for run in pair(name, p=0.3)]
    # torch's fused dropout multiplies by a float32 reciprocal, one rounding apart
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)


def test_float64_stays_so_without_a_compiler_and_under_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual_backprop.engine.rule import KERNELS
    from manual_backprop.kernels import dropout, native, pointwise

    run = KERNELS[mb.rules.Dropout.delta_input]
    delta, mask = torch.randn(4, 5, dtype=torch.float64), torch.rand(4, 5) < 0.7
    expected = mb.rules.Dropout.delta_input(delta, mask, 0.3)
    batched = torch.func.vmap(lambda d, m: run(d, m, 0.3))
    assert torch.equal(batched(delta, mask), expected)
    monkeypatch.setattr(native, "loaded", lambda *_: None)
    monkeypatch.setattr(dropout, "_kept", pointwise.kernel(dropout._dropped, like=0))
    assert torch.equal(run(delta, mask, 0.3), expected)
