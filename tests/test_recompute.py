"""Recomputation in programs: edits in place, several passes of backward, hooks, checkpoints; always as torch has it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as tF
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop._observe import graph
from manual_backprop.engine import node
from manual_backprop.memory import recompute as _recompute

ROWS, WIDTH = 160, 128  # 20,480 elements: large enough for kernels and recomputation

TORCH = SimpleNamespace(nn=torch.nn, **{name: getattr(tF, name) for name in dir(tF) if not name.startswith("__")})
TORCH.add = torch.add
OURS = SimpleNamespace(nn=nn, **{name: getattr(F, name) for name in F.__all__})

IN_PLACE = (
    "elu", "celu", "selu", "relu", "relu6", "silu", "mish", "hardswish", "hardtanh", "hardsigmoid", "leaky_relu",
    "threshold", "dropout", "rrelu",
)  # fmt: skip
ARGUMENTS: dict[str, tuple] = {"threshold": (0.1, 0.2)}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with mb.saving("exact"):
        yield


def on_both(program: Callable[[Any], list[Tensor]]) -> None:
    """The program on torch and on ours gives the same tensors, or both raise a RuntimeError of the same kind. On ours
    with nodes in Python; with native nodes that are recorded; and with what was recorded."""
    twin = outcome(program, TORCH)
    node.enable(False)
    try:
        agree(twin, outcome(program, OURS))
    finally:
        node.enable(True)
    if node.wait():
        node.limits(2**14, calls=0)
        for _ in range(2):
            agree(twin, outcome(program, OURS))


def outcome(program: Callable[[Any], list[Tensor]], library: Any) -> Any:
    torch.manual_seed(0)
    try:
        return program(library)
    except RuntimeError as error:
        return error


def agree(twin: Any, ours: Any) -> None:
    if isinstance(twin, RuntimeError):
        assert isinstance(ours, RuntimeError), f"torch raises: {twin}"
        assert ("inplace" in str(twin)) == ("inplace" in str(ours))
        return
    if isinstance(ours, RuntimeError):
        raise ours
    for a, b in zip(ours, twin, strict=True):
        # float32: a few roundings of kernels that sum in another order, against numbers around 1
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_behind_what_is_recomputed(name: str) -> None:
    def program(library: Any) -> list[Tensor]:
        layers = (
            library.nn.Linear(WIDTH, WIDTH),
            library.nn.LayerNorm(WIDTH),
            library.nn.Tanh(),
            library.nn.Dropout(0.1),
        )
        net = torch.nn.Sequential(*layers, library.nn.LayerNorm(WIDTH))
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = getattr(library, name)(net(x), *ARGUMENTS.get(name, ()), inplace=True)
        y.square().sum().backward()
        return [x.grad, *(p.grad for p in net.parameters())]  # type: ignore[list-item]

    on_both(program)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_again_and_again(name: str) -> None:
    def program(library: Any) -> list[Tensor]:
        p = torch.nn.Parameter(torch.linspace(-2, 2, 2**14))
        y: Tensor = p
        for _ in range(4):
            y = getattr(library, name)(library.add(y, 0.1), *ARGUMENTS.get(name, ()), inplace=True)
        y.sum().backward()
        return [p.grad]  # type: ignore[list-item]

    on_both(program)


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("recorded", [True, False])
def test_in_place_on_what_was_saved_raises_torchs_error(name: str, recorded: bool) -> None:
    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.layer_norm(x, (WIDTH,))
        z = library.linear(y, torch.ones(2, WIDTH, requires_grad=True))
        with torch.set_grad_enabled(recorded):
            getattr(library, name)(y, *ARGUMENTS.get(name, ()), inplace=True)
        z.sum().backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        program(OURS)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_inside_a_checkpoint(name: str, reentrant: bool) -> None:
    def program(library: Any) -> list[Tensor]:
        norm, linear = library.nn.LayerNorm(WIDTH), library.nn.Linear(WIDTH, WIDTH)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)

        def part(x: Tensor) -> Tensor:
            return linear(getattr(library, name)(norm(x), *ARGUMENTS.get(name, ()), inplace=True))

        checkpoint(part, library.gelu(x), use_reentrant=reentrant).square().sum().backward()
        return [x.grad, linear.weight.grad, norm.weight.grad]  # type: ignore[list-item]

    on_both(program)


def test_roots_are_edited_where_torch_has_not_saved_them() -> None:
    """A tensor that some other branch has saved is no root: torch's GELU saved its own input, and allows this edit."""

    def program(library: Any) -> list[Tensor]:
        x, weight = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randn(2, WIDTH, requires_grad=True)
        a = x * 2
        aside = library.linear(a, weight)
        y = library.gelu(library.add(a, 1.0))
        with torch.no_grad():
            a.mul_(3)
        y.square().sum().backward()
        return [x.grad, aside]  # type: ignore[list-item]

    on_both(program)


