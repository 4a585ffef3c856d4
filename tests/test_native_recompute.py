"""Native nodes with large tensors: what they keep, what they recompute, and that it is freed; see also
test_recompute.py, where every program runs with nodes in Python and with native ones."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.engine import node
from manual_backprop.engine.rule import KERNELS, in_place

ROWS, WIDTH = 160, 128  # 20,480 elements: large


@pytest.fixture(autouse=True)
def recorded_at_once() -> Iterator[None]:
    if not node.wait():
        pytest.skip("no C++ compiler on this machine that takes torch's headers")
    node.limits(2**14, calls=0)
    with mb.saving("exact"):
        yield


def kept_bytes(run: Callable[[], Any]) -> tuple[int, Any]:
    """The bytes that are still allocated when it returns, and what it returns."""
    gc.collect()  # what an earlier profile has left
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = run()
    return sum(event.self_cpu_memory_usage for event in recorded.key_averages()), result


NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "norms and activations": (
        lambda: nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
            nn.Linear(WIDTH, WIDTH), nn.RMSNorm(WIDTH), nn.Linear(WIDTH, 2),
        ),
        (ROWS, WIDTH),
    ),
    "in place behind a batch norm": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 2, 1),
        ),
        (4, 4, 32, 32),
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.2), nn.Linear(WIDTH, 2)),
        (ROWS, WIDTH),
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(64, 4, 256, 0.1, "gelu", batch_first=True, norm_first=True),
        (8, 40, 64),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_they_keep_what_nodes_in_python_keep(name: str) -> None:
    """The same bytes between forward and backward, none of them behind it, and the same bits."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    net, x = make(), torch.randn(shape, requires_grad=True)
    wanted = [x, *net.parameters()]

    def step() -> tuple[int, int, tuple[Tensor, ...]]:
        torch.manual_seed(1)
        kept, y = kept_bytes(lambda: net(x))
        gradients = torch.autograd.grad(y.square().sum(), wanted)
        torch.manual_seed(1)
        left, result = kept_bytes(lambda: torch.autograd.grad(net(x).square().sum(), wanted))
        left -= sum(g.untyped_storage().nbytes() for g in result)
        return kept, left, gradients

    node.enable(False)
    expected = step()
    node.enable(True)
    for _ in range(3):
        found = step()
    assert found[:2] == expected[:2]
    assert all(map(torch.equal, found[2], expected[2]))
    with mb.saving("off"):
        assert kept_bytes(lambda: net(x))[0] > found[0], "nothing large was left to recompute"


def test_what_recomputes_is_a_program() -> None:
    norm, linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    for _ in range(3):
        y = linear(F.relu(F.gelu(norm(x)), inplace=True))
        y.sum().backward()
    assert all(isinstance(n, node.module.RuleNode) for n in graph_of(y))
    assert recomputes(in_place(mb.rules.ReLU)) == ["ready"]


def test_one_pass_for_two_functions() -> None:
    """A batch norm and the ReLU that writes over it are recomputed by one kernel where nobody else reads the norm."""
    net = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1))
    x = torch.randn(4, 8, 32, 32, requires_grad=True)
    for _ in range(3):
        net(x).sum().backward()
    assert recomputes(in_place(mb.rules.ReLU)) == ["ready"]


def test_a_function_whose_first_argument_is_a_number() -> None:
    """What was computed before it is its second argument: that is not one pass."""
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    expected = torch.autograd.grad(
        torch.nn.functional.silu(0.5 - torch.nn.functional.layer_norm(x, (WIDTH,))).sum(), x
    )[0]
    for _ in range(3):
        y = F.silu(F.sub(0.5, F.layer_norm(x, (WIDTH,))))
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected)
    assert "ready" in recomputes(mb.rules.Sub)


def recomputes(rule: Any) -> list[str]:
    return [state for *_, states in node.module.status(rule) for state in states]


