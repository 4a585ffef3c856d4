"""What the rows of the suite cannot say of normalizations: running statistics, layouts, dtypes, higher derivatives."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, hessian, jacrev, stack_module_state, vmap

import manual_backprop as mb
from manual_backprop._nodes import rule_of

F = torch.nn.functional
OPTIONS = [{}, {"momentum": None}, {"momentum": 0.7}, {"track_running_stats": False}, {"affine": False}]
OPTIONS += [{"bias": False}] if "bias" in inspect.signature(torch.nn.BatchNorm2d).parameters else []


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def batch_norms(**options: object) -> list[torch.nn.Module]:
    return [nn.BatchNorm2d(3, **options) for nn in (mb.nn, torch.nn)]


def trained(layer: torch.nn.Module, input: Tensor) -> Tensor:
    output = layer(input)
    output.backward(randn(*output.shape, seed=9).to(output))
    return output


# ---------------------------------------------------------------------------------------------- running statistics


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_running_statistics_move_as_the_twin_s(options: dict, layout: torch.memory_format) -> None:
    layers = batch_norms(**options)
    for step in range(3):
        for layer in layers:
            layer(2 * randn(4, 3, 2, 5, seed=step).contiguous(memory_format=layout).requires_grad_() + 1)
    ours, theirs = (layer.state_dict() for layer in layers)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    outputs = [layer.eval()(randn(2, 3, 4, 4)) for layer in layers]
    assert torch.equal(*outputs)


def test_running_statistics_stay_when_the_batch_is_empty_or_refused() -> None:
    layer, _ = batch_norms()
    layer(randn(0, 3, 2, 2))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(randn(1, 3, 1, 1))
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(layer.running_var, torch.ones(3))


def test_an_empty_batch_has_zeros_for_second_derivatives() -> None:
    found = []
    for nn in (mb.nn, torch.nn):
        layer, x = nn.BatchNorm1d(3), torch.zeros(0, 3, 4, requires_grad=True)
        leaves = [x, layer.weight, layer.bias]
        first = torch.autograd.grad(layer(x).square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() + g.sum() for g in first), leaves, allow_unused=True))
    assert all(g is None or not g.count_nonzero() for g in found[0])
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("backend", ["aot_eager", "eager"])
def test_running_statistics_move_in_compiled_training(backend: str) -> None:
    torch._dynamo.reset()
    layers = batch_norms()
    compiled = [torch.compile(layers[0], fullgraph=True, backend=backend), layers[1]]
    for step in range(2):
        outputs = [trained(layer, randn(4, 3, 2, 5, seed=step)) for layer in compiled]
        # sums of 40 numbers near 1 in another order
        torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)
    assert layers[0].num_batches_tracked == 2
    assert torch.equal(layers[0].running_mean, layers[1].running_mean)
    assert torch.equal(layers[0].running_var, layers[1].running_var)


def test_one_layer_twice_in_a_graph() -> None:
    layers = batch_norms()
    inputs = [randn(4, 3, 2, 5, dtype=torch.float32).requires_grad_() for _ in layers]
    for layer, input in zip(layers, inputs, strict=True):
        layer(3 * layer(input)).backward(randn(4, 3, 2, 5, seed=1))
    assert torch.equal(layers[0].running_var, layers[1].running_var)
    # float32 rounding of two normalizations of 40 numbers each
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_lazy_layers_become_ours(dims: int) -> None:
    input = randn(4, 3, *[2] * dims)
    layers = [getattr(nn, f"LazyBatchNorm{dims}d")(momentum=0.2) for nn in (mb.nn, torch.nn)]
    outputs = [trained(layer, input) for layer in layers]
    assert type(layers[0]) is getattr(mb.nn, f"BatchNorm{dims}d")
    assert rule_of(outputs[0].grad_fn).__name__ == "BatchNorm"  # type: ignore[union-attr]
    assert torch.equal(*outputs)
    assert torch.equal(layers[0].running_mean, layers[1].running_mean)


# --------------------------------------------------------------------------------------- transforms, higher derivatives


def test_vmap_refuses_to_move_shared_statistics_and_moves_those_of_each() -> None:
    inputs = randn(2, 4, 3, 2, 5)
    for layer in batch_norms():
        with pytest.raises(RuntimeError, match="running_mean"):
            vmap(layer)(inputs)
    moved = []
    for layer in batch_norms():
        parameters, buffers = stack_module_state([copy.deepcopy(layer), copy.deepcopy(layer)])  # type: ignore[list-item]
        vmap(lambda p, b, x, m=layer: functional_call(m, (p, b), (x,)))(parameters, buffers, inputs)
        moved.append(buffers["running_mean"])
    assert torch.equal(*moved)
    assert not torch.equal(moved[0][0], moved[0][1])


def plain_batch_norm(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = input.mean(0)
    return (input - mean) / ((input - mean).square().mean(0) + 1e-5).sqrt() * weight + bias


def plain_layer_norm(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = input.mean(1, keepdim=True)
    return (input - mean) / ((input - mean).square().mean(1, keepdim=True) + 1e-5).sqrt() * weight + bias


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (lambda x, w, b: mb.functional.batch_norm(x, None, None, w, b, True), plain_batch_norm),
        (lambda x, w, b: mb.functional.layer_norm(x, [3], w, b), plain_layer_norm),
    ],
    ids=["batch_norm", "layer_norm"],
)
@pytest.mark.parametrize("twice", [hessian, lambda f, argnums: jacrev(jacrev(f, argnums), argnums)], ids=["fwd", "rev"])
def test_hessians(ours: Callable, plain: Callable, twice: Callable) -> None:
    """Against plain arithmetic under torch's own autograd, since the twins' Hessians under torch.func are wrong."""
    arguments = [randn(5, 3, dtype=torch.float64), *(randn(3, seed=i, dtype=torch.float64) for i in (1, 2))]
    delta = randn(5, 3, seed=3, dtype=torch.float64)
    blocks = [
        twice(lambda *a, f=f: (delta * f(*a).square()).sum(), argnums=(0, 1, 2))(*arguments) for f in (ours, plain)
    ]
    for i in range(3):
        for j in range(3):
            # float64 rounding of sums of 15 numbers, amplified by 1/std^2
            torch.testing.assert_close(blocks[0][i][j], blocks[1][i][j], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "group_norm", "rms_norm"])
def test_forward_over_a_backward_that_is_not_recorded(name: str) -> None:
    """The statistics saved by forward carry no tangent: a dual input must not find them taken as constants."""
    functions: dict[str, Callable] = {
        "batch_norm": lambda x: mb.functional.batch_norm(x, None, None, training=True),
        "layer_norm": lambda x: mb.functional.layer_norm(x, [4]),
        "group_norm": lambda x: mb.functional.group_norm(x, 2),
        "rms_norm": lambda x: mb.functional.rms_norm(x, [4]),
    }
    input, direction, delta = (randn(3, 4, seed=i, dtype=torch.float64) for i in range(3))

    def loss(x: Tensor) -> Tensor:
        return (delta * functions[name](x)).sum()

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(input.clone().requires_grad_(), direction)
        (gradient,) = torch.autograd.grad(loss(dual), dual)
        product = forward_ad.unpack_dual(gradient).tangent
    expected = torch.einsum("ijkl,kl->ij", hessian(loss)(input), direction)
    # float64 rounding
    torch.testing.assert_close(product, expected, rtol=1e-11, atol=1e-12)


# ------------------------------------------------------------------------------------------------- layouts and dtypes


@pytest.mark.parametrize("name", ["BatchNorm2d", "BatchNorm2d-eval", "GroupNorm", "LayerNorm", "RMSNorm"])
def test_outputs_and_gradients_have_the_twin_s_layout(name: str) -> None:
    results = []
    for nn in (mb.nn, torch.nn):
        layer = {"B": lambda n=nn: n.BatchNorm2d(4), "G": lambda n=nn: n.GroupNorm(2, 4)}.get(
            name[0], lambda n=nn: getattr(n, name)(5)
        )()
        layer.train("eval" not in name)
        input = randn(3, 4, 2, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
        output = layer(input)
        output.backward(randn(*output.shape, seed=1).contiguous(memory_format=torch.channels_last))
        results.append((output, input.grad))
    (output, gradient), (their_output, their_gradient) = results
    assert output.stride() == their_output.stride()
    assert gradient.stride() == their_gradient.stride()
    assert torch.equal(output, their_output)
    # float32 rounding of sums of 30 numbers
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm1d-eval", "GroupNorm", "LayerNorm"])
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_low_precision_input_with_float32_parameters(name: str, low: torch.dtype) -> None:
    """As torch allows on the CPU: parameters and their gradients stay float32, as exact as the twin's."""

    def gradients(nn: object, dtype: torch.dtype, state: torch.dtype) -> list[Tensor]:
        layer = nn.GroupNorm(2, 4) if name == "GroupNorm" else getattr(nn, name.split("-")[0])(4)  # type: ignore[attr-defined]
        layer.weight.data.copy_(randn(4, seed=5))
        layer = layer.to(state).train("eval" not in name)
        input = randn(64, 4, dtype=low).to(dtype).requires_grad_()
        layer(input).backward(randn(64, 4, seed=1, dtype=low).to(dtype))
        return [input.grad, layer.weight.grad, layer.bias.grad]

    ours = gradients(mb.nn, low, torch.float32)
    theirs = gradients(torch.nn, low, torch.float32)
    exact = gradients(torch.nn, torch.float64, torch.float64)
    for a, b, truth in zip(ours, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        error, their_error = (float((v.double() - truth).abs().max() / truth.abs().max()) for v in (a, b))
        # one rounding of the result beside the twin's
        assert error <= 2 * their_error + torch.finfo(a.dtype).eps


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_statistics_do_not_cancel(name: str) -> None:
    """Values near 1000 with deviation 1: E[x²] - E[x]² would keep one digit of the variance in float32."""
    shift = randn(256, 8, dtype=torch.float64) + 1000.0
    delta = randn(256, 8, seed=1, dtype=torch.float64)

    def gradient(function: Callable, dtype: torch.dtype) -> Tensor:
        input = shift.float().to(dtype).requires_grad_()
        output = function(input, None, None, None, None, True) if name == "batch_norm" else function(input, [8])
        return torch.autograd.grad(output, input, delta.to(dtype))[0].double()

    ours, twin = getattr(mb.functional, name), getattr(F, name)
    exact = gradient(twin, torch.float64)
    error, their_error = ((gradient(f, torch.float32) - exact).abs().max() / exact.abs().max() for f in (ours, twin))
    assert error <= 2 * their_error  # both round the mean to float32: 1000 * 2^-24 of the deviation
    assert error < 1e-3


# ---------------------------------------------------------------------------------------------------- saving and errors


def saved(function: Callable[[], Tensor]) -> int:
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        function()
    return sum(sizes)


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm-eval", "layer_norm", "group_norm"])
def test_a_bias_alone_saves_nothing(name: str) -> None:
    input, bias = randn(8, 4), torch.zeros(4, requires_grad=True)
    weight, mean, var = torch.ones(4), torch.zeros(4), torch.ones(4)
    functions: dict[str, Callable[[], Tensor]] = {
        "batch_norm": lambda: mb.functional.batch_norm(input, mean, var, weight, bias, True),
        "batch_norm-eval": lambda: mb.functional.batch_norm(input, mean, var, weight, bias),
        "layer_norm": lambda: mb.functional.layer_norm(input, [4], weight, bias),
        "group_norm": lambda: mb.functional.group_norm(input, 2, weight, bias),
    }
    assert saved(functions[name]) == 0
    (gradient,) = torch.autograd.grad(functions[name]().sum(), bias)
    assert torch.equal(gradient, torch.full((4,), 8.0))


def test_evaluation_with_a_frozen_weight_does_not_keep_the_input() -> None:
    input = randn(8, 4).requires_grad_()
    mean, var = torch.zeros(4), torch.ones(4)
    assert saved(lambda: mb.functional.batch_norm(input, mean, var, torch.ones(4))) == 8  # var and weight


def test_a_training_batch_before_the_backward_of_evaluation() -> None:
    """It moves the running statistics; torch's backward then computes with the moved ones, without a word."""
    gradients = []
    for moved in (True, False):
        layer, _ = batch_norms()
        input = randn(4, 3, 2, 2).requires_grad_()
        output = layer.eval()(input)
        if moved:
            layer.train()(input.detach() + 5)
        output.sum().backward()
        gradients += [input.grad, layer.weight.grad]
    assert torch.equal(gradients[0], gradients[2])
    assert torch.equal(gradients[1], gradients[3])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda f: f.batch_norm(randn(1, 3), None, None, training=True), ValueError),
        (lambda f: f.batch_norm(randn(4, 3), None, None, training=True, eps=0.0), ValueError),
        (lambda f: f.batch_norm(randn(4, 3), torch.zeros(3), torch.ones(3), eps=-1.0), ValueError),
        (lambda f: f.batch_norm(randn(4, 3), None, None), RuntimeError),
        (lambda f: f.batch_norm(randn(4, 3), torch.zeros(3), None), RuntimeError),
        (lambda f: f.batch_norm(randn(4, 3), torch.zeros(3), None, training=True), ValueError),
        (lambda f: f.batch_norm(randn(4, 3), torch.zeros(2), torch.ones(2)), RuntimeError),
        (lambda f: f.batch_norm(randn(4, 3), None, None, torch.ones(2), training=True), RuntimeError),
        (lambda f: f.batch_norm(torch.ones(4, 3, dtype=torch.long), None, None, training=True), NotImplementedError),
        (lambda f: f.layer_norm(randn(4, 3), [2]), RuntimeError),
        (lambda f: f.layer_norm(randn(4, 3), 3), TypeError),
        (lambda f: f.layer_norm(randn(4, 3), [3], torch.ones(2)), RuntimeError),
        (lambda f: f.group_norm(randn(4), 2), RuntimeError),
        (lambda f: f.group_norm(randn(4, 3), 2), RuntimeError),
        (lambda f: f.group_norm(randn(1, 3), 3), ValueError),
        (lambda f: f.rms_norm(randn(4, 3), [2]), RuntimeError),
        (lambda f: f.rms_norm(randn(4, 3), [3], torch.ones(2)), RuntimeError),
    ],
)
def test_bad_arguments_raise_the_twin_s_error(call: Callable, error: type[Exception]) -> None:
    for functions in (F, mb.functional):
        with pytest.raises(error) as raised:
            call(functions)
        assert type(raised.value) is error


def test_a_wrong_weight_is_explained() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)weight \(2,\).*expected: .*weight, bias \(normalized_shape\)"):
        mb.functional.layer_norm(randn(4, 3), [3], torch.ones(2))


def test_complex_rms_norm_is_refused() -> None:
    with pytest.raises(TypeError, match="real numbers only"):
        mb.functional.rms_norm(torch.ones(2, 3, dtype=torch.complex64), [3])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_wrong_number_of_axes_raises_the_twin_s_error(dims: int) -> None:
    for nn in (mb.nn, torch.nn):
        with pytest.raises(ValueError, match="expected"):
            getattr(nn, f"BatchNorm{dims}d")(3)(randn(3))
