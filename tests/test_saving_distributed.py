"""Recomputation in two processes: parameters that FSDP frees between forward and backward, DDP, checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.memory import recompute as _recompute
from manual_backprop.memory import saving as _saving
from tests.limits import large

pytestmark = pytest.mark.distributed


class Block(torch.nn.Module):
    """norm -> up -> act -> down; the norm's output is what `up` would have to save."""

    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        self.norm, self.up, self.act, self.down = nn.LayerNorm(16), nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)
        torch.nn.init.normal_(self.norm.weight)
        self.checkpointed = checkpointed

    def inner(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(self.norm(x))))

    def forward(self, x: Tensor) -> Tensor:
        return F.add(x, checkpoint(self.inner, x, use_reentrant=False) if self.checkpointed else self.inner(x))


def network(checkpointed: bool = False) -> torch.nn.Sequential:
    torch.manual_seed(0)
    blocks = [Block(checkpointed) for _ in range(3)]
    return torch.nn.Sequential(*blocks, nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 5))


def ddp(net: torch.nn.Sequential) -> torch.nn.Module:
    return torch.nn.parallel.DistributedDataParallel(net)


def blocks(net: torch.nn.Sequential) -> torch.nn.Module:
    from torch.distributed.fsdp import fully_shard

    for block in net[:3]:
        fully_shard(block)
    return fully_shard(net)


def norms_apart(net: torch.nn.Sequential) -> torch.nn.Module:
    """Each norm is a group of its own, given back before the Linear behind it has run."""
    from torch.distributed.fsdp import fully_shard

    for block in net[:3]:
        fully_shard(block.norm)
    fully_shard(net[3])
    return blocks(net)


def layers_apart(net: torch.nn.Sequential) -> torch.nn.Module:
    from torch.distributed.fsdp import fully_shard

    for block in net[:3]:
        for layer in (block.norm, block.up, block.down):
            fully_shard(layer)
    return blocks(net)


def full(gradient: Tensor) -> Tensor:
    return gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient


def work(rank: int, folder: Path, wrap: Callable, checkpointed: bool) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    _saving.LARGE = 1
    try:
        x = torch.randn(2, 4, 7, 16, generator=torch.Generator().manual_seed(1))
        single = network()
        with mb.saving("off"):
            single(x.flatten(0, 1)).square().sum().backward()
        net = wrap(network(checkpointed))
        again: list[str] = []
        output_of = _recompute.output_of
        _recompute.output_of = lambda node, task: again.append(node.name()) or output_of(node, task)
        for _ in range(2):  # the second time with what the first one has left
            net.zero_grad()
            net(x[rank]).square().sum().mul(2).backward()  # both ways take the mean over the processes
        # FSDP hands every group views of its inputs, whose nodes are FSDP's
        expected = () if wrap is layers_apart else ("LayerNorm",) if checkpointed else ("LayerNorm", "GELU")
        for rule in expected:
            assert any(rule in name for name in again), f"no {rule} was recomputed"
        for (name, ours), expected in zip(net.named_parameters(), single.parameters(), strict=True):
            # the same products in two parts, summed in float32; the largest elements are around 1e3
            torch.testing.assert_close(full(ours.grad), expected.grad, rtol=1e-4, atol=1e-3, msg=name)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("checkpointed", [False, True], ids=["", "checkpointed"])
@pytest.mark.parametrize("wrap", [ddp, blocks, norms_apart, layers_apart])
def test_the_gradients_of_one_process(wrap: Callable, checkpointed: bool, tmp_path: Path) -> None:
    mp.spawn(work, (tmp_path, wrap, checkpointed), 2)


def second_derivative() -> Tensor:
    torch.manual_seed(0)
    norm, last = nn.LayerNorm(4).double(), nn.Linear(4, 2).double()
    x = torch.randn(30, 4, dtype=torch.double, requires_grad=True)
    (grad,) = torch.autograd.grad(last(norm(x)).square().sum(), last.weight, create_graph=True)
    return torch.autograd.grad(grad.square().sum(), norm.weight)[0]


def test_small_arguments_are_copied_with_their_history(monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch, 1)
    with mb.saving("off"):
        expected = second_derivative()
    torch.testing.assert_close(second_derivative(), expected)
    assert expected.norm() > 0


def test_a_large_parameter_is_no_root_among_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch, 1)
    table = torch.nn.Parameter(torch.randn(8, 8))
    x = torch.randn(5, 8, requires_grad=True)

    def kept() -> bool:
        squashed = F.gelu(table)
        return F.linear(x, squashed).grad_fn.plan is not None  # type: ignore[union-attr]

    alone = kept()
    monkeypatch.setattr(_saving, "several_processes", lambda: True)
    assert (alone, kept()) == (True, False)