def graph_of(y: Tensor) -> list[Any]:
    from manual_backprop._observe import graph

    return [n for n in graph([y]) if n.name() != "torch::autograd::AccumulateGrad"]


def test_a_node_in_python_asks_a_native_one_and_the_other_way_round() -> None:
    """Where calls of a network differ in how often they were seen, its graph is mixed."""
    norm, linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    wanted = [x, *norm.parameters(), *linear.parameters()]

    def step(native: tuple[bool, bool, bool]) -> tuple[int, tuple[Tensor, ...]]:
        layers: list[Callable[[Tensor], Tensor]] = [norm, F.gelu, linear]

        def run() -> Tensor:
            y = x
            for layer, on in zip(layers, native, strict=True):
                node.enable(on)
                y = layer(y)
            return y

        kept, y = kept_bytes(run)
        node.enable(True)
        return kept, torch.autograd.grad(y.square().sum(), wanted)

    expected = step((False, False, False))
    for _ in range(2):
        for native in [
            (True, True, True),
            (True, False, True),
            (False, True, True),
            (True, True, False),
            (False, False, True),
        ]:
            kept, gradients = step(native)
            assert kept == expected[0], native
            assert all(map(torch.equal, gradients, expected[1])), native


def test_an_edit_of_what_would_be_recomputed_is_an_error() -> None:
    x, w = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randn(2, WIDTH, requires_grad=True)
    for _ in range(2):
        y = F.layer_norm(x, (WIDTH,))
        z = F.linear(y, w)
        y.detach().mul_(2)
        with pytest.raises(
            RuntimeError, match=r"modified by an inplace operation.*output 0 of LayerNormBackward, is at v"
        ):
            z.sum().backward()
    assert isinstance(z.grad_fn, node.module.RuleNode)


def test_a_pass_that_leaves_some_out() -> None:
    """What a node keeps lives until the last of those that ask for its output has run."""
    norm, one, other = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2), nn.Linear(WIDTH, 3)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    for _ in range(3):
        y = F.silu(norm(x))
        first, second = one(y).square().sum(), other(y).square().sum()
        expected = torch.autograd.grad(second, other.weight, retain_graph=True)[0]
        del y
        torch.autograd.grad(first, x)
        assert torch.equal(torch.autograd.grad(second, other.weight)[0], expected)
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            torch.autograd.grad(second, other.weight)


