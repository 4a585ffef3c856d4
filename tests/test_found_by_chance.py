"""What random programs found, each as the few lines that it comes down to."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torchvision
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.kernels import native, printer
from manual_backprop.rules import GELU


def test_a_zero_without_memory_reaches_no_kernel() -> None:
    """torch makes such tensors in second derivatives; a kernel that reads one ends the process."""
    zero = torch._efficientzerotensor(8, dtype=torch.float64)
    assert zero.data_ptr() == 0
    assert not native.plain(zero)
    x = torch.randn(8, dtype=torch.float64, requires_grad=True)
    for y in (F.rms_norm(x, (8,)), F.layer_norm(x, (8,)), F.gelu(x), F.softmax(x, 0)):
        (gradient,) = torch.autograd.grad(y, x, zero)
        assert not gradient.any()


def test_formulas_are_read_while_other_threads_call_modules() -> None:
    """torch.fx's tracer replaces the call of every module of the process while it runs."""
    wrong: list[BaseException] = []
    stop = threading.Event()

    def call() -> None:
        layer, x = torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.ones(1, 2)
        while not stop.is_set():
            try:
                layer(x)
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        printer.read(GELU.by_erf)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("function", [F.relu, F.softmax, lambda x: F.linear(x, torch.ones(2, 3))])
def test_compiled_inside_autocast(function: Callable) -> None:
    torch._dynamo.reset()
    function = (lambda x: F.softmax(x, 1)) if function is F.softmax else function
    x = torch.randn(4, 3, requires_grad=True)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = compiled(x), function(x)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["bf16", "int8", "int4"])
def test_second_derivatives_of_rounded_tensors_are_refused(mode: str) -> None:
    x = torch.randn(160, 128, requires_grad=True)
    with mb.saving(mode):
        y = F.gelu(F.mul(x, x))
    with pytest.raises(RuntimeError, match=r"create_graph=True needs the exact saved tensors"):
        torch.autograd.grad(y.sum(), x, create_graph=True)
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


def test_a_convolution_without_channels_inside_a_checkpoint() -> None:
    weight, x = torch.randn(1, 0, 1, requires_grad=True), torch.randn(1, 0, 1)
    checkpoint(F.conv1d, x, weight, use_reentrant=False).sum().backward()
    assert weight.grad is not None


def test_batched_deltas_through_windows_of_one_element() -> None:
    x = torch.randn(1, 3, 3, requires_grad=True)
    with mb.backend("formula"):
        (found,) = torch.autograd.grad(F.avg_pool2d(x, 1), x, torch.ones(2, 1, 3, 3), is_grads_batched=True)
    assert torch.equal(found, torch.ones(2, 1, 3, 3))


@pytest.mark.parametrize("strategy", ["forward-mode", "reverse-mode"])
def test_what_is_repeated_under_vectorized_jacobians(strategy: str) -> None:
    x, target = torch.randn(3, 1), torch.randn(3, 4).softmax(1)

    def loss(functional: object) -> Callable[[Tensor], Tensor]:
        return lambda x: functional.kl_div(x, target, reduction="sum")  # type: ignore[attr-defined]

    jacobian = torch.autograd.functional.jacobian
    found = jacobian(loss(F), x, vectorize=True, strategy=strategy)
    torch.testing.assert_close(found, jacobian(loss(torch.nn.functional), x))


def test_edits_around_attention_where_torch_allows_them() -> None:
    """With dropout torch keeps scaled copies of query and key, and the weights, but not the output."""

    def gradients(functional: object) -> list[Tensor]:
        torch.manual_seed(0)
        query, key, value = (torch.randn(2, 3, 4, requires_grad=True) for _ in range(3))
        q, k = query * 1, key * 1
        y = functional.scaled_dot_product_attention(q, k, value, dropout_p=0.3)  # type: ignore[attr-defined]
        q.add_(1)
        k.mul_(2)
        y.mul_(3)
        y.sum().backward()
        return [query.grad, key.grad, value.grad]  # type: ignore[list-item]

    for a, b in zip(gradients(F), gradients(torch.nn.functional), strict=True):
        torch.testing.assert_close(a, b)


