"""What torch does not keep for the backward: it may be edited in place, or be a tensor of inference mode.

Each is a program that torch trains, found by random programs. torch keeps what it makes of these tensors, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

NAMESPACES = mb.functional, torch.nn.functional


def spoil(*tensors: Tensor) -> None:
    with torch.no_grad():
        for tensor in tensors:
            tensor.fill_(7.0)


def agree(program: Callable[..., list[Tensor]], *leaves: Tensor, **tolerances: float) -> None:
    """The gradients of `leaves`: program(namespace, *leaves) is its outputs."""
    found = []
    for functional in NAMESPACES:
        torch.manual_seed(0)
        given = [leaf.clone().requires_grad_() for leaf in leaves]
        sum(output.sum() for output in program(functional, *given)).backward()  # type: ignore[attr-defined]
        found.append([leaf.grad for leaf in given])
    torch.testing.assert_close(*found, **tolerances)


@pytest.mark.parametrize("reduction", ["none", "batchmean"])
@pytest.mark.parametrize("fixed_target", [False, True])
def test_kl_div_of_logarithms_keeps_neither_input_nor_target(reduction: str, fixed_target: bool) -> None:
    def program(F: Any, x: Tensor, y: Tensor) -> list[Tensor]:
        x, y = x * 1, (y.detach() if fixed_target else y) * 1
        loss = F.kl_div(x, y, reduction=reduction, log_target=True)
        spoil(x, y)
        return [loss] if not fixed_target else [loss, y * 0]

    x, y = torch.randn(3, 4).log_softmax(1), torch.randn(3, 4).log_softmax(1)
    if fixed_target:
        agree(lambda F, x: program(F, x, y), x)
    else:
        agree(program, x, y)


def test_second_derivatives_of_kl_div_of_logarithms() -> None:
    x, y = (torch.randn(3, 4, dtype=torch.double).log_softmax(1).requires_grad_() for _ in range(2))
    loss = lambda x, y: mb.functional.kl_div(x, y, reduction="sum", log_target=True)  # noqa: E731
    assert torch.autograd.gradgradcheck(loss, (x, y))
    (linear,) = torch.autograd.grad(loss(x, y.detach()), x, create_graph=True)
    assert not linear.requires_grad, "the loss is linear in x"


def test_smoothed_probabilities_are_kept_in_place_of_the_target() -> None:
    def program(F: Any, x: Tensor) -> list[Tensor]:
        target = torch.rand(3, 4)
        loss = F.cross_entropy(x, target, label_smoothing=0.2)
        spoil(target)
        return [loss]

    agree(program, torch.randn(3, 4))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_weighted_mse_keeps_the_difference(reduction: str) -> None:
    def program(F: Any, x: Tensor, y: Tensor) -> list[Tensor]:
        x, y = x * 1, y * 1
        loss = F.mse_loss(x, y, weight=torch.rand(3, 4), reduction=reduction)
        spoil(x, y)
        return [loss]

    agree(program, torch.randn(3, 4), torch.randn(3, 4))


@pytest.mark.parametrize("strided", [False, True])
def test_bilinear_of_an_input_that_is_no_matrix_in_memory(strided: bool) -> None:
    """It is copied to rows, but for one that can be seen as rows: the edit is then torch's error, and ours."""

    def program(F: Any, weight: Tensor) -> list[Tensor]:
        torch.manual_seed(0)
        x = torch.randn(2, 4, 3)
        x = x[:, :, ::2] if strided else x.transpose(0, 1)
        other = torch.randn(*x.shape[:-1], 2)
        y = F.bilinear(x, other, weight)
        spoil(x)
        return [y]

    weight = torch.randn(5, 2 if strided else 3, 2)
    if not strided:
        agree(program, weight)
        return
    for functional in NAMESPACES:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            sum(y.sum() for y in program(functional, weight.clone().requires_grad_())).backward()  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_bilinear_of_strided_inputs(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)[..., ::2]
    agree(lambda F, weight: [F.bilinear(x, x, weight)], torch.randn(5, 4, 4))


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.hessian], ids=["grad", "hessian"])
@pytest.mark.parametrize("edited", ["logits", "target"])
def test_logits_and_targets_under_torch_func(transform: Callable, edited: str) -> None:
    def loss(F: Any) -> Callable[[Tensor], Tensor]:
        def function(x: Tensor) -> Tensor:
            x, y = x * 1, x * 2 if edited == "target" else torch.full((3,), 0.3)
            value = F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.full((3,), 0.5))
            spoil(x if edited == "logits" else y)
            return value

        return function

    x = torch.randn(3, dtype=torch.double)
    torch.testing.assert_close(*(transform(loss(F))(x) for F in NAMESPACES))


