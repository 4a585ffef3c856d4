"""What random programs found under torch.func, in forward mode and of tensors without elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import manual_backprop.functional as F

THEIRS = torch.nn.functional


def by_delta(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The derivative of the backward by its delta, along ones."""
    moved: Tensor = torch.autograd.functional.jvp(function, x, torch.ones_like(x))[1]
    return moved


def along(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    moved: Tensor = torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]
    return moved


def in_both(run: Callable[..., Any], function: Callable[..., Tensor], x: Tensor) -> None:
    """The same from torch's functions as from ours, with the same draws."""
    found = []
    for functional in (F, THEIRS):
        torch.manual_seed(0)
        found.append(run(lambda x, functional=functional: function(functional, x), x))
    torch.testing.assert_close(*found, equal_nan=True)


@pytest.mark.parametrize("run", [torch.func.grad, torch.func.vjp, torch.func.jacrev, along])
@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "dropout1d"])
@pytest.mark.parametrize("inplace", [False, True])
def test_draws_under_torch_func_follow_no_memory_format(run: Callable, name: str, inplace: bool) -> None:
    def total(functional: Any, x: Tensor) -> Tensor:
        y = (
            functional.dropout(x * 1, 0.5, True, inplace)
            if name == "dropout"
            else getattr(functional, name)(x, 0.5, True)
        )
        return (y * torch.arange(24.0).view(2, 3, 4)).sum()

    x = torch.rand(4, 3, 2).transpose(0, 2)
    if run is torch.func.vjp:
        in_both(lambda f, x: torch.func.vjp(f, x)[1](torch.tensor(2.0)), total, x)
    else:
        in_both(run if run is along else lambda f, x: run(f)(x), total, x)


LABELS = torch.zeros(3, dtype=torch.int64)
LOSSES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    **{
        name: lambda functional, x, name=name: getattr(functional, name)(x, torch.zeros_like(x))  # type: ignore[misc]
        for name in ("mse_loss", "l1_loss", "huber_loss", "kl_div", "binary_cross_entropy", "cross_entropy")
    },
    "mean": lambda functional, x: functional.mean(x) if functional is F else torch.mean(x),
    "nll_loss": lambda functional, x: functional.nll_loss(x, LABELS[: len(x)], ignore_index=0),
    "labels": lambda functional, x: functional.cross_entropy(x, LABELS[: len(x)], ignore_index=0),
    "smoothed": lambda functional, x: functional.cross_entropy(
        x, LABELS[: len(x)], ignore_index=0, label_smoothing=0.1
    ),
}


@pytest.mark.filterwarnings("ignore:reduction. .mean. divides")
@pytest.mark.parametrize("run", [by_delta, along, lambda f, x: torch.func.grad(f)(x)])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (0, 0), (3, 2)])
def test_means_of_nothing(run: Callable, name: str, shape: tuple[int, ...]) -> None:
    """Also of rows that are all ignored, and where there are no classes to be wrong about."""
    in_both(run, LOSSES[name], torch.rand(shape))


@pytest.mark.parametrize("shape", [(1, 0, 3), (0, 2, 3)])
def test_a_convolution_without_channels_or_samples(shape: tuple[int, ...]) -> None:
    weight = torch.ones(2, shape[1], 1)
    in_both(lambda f, x: torch.func.jacrev(f)(x), lambda functional, x: functional.conv1d(x, weight), torch.ones(shape))
    x = torch.ones(shape, requires_grad=True)
    y = F.conv1d(x, weight)
    (found,) = torch.autograd.grad(y, x, torch.ones(2, *y.shape), is_grads_batched=True)
    assert found.shape == (2, *shape)


@pytest.mark.parametrize("name", ["conv3d", "conv_transpose1d", "conv_transpose3d"])
def test_tangents_of_an_unbatched_convolution(name: str) -> None:
    """torch makes its output as a view, whose tangent would have to lie in memory just so."""
    axes = int(name[-2])
    weight = torch.randn(3, 3, *[3] * axes, dtype=torch.float64)

    def dual(function: Callable[[Tensor], Tensor], x: Tensor) -> Any:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(function(forward_ad.make_dual(x, x))).tangent

    x = torch.randn(3, *[5] * axes, dtype=torch.float64)
    in_both(dual, lambda functional, x: getattr(functional, name)(x, weight, padding=1, dilation=2), x)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 4)])
def test_one_window_over_an_input_without_channels(shape: tuple[int, ...]) -> None:
    name = f"adaptive_avg_pool{len(shape)}d"
    in_both(lambda f, x: (f(x), torch.func.grad(f)(x)), lambda functional, x: getattr(functional, name)(x, 1).sum(),
            torch.randn(shape))  # fmt: skip


def test_no_rows_and_some_labels() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(0\) to match target batch_size \(5\)"):
        F.linear_cross_entropy(torch.ones(0, 2), torch.ones(4, 2), torch.zeros(5, dtype=torch.int64))


def test_a_group_norm_over_channels_that_lie_last_under_vmap() -> None:
    def loss(functional: Any, x: Tensor) -> Tensor:
        return functional.group_norm(x, 2)[0].sum()  # type: ignore[no-any-return]

    x = torch.randn(2, 2, 3, 2, 2, 4).permute(0, 1, 5, 2, 3, 4)
    in_both(lambda f, x: torch.func.vmap(torch.func.grad(f))(x), loss, x)


def test_an_edit_of_what_attention_gives_under_torch_func() -> None:
    def loss(functional: Any, x: Tensor) -> Tensor:
        y = functional.scaled_dot_product_attention(x, x, x)
        return functional.relu6(y, inplace=True).sum()

    in_both(lambda f, x: torch.func.hessian(f)(x), loss, torch.randn(6, 1, dtype=torch.float64))


@pytest.mark.parametrize("target", [torch.tensor([1, 0]), torch.tensor([[0.3, 0.7], [0.5, 0.5]])])
def test_an_edit_of_a_loss_under_torch_func(target: Tensor) -> None:
    def loss(functional: Any, x: Tensor) -> Tensor:
        return functional.cross_entropy(x, target).clamp_(max=5)  # type: ignore[no-any-return]

    in_both(lambda f, x: torch.func.hessian(f)(x), loss, torch.randn(2, 2))


def test_the_tangent_of_prelu_at_zero() -> None:
    in_both(along, lambda functional, x: functional.prelu(x, torch.tensor([0.3])), torch.tensor([-1.0, 0.0, 1.0]))


def test_what_stays_has_no_tangent() -> None:
    """The derivative of kl_div by a target of zeros is infinite; where the target stays, it is not asked for."""
    in_both(along, lambda functional, x: functional.kl_div(x, torch.zeros(3), reduction="sum"), torch.rand(3))


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_attention_whose_heads_have_no_width_follows_its_mask(p: float) -> None:
    def loss(functional: Any, mask: Tensor) -> Tensor:
        value = torch.arange(3.0).view(1, 1, 3, 1)
        y = functional.scaled_dot_product_attention(torch.ones(1, 1, 2, 0), torch.ones(1, 1, 3, 0), value, mask, p)
        return y.square().sum()  # type: ignore[no-any-return]

    in_both(lambda f, mask: torch.func.grad(f)(mask), loss, torch.randn(2, 3))


def test_attention_without_values_draws_nothing() -> None:
    def attention(functional: Any, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)  # type: ignore[no-any-return]

    in_both(lambda f, x: (f(x), torch.rand(1)), attention, torch.ones(1, 1, 0))