def test_a_parameter_that_changes_between_forward_and_backward() -> None:
    def program(library: Any) -> list[Tensor]:
        norm, linear = library.nn.LayerNorm(WIDTH), library.nn.Linear(WIDTH, 2)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = linear(library.gelu(norm(x)))
        norm.bias.data.add_(1.0)
        y.square().sum().backward()
        return [x.grad, linear.weight.grad, norm.weight.grad]  # type: ignore[list-item]

    on_both(program)


def test_other_memory_set_as_data_between_two_layers() -> None:
    """As networks with binary activations do."""

    def program(library: Any) -> list[Tensor]:
        norm, linear = library.nn.LayerNorm(WIDTH), library.nn.Linear(WIDTH, 2)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = norm(x)
        y.data = y.data.sign()
        linear(y).square().sum().backward()
        return [x.grad, linear.weight.grad]  # type: ignore[list-item]

    on_both(program)


def test_a_branch_whose_roots_another_pass_has_freed() -> None:
    """grad() by x frees the nodes on its way; the other head's weight needs what they would have recomputed."""

    def program(library: Any) -> list[Tensor]:
        norm = library.nn.LayerNorm(WIDTH)
        one, other = library.nn.Linear(WIDTH, 2), library.nn.Linear(WIDTH, 3)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.silu(norm(x))
        first, second = one(y).square().sum(), other(y).square().sum()
        del y
        found = torch.autograd.grad(first, x)
        return [*found, *torch.autograd.grad(second, other.weight)]

    on_both(program)


def test_nothing_is_kept_behind_a_whole_pass() -> None:
    net = nn.Sequential(nn.LayerNorm(WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 2))
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    y = net(x)
    aside = net[2](net[1](net[0](x)))  # never differentiated, and not looked at again
    del aside
    y.sum().backward()
    recipes = [n.recipe for n in graph([y]) if getattr(n, "recipe", None) is not None]
    assert len(recipes) >= 3
    assert [recipe.kept for recipe in recipes] == [None] * len(recipes)
    assert [recipe.cached for recipe in recipes] == [None] * len(recipes)


def test_a_pass_that_stops_early_keeps_nothing_either() -> None:
    norm, last = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    y = last(norm(x))
    torch.autograd.grad(y.sum(), last.weight, retain_graph=True)
    behind = next(n for n in graph([y]) if n.name() == "LayerNormBackward")
    assert (behind.recipe.cached, behind.unpacked) == (None, None)
    held = weakref.ref(behind)
    gc.disable()
    try:
        del y, behind
        assert held() is None
    finally:
        gc.enable()


def test_first_and_second_derivatives_in_turn() -> None:
    def program(library: Any) -> list[Tensor]:
        norm, linear = library.nn.LayerNorm(WIDTH), library.nn.Linear(WIDTH, 2)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = linear(library.gelu(norm(x))).square().sum()
        torch.autograd.grad(y, linear.weight, retain_graph=True)
        (first,) = torch.autograd.grad(y, linear.weight, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [x, norm.weight, norm.bias]))

    on_both(program)


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_across_the_edge_of_a_checkpoint(reentrant: bool) -> None:
    """What the checkpoint saves of its outside, and what the outside saves of its inside, is recomputed."""

    def program(library: Any) -> list[Tensor]:
        first, second = library.nn.LayerNorm(WIDTH), library.nn.LayerNorm(WIDTH)
        linear = library.nn.Linear(WIDTH, WIDTH)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        inside = checkpoint(lambda x: second(linear(x)), library.gelu(first(x)), use_reentrant=reentrant)
        linear(library.silu(inside)).square().sum().backward()
        return [x.grad, linear.weight.grad, first.weight.grad, second.weight.grad]  # type: ignore[list-item]

    on_both(program)


HOOKS: dict[str, tuple[Callable, Callable]] = {
    "itself": (lambda t: t, lambda t: t),
    "copy": (lambda t: t.clone(), lambda t: t),
    "float16": (lambda t: (t.dtype, t.half() if t.dtype == torch.float32 else t), lambda kept: kept[1].to(kept[0])),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_on_saved_tensors_keep_no_more(name: str) -> None:
    """The bytes that a user's hook is given are those that are kept without one."""
    net = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.1),
        nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2),
    )  # fmt: skip
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    given: list[int] = []

    def count(tensor: Tensor) -> Any:
        if not any(tensor.data_ptr() == p.data_ptr() for p in (x, *net.parameters())):
            given.append(tensor.nbytes)
        return HOOKS[name][0](tensor)

    with torch.autograd.graph.saved_tensors_hooks(count, HOOKS[name][1]):
        y = net(x)
    assert sum(given) == mb.saved_bytes(net, x).ours
    y.sum().backward()