def test_what_was_recorded_with_another_kernel_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a graph that was there before."""
    norm, linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    for _ in range(3):
        y = linear(F.gelu(norm(x), approximate="tanh")).sum()
        torch.autograd.grad(y, linear.weight, retain_graph=True)
    assert recomputes(mb.rules.GELU) == ["ready"]
    monkeypatch.setitem(KERNELS, mb.rules.GELU.output_tanh, lambda input: torch.full_like(input, 3.0))
    node.forget()
    assert torch.autograd.grad(y, linear.weight)[0].eq(3 * ROWS).all()


def test_lossy_modes_and_hooks_are_left_to_python() -> None:
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    for _ in range(3):
        native = F.silu(x)
        with mb.saving("int8"):
            rounded = F.silu(F.gelu(x))
        with torch.autograd.graph.save_on_cpu():
            hooked = F.silu(x)
    kinds = [isinstance(y.grad_fn, node.module.RuleNode) for y in (native, rounded, hooked)]
    assert kinds == [True, False, False]


def test_an_edit_of_its_own_output_is_an_error() -> None:
    """Also where the output that the backward reads is recomputed: as in torch, and as from a node in Python."""
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    for _ in range(3):
        y = F.tanh(F.layer_norm(x, (WIDTH,)))
        y.mul_(2)
        with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*version 1; expected version 0"):
            y.sum().backward()
    assert isinstance(y.grad_fn.next_functions[0][0], node.module.RuleNode)  # type: ignore[union-attr]


def test_a_backward_inside_autocast_recomputes_outside_of_it() -> None:
    """As the forward ran: autocast would have PReLU compute in bfloat16."""
    net = nn.Sequential(nn.LayerNorm(WIDTH), nn.PReLU(), nn.Linear(WIDTH, 2))
    x = torch.randn(ROWS, WIDTH)
    wanted = list(net.parameters())
    expected = torch.autograd.grad(net(x).square().sum(), wanted)
    for _ in range(4):
        y = net(x).square().sum()
        with torch.autocast("cpu", torch.bfloat16):
            found = torch.autograd.grad(y, wanted)
            assert torch.is_autocast_enabled("cpu")
        assert all(map(torch.equal, found, expected))


def test_second_derivatives_pass_the_hooks_of_what_is_recomputed() -> None:
    """A hook that changes the delta of a tensor, which is gone by then, is asked in the second backward, too."""
    weights = torch.randn(WIDTH, WIDTH), torch.randn(2, WIDTH)
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def program(library: Any) -> list[Tensor]:
        h = library.layer_norm(library.linear(x, weights[0]), (WIDTH,))
        h.register_hook(lambda delta: delta * 1.5)
        y = library.linear(library.gelu(h), weights[1])
        del h
        first = torch.autograd.grad(y.square().sum(), x, create_graph=True)[0]
        return [first, torch.autograd.grad(first.square().sum(), x)[0]]

    expected = program(torch.nn.functional)
    for _ in range(3):
        found = program(F)
    for one, other in zip(found, expected, strict=True):
        # float32, third powers of sums in another order: against the largest number, which no cancellation made
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3 * other.abs().max().item())


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_derivative_leaves_nothing_behind(fails: bool) -> None:
    """Nor does one that an error ends between what is recomputed and its node."""
    net = nn.Sequential(nn.LayerNorm(WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 2))
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def fail(delta: Tensor) -> None:
        raise ArithmeticError

    def step() -> None:
        y = net[1](net[0](x))
        if fails:
            y.register_hook(fail)
        y = net[2:](y)
        with pytest.raises(ArithmeticError) if fails else contextlib.nullcontext():
            delta = torch.autograd.grad(y.square().sum(), x, create_graph=True)[0]
            torch.autograd.grad(delta.square().sum(), x)

    for _ in range(3):
        step()
    assert kept_bytes(step)[0] == 0


def test_second_derivatives_of_cross_entropy_of_what_is_recomputed() -> None:
    """Its log p, which no user sees, is recomputed, and has derivatives by a node within: left to Python from the first
    call on."""
    labels = torch.randint(WIDTH, (ROWS,))
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def program(library: Any) -> list[Tensor]:
        loss = library.cross_entropy(library.gelu(x), labels, reduction="none").square().sum()
        first = torch.autograd.grad(loss, x, create_graph=True)[0]
        return [first, torch.autograd.grad(first.square().sum(), x)[0]]

    expected = program(torch.nn.functional)
    node.forget()
    for _ in range(3):
        for one, other in zip(program(F), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def test_threads_that_run_the_backward_of_one_graph_once() -> None:
    """Each gets the gradient, or torch's error that another thread has freed the graph; the parts of the graph that
    others ask are freed while these ask."""
    norm, heads = nn.LayerNorm(WIDTH), [nn.Linear(WIDTH, 2) for _ in range(4)]
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            y = F.gelu(norm(x))
            losses = [head(F.silu(y)).square().sum() for head in heads]
            expected = [
                torch.autograd.grad(loss, head.weight, retain_graph=True)[0]
                for loss, head in zip(losses, heads, strict=True)
            ]
            del y
            jobs = [pool.submit(torch.autograd.grad, losses[k % 4], (heads[k % 4].weight, x)) for k in range(8)]
            del losses
            errors = 0
            for k, job in enumerate(jobs):
                if job.exception() is None:
                    assert torch.equal(job.result()[0], expected[k % 4])
                else:
                    assert "backward through the graph a second time" in str(job.exception())
                    errors += 1
            assert errors < len(jobs)