def test_a_pos_weight_of_inference_mode_under_vmap() -> None:
    with torch.inference_mode():
        pos_weight = torch.rand(3)

    def program(F: Any, weight: Tensor) -> list[Tensor]:
        def loss(x: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(x * weight, x.sigmoid(), pos_weight=pos_weight)

        return [torch.func.vmap(loss)(torch.ones(2, 3))]

    agree(program, torch.randn(3))


@pytest.mark.parametrize("shapes", [((1, 0), (1, 0)), ((2, 0, 3), (2, 4, 3)), ((2, 4, 3), (2, 0, 3))])
def test_attention_over_nothing_keeps_nothing(shapes: tuple[tuple[int, ...], ...]) -> None:
    def program(F: Any, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        query, key, value = query * 1, key * 1, value * 1
        y = F.scaled_dot_product_attention(query, key, value)
        spoil(query, key, value, y)
        return [y]

    query, key = shapes
    agree(program, torch.randn(query), torch.randn(key), torch.randn(key))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_with_dropout_keeps_no_mask_and_in_16_bits_no_value(dtype: torch.dtype) -> None:
    def program(F: Any, x: Tensor) -> list[Tensor]:
        value = x * 1
        mask = torch.randn(4, 4, dtype=dtype)
        y = F.scaled_dot_product_attention(x, x, value, attn_mask=mask, dropout_p=0.3)
        spoil(mask, y)
        if dtype == torch.bfloat16:
            spoil(value)
        return [y]

    tolerances = {} if dtype == torch.float32 else {"rtol": 2**-5, "atol": 2**-5}  # a few roundings of 2^-9
    agree(program, torch.randn(2, 4, 3, dtype=dtype), **tolerances)


@pytest.mark.parametrize("fused", [False, True])
def test_an_attention_mask_of_inference_mode(fused: bool) -> None:
    """The fused forward keeps a mask of numbers as it is, and one of booleans as numbers."""
    with torch.inference_mode():
        mask = torch.rand(4, 4) < 0.7 if fused else torch.randn(4, 4)
    x = torch.randn(2, 4, 3) if fused else torch.randn(4, 3)
    agree(lambda F, value: [F.scaled_dot_product_attention(x, x, value, attn_mask=mask)], torch.randn_like(x))


def test_attention_under_vmap_of_grad() -> None:
    def loss(F: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: F.relu6(F.scaled_dot_product_attention(x, x, x, dropout_p=1e-9), inplace=True).sum()

    x = torch.randn(2, 1, 1, 4, 3, dtype=torch.double)
    found = [torch.func.vmap(torch.func.grad(loss(F)), randomness="different")(x) for F in NAMESPACES]
    torch.testing.assert_close(*found)


def test_the_hessian_of_a_loss_that_is_edited() -> None:
    def loss(F: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: F.cross_entropy(x, torch.tensor([1, 0]), reduction="none").mul_(2).sum()

    x = torch.randn(2, 3, dtype=torch.double)
    torch.testing.assert_close(*(torch.func.hessian(loss(F))(x) for F in NAMESPACES))


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "relu", "linear"])
@pytest.mark.parametrize("transform", ["hessian", "hvp"])
def test_inputs_that_only_the_tangent_reads_are_edited(name: str, transform: str) -> None:
    weight = torch.randn(3, 3, dtype=torch.double)

    def loss(F: Any) -> Callable[[Tensor], Tensor]:
        more = {"softmax": (0,), "linear": (weight,)}.get(name, ())

        def function(x: Tensor) -> Tensor:
            x = x * 1
            y = getattr(F, name)(x, *more)
            spoil(x)
            return (y * y).sum()

        return function

    def result(function: Callable) -> Tensor:
        if transform == "hessian":
            return torch.func.hessian(function)(x)
        return torch.func.jvp(torch.func.grad(function), (x,), (x,))[1]

    x = torch.randn(3, dtype=torch.double)
    torch.testing.assert_close(*(result(loss(F)) for F in NAMESPACES))