def test_save_on_cpu() -> None:
    def program(library: Any) -> list[Tensor]:
        norm, linear = library.nn.LayerNorm(WIDTH), library.nn.Linear(WIDTH, 2)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        with torch.autograd.graph.save_on_cpu():
            y = linear(library.dropout(library.gelu(norm(x)), 0.2)).square().sum()
        y.backward()
        return [x.grad, linear.weight.grad, norm.weight.grad]  # type: ignore[list-item]

    on_both(program)


def test_a_view_of_what_is_recomputed_is_recomputed_too() -> None:
    def kept(function: Callable[[Tensor], Tensor]) -> bool:
        y = F.layer_norm(torch.randn(ROWS, WIDTH, requires_grad=True), (WIDTH,))
        behind = F.gelu(function(y)).grad_fn
        return isinstance((behind.plan or [None])[0], _recompute.Ask)  # type: ignore[union-attr]

    assert kept(lambda y: y)
    assert kept(lambda y: y.view(WIDTH, ROWS).t())
    assert kept(lambda y: y[: ROWS - 10].view(-1, 2, WIDTH))
    assert not kept(lambda y: y.clone())
    assert not kept(lambda y: y.detach().requires_grad_()), "its node is not upstream"

    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.layer_norm(x, (WIDTH,))
        (library.gelu(y.view(WIDTH, ROWS).t()).square().sum() + library.silu(y[3:, 1:]).sum()).backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)


def test_the_same_graph_from_several_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    net = nn.Sequential(nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2))
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    y = net(x).square().sum()
    wanted = [x, *net.parameters()]
    expected = torch.autograd.grad(y, wanted, retain_graph=True)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: torch.autograd.grad(y, wanted, retain_graph=True), range(16)):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("first", ["exact", "off", "int4"])
@pytest.mark.parametrize("later", ["exact", "off", "int4"])
def test_a_checkpoint_whose_backward_runs_in_another_mode(first: str, later: str) -> None:
    net = nn.Sequential(nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    x = torch.randn(ROWS, WIDTH)

    def gradients(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        with mb.saving(first):
            y = run(leaf).sum()
        with mb.saving(later):
            return list(torch.autograd.grad(y, [leaf, *net.parameters()]))

    with mb.saving("off"):
        expected = gradients(net)
    found = gradients(lambda leaf: checkpoint(net, leaf, use_reentrant=False))
    if first != "int4":
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(found, expected, strict=True))
    else:  # 15 steps over the range of 128 numbers, in two layers: see tests/test_saving_modes.py
        both = [torch.cat([g.flatten() for g in gs]) for gs in (found, expected)]
        assert 0 < (both[0] - both[1]).norm() < 0.5 * both[1].norm()


def test_explicit_around_a_checkpoint_is_around_its_second_forward() -> None:
    def program(inside: bool) -> list[Tensor]:
        torch.manual_seed(0)
        x, w = torch.randn(ROWS, WIDTH, requires_grad=True), torch.full((WIDTH,), 0.2, requires_grad=True)

        def part(x: Tensor) -> Tensor:
            return torch.tanh(tF.layer_norm(tF.prelu(x, w), (WIDTH,)) * 2)

        with mb.explicit():
            y = checkpoint(part, x, use_reentrant=False) if inside else part(x)
        return list(torch.autograd.grad(y.square().sum(), [x, w]))

    assert all(torch.equal(a, b) for a, b in zip(program(True), program(False), strict=True))


def test_explicit_inside_a_checkpoint_stays_inside() -> None:
    seen: list[str] = []

    def part(x: Tensor) -> Tensor:
        before = x * 2
        with mb.explicit():
            y = before * before
        seen.append(f"{before.grad_fn.name()} {y.grad_fn.name()}")  # type: ignore[union-attr]
        return y

    x = torch.randn(3, requires_grad=True)
    checkpoint(part, x, use_reentrant=False, early_stop=False).sum().backward()
    assert seen == ["MulBackward0 MulBackward"] * 2


def test_what_a_function_of_ones_own_keeps_on_its_ctx_is_no_recipe() -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.recipe = "twice"
            return x * 2

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> Tensor:  # type: ignore[override]
            return delta * 2

    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        library.gelu(Doubled.apply(x)).square().sum().backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)