def test_where_no_delta_comes_none_goes_on() -> None:
    x, scale = torch.randn(2, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    _, summed = F.add_layer_norm(x, x, (3,), F.mul(scale, 2.0))
    summed.sum().backward()
    assert scale.grad is None, "the norm was not used"


@pytest.mark.parametrize("inplace", [False, True])
def test_hessians_and_jvps_of_edits_in_place(inplace: bool) -> None:
    weight, x = torch.randn(3, 3), torch.randn(4, 3)

    def loss(functional: object, inplace: bool) -> Callable[[Tensor], Tensor]:
        return lambda x: functional.relu(functional.linear(x, weight), inplace).square().sum()  # type: ignore[attr-defined]

    found = torch.func.hessian(loss(F, inplace))(x)
    torch.testing.assert_close(found, torch.func.hessian(loss(torch.nn.functional, False))(x))
    layer = nn.Linear(1, 4)
    _, moved = torch.func.jvp(lambda x: F.silu(layer(x), inplace), (torch.ones(1),), (torch.ones(1),))
    assert moved.shape == (4,)


def test_edits_of_what_vmap_gives() -> None:
    layer = nn.ConvTranspose2d(1, 1, 1, stride=2, dilation=2)
    found = torch.func.vmap(lambda x: layer(x).mul_(2))(torch.ones(2, 1, 3, 3))
    torch.testing.assert_close(found, torch.stack([layer(torch.ones(1, 3, 3)) * 2] * 2))


@pytest.mark.parametrize("explicit", [False, True])
def test_writes_through_views_under_torch_func(explicit: bool) -> None:
    def function(x: Tensor) -> Tensor:
        if explicit:
            with mb.explicit():
                y = x * 1.0
                y.view(-1).mul_(0.5)
                return (y * y).sum()
        y = F.mul(x, 1.0)
        F.reshape(y, (-1,)).mul_(0.5)
        return F.mul(y, y).sum()

    x = torch.randn(3, 4)
    torch.testing.assert_close(torch.func.grad(function)(x), 0.5 * x)


def test_attention_over_frozen_queries_in_large_tensors() -> None:
    query, value = torch.randn(2, 64, 128), torch.randn(2, 64, 128, requires_grad=True)
    F.scaled_dot_product_attention(query, query, value).sum().backward()
    expected = torch.nn.functional.scaled_dot_product_attention(query, query, torch.ones_like(query)).sum()
    torch.testing.assert_close(value.grad.sum(), expected)  # type: ignore[union-attr]


def test_a_matrix_times_a_vector_under_autocast() -> None:
    """torch casts matmul, but not mv, on the CPU: spectral_norm counts on it."""
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 2))
    with mb.explicit(), torch.autocast("cpu", torch.bfloat16):
        assert torch.mv(torch.ones(2, 3, requires_grad=True), torch.ones(3)).dtype == torch.float32
        layer(torch.ones(1, 3)).sum().backward()


def test_an_edit_of_the_output_leaves_the_inputs_tangent_alone() -> None:
    with forward_ad.dual_level():
        x = forward_ad.make_dual(torch.ones(3), torch.ones(3))
        F.add(x, 0.0).zero_()
        assert torch.equal(forward_ad.unpack_dual(x).tangent, torch.ones(3))  # type: ignore[arg-type]


def test_in_place_arithmetic_over_a_tensor_without_gradient() -> None:
    found = []
    for context in (mb.explicit(), nullcontext()):
        a, b = torch.arange(3.0), torch.ones(3, requires_grad=True)
        with context:
            a.mul_(b)
        a.sum().backward()
        found.append(b.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["dropout1d", "feature_alpha_dropout"])
def test_draws_for_channels_follow_no_memory_format(name: str) -> None:
    x = torch.randn(1, 3, 3).transpose(0, 2)
    found = []
    for functional in (F, torch.nn.functional):
        torch.manual_seed(0)
        found.append(getattr(functional, name)(x, 0.5, True))
    torch.testing.assert_close(*found)


def test_a_converted_efficientnet_trains() -> None:
    """Its classifier drops elements in place behind a flatten."""
    model = torchvision.models.efficientnet_b0().double()
    ours, x = mb.convert(copy.deepcopy(model)), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for net in (model, ours):
        torch.manual_seed(0)
        net(x).square().sum().backward()
    found = torch.cat([p.grad.flatten() for p in ours.parameters()])  # type: ignore[union-attr]
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
    # 80 layers in float64, sums in another order, through norms over as few as eight numbers
    assert (found - expected).norm() < 1e-8 * expected.norm()


