"""Flatten, Unflatten and reshape return views, as their twins do: what later edits in place mean for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

TWINS = {
    "flatten": (lambda x: mb.functional.flatten(x, 1), lambda x: torch.flatten(x, 1)),
    "unflatten": (lambda x: mb.functional.unflatten(x, 1, (1, 3)), lambda x: torch.unflatten(x, 1, (1, 3))),
    "reshape": (lambda x: mb.functional.reshape(x, (-1,)), lambda x: torch.reshape(x, (-1,))),
    "two of them": (
        lambda x: mb.functional.unflatten(mb.functional.flatten(x), 0, (4, 6)),
        lambda x: torch.unflatten(torch.flatten(x), 0, (4, 6)),
    ),
}


@pytest.mark.parametrize(("shape", "dims"), [((2, 3), (0, 2)), ((2, 3), (-3, 1)), ((), (0, 1))])
def test_transpose_names_the_axis_that_there_is_not(shape: tuple[int, ...], dims: tuple[int, int]) -> None:
    x = torch.zeros(shape)
    for transpose in (torch.transpose, mb.functional.transpose):
        with pytest.raises(IndexError, match=r"out of range"):
            transpose(x, *dims)


@pytest.mark.parametrize("name", TWINS)
def test_a_view_where_the_twin_returns_one_and_a_copy_where_not(name: str) -> None:
    ours, twin = TWINS[name]
    x = torch.randn(2, 3, 4, requires_grad=True)
    assert ours(x).data_ptr() == twin(x).data_ptr() == x.data_ptr()
    crosswise = torch.randn(4, 3, 2, requires_grad=True).transpose(0, 2)
    copied = twin(crosswise).data_ptr() != crosswise.data_ptr()
    assert (ours(crosswise).data_ptr() != crosswise.data_ptr()) == copied


def test_flatten_of_a_single_axis_returns_its_input_itself() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    assert mb.nn.Flatten()(x) is x
    assert torch.nn.Flatten()(x) is x
    assert mb.nn.Identity()(x) is x


def _edited(reshape: Callable, activation: Callable) -> list[Tensor]:
    """Loss, gradient and the tensor underneath, when a view is edited and both it and its base are used."""
    torch.manual_seed(0)
    leaf = torch.randn(2, 3, 4, requires_grad=True)
    base = leaf * 2
    edited = activation(reshape(base))
    loss = (edited.reshape(-1) * torch.arange(24.0)).sum() + (base * base).sum()
    return [loss, *torch.autograd.grad(loss, leaf), base]


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("function", ["relu", "silu", "elu"])  # relu keeps nothing but its output, silu its input
def test_a_layer_that_works_in_place_after_a_view_gives_the_twins_gradients(name: str, function: str) -> None:
    ours, twin = TWINS[name]
    found = _edited(ours, lambda x: getattr(mb.functional, function)(x, inplace=True))
    expected = _edited(twin, lambda x: getattr(torch.nn.functional, function)(x, inplace=True))
    for a, b in zip(found, expected, strict=True):
        # the edit's delta and the base's add up in another order: a few roundings of 2^-24
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_modules_in_place_after_flatten_in_a_sequential() -> None:
    def gradients(nn: object) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(12, 2))  # type: ignore[attr-defined]
        net(torch.randn(5, 3, 4)).sum().backward()
        return [p.grad for p in net.parameters()]

    for a, b in zip(gradients(mb.nn), gradients(torch.nn), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)  # float32 sums of some ten terms


@pytest.mark.parametrize("name", TWINS)
def test_edits_by_torchs_own_operators(name: str) -> None:
    ours, twin = TWINS[name]
    found = _edited(ours, lambda x: x.mul_(0.5).add_(1))
    for a, b in zip(found, _edited(twin, lambda x: x.mul_(0.5).add_(1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_the_old_view_sees_what_a_layer_wrote_over_it() -> None:
    base = torch.randn(2, 3, 4, requires_grad=True) * 2
    view = mb.functional.flatten(base, 1)
    assert mb.functional.relu(view, inplace=True) is view
    assert bool((base >= 0).all())
    assert torch.equal(view, base.flatten(1))
    view.sum().backward()


def test_a_view_of_a_leaf_is_refused_as_by_the_twin() -> None:
    leaf = torch.randn(2, 3, requires_grad=True)
    for functional, flatten in ((mb.functional, mb.functional.flatten), (torch.nn.functional, torch.flatten)):
        with pytest.raises(RuntimeError, match="view of a leaf Variable"):
            functional.relu(flatten(leaf), inplace=True)


def test_without_recording_edits_pass_as_the_twins_do() -> None:
    with torch.no_grad():
        base = torch.randn(2, 3, 4)
        view = mb.functional.flatten(base, 1)
        view.add_(1)
        assert mb.functional.relu(view, inplace=True) is view
        torch.testing.assert_close(base.reshape(2, 12), view, rtol=0, atol=0)  # one memory


def test_a_saved_tensor_edited_through_a_view_raises_the_version_error() -> None:
    leaf = torch.randn(2, 3, requires_grad=True)
    saved = mb.functional.sigmoid(leaf)
    edited = mb.functional.relu(mb.functional.flatten(saved), inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        edited.sum().backward()
