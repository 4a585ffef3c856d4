"""What the rows of the suite cannot say of activations: random streams, errors, layouts, saved bytes, warnings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.kernels import memory, pointwise

from .activations import IN_PLACE, LAYERS, pair, seeded, values

F = torch.nn.functional


def test_rrelu_draws_torch_s_random_stream() -> None:
    states, outputs = [], []
    for layer in pair("RReLU"):
        torch.manual_seed(11)
        outputs += [layer(values(50, 40)), layer(values(7))]
        states.append(torch.get_rng_state())
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])
    assert torch.equal(*states)


def test_rrelu_in_evaluation_leaves_the_random_stream_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    pair("RReLU")[0].eval()(values())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
def test_layouts_of_outputs_and_gradients(name: str, layout: str) -> None:
    x = {
        "channels_last": values(2, 4, 6, 8).to(memory_format=torch.channels_last),
        "transposed": values(2, 4, 8, 6).transpose(2, 3),
        "sliced": values(2, 4, 6, 9)[..., 1:],
        "expanded": values(2, 4, 6, 1).expand(2, 4, 6, 8),
    }[layout]
    results = []
    for layer in pair(name):
        leaf = x.detach().requires_grad_()
        output = seeded(lambda layer=layer, v=leaf: layer(v))
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
        results.append((output, gradient))
    (output, gradient), (expected, theirs) = results
    assert output.stride() == expected.stride()
    if (name, layout) == ("GLU", "channels_last"):
        assert gradient.is_contiguous(memory_format=torch.channels_last)  # torch's glu loses the layout of its input
    else:
        assert gradient.stride() == theirs.stride()
    # a few roundings of float32
    assert torch.allclose(gradient, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("inplace", [False, True])
def test_saves_no_more_than_the_twin(name: str, train: bool, inplace: bool) -> None:
    if inplace and name not in IN_PLACE:
        assert not hasattr(pair(name)[1], "inplace")
        return
    saved = []
    for layer in pair(name, inplace=True) if inplace else pair(name):
        storages: dict[int, int] = {}

        def pack(tensor: Tensor, storages: dict[int, int] = storages) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        hidden = values(4, 4, 2, 2).requires_grad_() * 1
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = layer.train(train)(hidden)
        assert output.grad_fn is not None
        saved.append(sum(storages.values()))
    assert saved[0] <= saved[1]


NUMBERS_IN_16_BITS: dict[str, Callable] = {
    "hardshrink": lambda f, x, number: f.hardshrink(x, number),
    "softshrink": lambda f, x, number: f.softshrink(x, number),
    "threshold": lambda f, x, number: f.threshold(x, number, 0.2),
    "hardtanh": lambda f, x, number: f.hardtanh(x, -number, number),
}


@pytest.mark.parametrize("backend", ["auto", "formula"])
@pytest.mark.parametrize("number", [0.5, 0.1, 0.3, 2.7, 0.001])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NUMBERS_IN_16_BITS)
def test_every_number_of_16_bits_lies_on_the_twin_s_side(
    name: str, dtype: torch.dtype, number: float, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and backward agree, with each other and with torch, on which side of a number that 16 bits cannot hold
    an element lies: ATen rounds some of them to the dtype, and compares with others in float32."""
    if name == "softshrink" and F.softshrink(torch.tensor(0.1).bfloat16(), 0.1) != 0:
        pytest.skip("this torch (2.9) compares with lambd in float32; the newest rounds it to the dtype, as we do")
    monkeypatch.setattr(pointwise, "HUGE_FROM", 0)
    monkeypatch.setattr(memory, "largest_cache", lambda: 0)
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    x = x[~x.isnan()]  # there ATen's scalar and vector loops differ
    results = []
    with mb.backend(backend):
        for functions in (mb.functional, F):
            leaf = x.clone().requires_grad_()
            output = NUMBERS_IN_16_BITS[name](functions, leaf, number)
            results.append((output, *torch.autograd.grad(output, leaf, torch.ones_like(output))))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