def test_a_bias_that_is_changed_before_the_backward() -> None:
    found = []
    for functional in (F, torch.nn.functional):
        torch.manual_seed(0)
        x, bias = torch.randn(3, 4, requires_grad=True), torch.nn.Parameter(torch.randn(4))
        y = F.bias_activation(x, bias, "gelu") if functional is F else functional.gelu(x + bias)
        bias.data.mul_(1.25)
        y.sum().backward()
        found.append(torch.cat([x.grad.flatten(), bias.grad]))  # type: ignore[union-attr, list-item]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("function", [F.add_layer_norm, F.add_rms_norm])
def test_a_norm_that_moves_by_its_weight_alone(function: Callable) -> None:
    x, weight = torch.randn(2, 3), torch.randn(3)
    norm = F.layer_norm if function is F.add_layer_norm else F.rms_norm
    outputs, moved = torch.func.jvp(lambda w: function(x, x, (3,), w), (weight,), (torch.ones(3),))
    torch.testing.assert_close(moved[0], norm(2 * x, (3,)))
    assert torch.equal(outputs[1], 2 * x)
    assert not moved[1].any()


@pytest.mark.parametrize("of", [lambda v: v[:1], lambda v: v[0], lambda v: v.T])
def test_arithmetic_in_place_over_a_part_of_its_other_operand(of: Callable[[Tensor], Tensor]) -> None:
    """torch refuses it, since the result would follow from the order of its loop."""
    for context in (nullcontext(), mb.explicit()):
        x = torch.randn(2, 2, requires_grad=True) * 1
        with context, pytest.raises(RuntimeError, match="refer to a single memory location"):
            x += of(x)
        with context:
            x += of(x).clone()
            x[:1] += x[1:]
        with context, pytest.raises(RuntimeError, match="refer to a single memory location"):
            torch.func.grad(lambda x: (y := x * 1).add_(of(y)).sum())(torch.randn(2, 2))


def test_atan2_at_the_origin_has_deltas_of_zero() -> None:
    """As torch's from 2.14 on; before, they were NaN there, and everything behind them."""
    a, b = torch.tensor([0.0, 0.0, 3.0], requires_grad=True), torch.tensor([0.0, -0.0, 4.0], requires_grad=True)
    first = torch.autograd.grad(F.atan2(a, b).sum(), (a, b), create_graph=True)
    assert [delta.tolist() for delta in first] == [[0, 0, pytest.approx(0.16)], [0, 0, pytest.approx(-0.12)]]
    second = torch.autograd.grad(first[0].sum() + first[1].sum(), (a, b))
    assert all(delta.isfinite().all() for delta in second)


def test_second_derivatives_of_bessel_functions_that_torch_does_not_differentiate() -> None:
    """J0'' = -J1' = J1 / x - J0; read as a constant, J1 would give none."""
    x = torch.tensor([0.7, 1.3, 2.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F.special_bessel_j0(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(curvature, torch.special.bessel_j1(x) / x - torch.special.bessel_j0(x))
    torch.testing.assert_close(torch.func.hessian(lambda v: F.special_bessel_j0(v).sum())(x).diagonal(), curvature)


def test_no_delta_for_the_delta_of_a_loss() -> None:
    """Where the second backward has nothing to send, the node of the softmax behind the loss gives as many nothings as
    it has arguments."""
    x, target = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 1, 2, 3, 1])
    (delta,) = torch.autograd.grad(F.cross_entropy(x, target), x, create_graph=True)
    undefined = torch._C._functions.UndefinedGrad()(delta)
    assert torch.autograd.grad(undefined, x, torch.zeros_like(delta), allow_unused=True) == (None,)


def test_the_bias_of_an_instance_norm_alone() -> None:
    """Nothing but the delta is saved then: the kernel asked the input, which is not there, for its shape."""
    bias = torch.randn(3, requires_grad=True)
    output = F.instance_norm(torch.randn(2, 3, 5), bias=bias)
    delta = torch.randn(2, 3, 5)
    assert torch.equal(torch.autograd.grad(output, bias, delta)[0], delta.sum(2).sum(0))