BAD_CALLS: dict[str, Callable] = {
    "integers to elu": lambda f: f.elu(torch.arange(4)),
    "integers to gelu": lambda f: f.gelu(torch.arange(4)),
    "integers to softmax": lambda f: f.softmax(torch.arange(4), 0),
    "bool to relu": lambda f: f.relu(torch.ones(2, dtype=torch.bool)),
    "complex to relu": lambda f: f.relu(torch.ones(2, dtype=torch.complex64)),
    "complex to mish": lambda f: f.mish(torch.ones(2, dtype=torch.complex64)),
    "min above max": lambda f: f.hardtanh(torch.ones(2), 1.0, -1.0),
    "alpha 0": lambda f: f.celu(torch.ones(2), 0.0),
    "lambd below 0": lambda f: f.softshrink(torch.ones(2), -0.5),
    "lower above upper": lambda f: f.rrelu(torch.ones(2), 0.5, 0.1),
    "lower above upper in training": lambda f: f.rrelu(torch.ones(2), 0.5, 0.1, training=True),
    "unknown approximation": lambda f: f.gelu(torch.ones(2), approximate="exact"),
    "approximation by position": lambda f: f.gelu(torch.ones(2), "tanh"),
    "scalar to glu": lambda f: f.glu(torch.ones(())),
    "odd size to glu": lambda f: f.glu(torch.ones(3)),
    "no such dim in glu": lambda f: f.glu(torch.ones(4), 1),
    "no such dim in softmax": lambda f: f.softmax(torch.ones(4), 1),
    "no such dim in softmin": lambda f: f.softmin(torch.ones(4), -2),
    "no such dim in log_softmax": lambda f: f.log_softmax(torch.ones(4), 2),
    "weights for other channels": lambda f: f.prelu(torch.ones(2, 3), torch.ones(2)),
    "weights for a vector": lambda f: f.prelu(torch.ones(3), torch.ones(3)),
    "weight matrix": lambda f: f.prelu(torch.ones(2, 3), torch.ones(1, 3)),
    "weight of another dtype": lambda f: f.prelu(torch.ones(2), torch.ones(1, dtype=torch.float64)),
    "a list": lambda f: f.relu([1.0]),
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_input_raises_the_twin_s_error(call: Callable) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever the twin raises
        call(F)
    with pytest.raises(theirs.type) as ours:
        call(mb.functional)
    assert ours.type is theirs.type


@pytest.mark.parametrize("dim", [2, 5])
def test_softmax2d_refuses_other_than_images(dim: int) -> None:
    for layer in pair("Softmax2d"):
        with pytest.raises(ValueError, match=f"expected input to be 3D or 4D, got {dim}D"):
            layer(torch.ones([1] * dim))


def test_integer_input_is_explained() -> None:
    with pytest.raises(NotImplementedError, match=re.escape("input holds integers")):
        mb.functional.gelu(torch.arange(4))


def test_softsign_of_complex_numbers_passes_forward_and_refuses_backward() -> None:
    x = torch.complex(values(), values().flip(0))
    assert torch.equal(mb.functional.softsign(x), F.softsign(x))
    with pytest.raises(NotImplementedError, match="real numbers"):
        mb.functional.softsign(x.requires_grad_())


@pytest.mark.parametrize("name", ["softsign", "rms_norm"])
def test_what_refuses_complex_numbers_is_decomposed_inside_of_explicit(name: str) -> None:
    x = torch.complex(values(2, 5), values(2, 5).flip(0)).requires_grad_()
    options = ([5],) if name == "rms_norm" else ()
    with mb.explicit(strict=True):
        ours = getattr(F, name)(x, *options)
    twin = getattr(F, name)(x, *options)
    torch.testing.assert_close(ours, twin)
    delta = torch.randn_like(twin)
    torch.testing.assert_close(torch.autograd.grad(ours, x, delta), torch.autograd.grad(twin, x, delta))


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 3, 4), (2, 3, 2, 2)])
def test_implicit_dim_warns_as_the_twin(name: str, shape: tuple) -> None:
    results, places, messages = [], [], []
    for functions in (mb.functional, F):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(getattr(functions, name)(values(*shape) if shape else torch.tensor(0.3)))
        places.append(caught[0].filename)
        messages.append(str(caught[0].message))
    assert torch.equal(*results)
    assert messages[0] == messages[1]
    assert places == [__file__, __file__]


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_implicit_dim_in_one_compiled_graph(name: str) -> None:
    for shape in ((4,), (3, 4), (2, 3, 4)):
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: getattr(mb.functional, name)(x), fullgraph=True, backend="aot_eager")
        with pytest.warns(UserWarning, match="Implicit dimension"):
            expected = getattr(F, name)(values(*shape))
        assert torch.equal(compiled(values(*shape)), expected)


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float32, torch.float64])
def test_softmax_dtype(name: str, given: torch.dtype, dtype: torch.dtype | None) -> None:
    """The result has the dtype asked for and is the twin's to the last bit, the gradient has the input's."""
    x = (values() * 3).abs().to(given)
    if dtype is None and not given.is_floating_point:
        with pytest.raises(NotImplementedError):
            getattr(mb.functional, name)(x, 1)
        return
    gradients = []
    for functions in (mb.functional, F):
        leaf = x.detach().clone().requires_grad_(given.is_floating_point)
        output = getattr(functions, name)(leaf, 1, dtype=dtype)
        assert output.dtype == (dtype or given)
        assert torch.equal(output, getattr(F, name)(x, 1, dtype=dtype))
        if given.is_floating_point:
            gradients.append(torch.autograd.grad(output, leaf, values().to(output.dtype))[0])
            assert gradients[-1].dtype == given
    # two roundings of the coarser dtype at values about 1
    bound = 2 * max(torch.finfo(t).eps for t in (given if given.is_floating_point else dtype, dtype or given))
    assert len(gradients) == 2 * given.is_floating_point
    assert all(torch.allclose(gradients[0], g, rtol=bound, atol=bound) for g in gradients)
