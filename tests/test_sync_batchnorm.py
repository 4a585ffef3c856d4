"""SyncBatchNorm: in two processes the same as BatchNorm on the batches of both together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

import manual_backprop as mb

BATCHES = (3, 2)
"""Samples of each process: not as many."""


def layers() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    sync, whole = mb.nn.SyncBatchNorm(4, momentum=0.3).double(), torch.nn.BatchNorm2d(4, momentum=0.3).double()
    torch.nn.init.normal_(sync.weight)
    whole.load_state_dict(sync.state_dict())
    return sync, whole


def run(layer: torch.nn.Module, input: Tensor, delta: Tensor) -> list[Tensor]:
    input = input.clone().requires_grad_()
    output = layer(input)
    return [output.detach(), *torch.autograd.grad(output, [input, *layer.parameters()], delta)]


def process(rank: int, store: str, half: bool) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    sync, whole = layers()
    x, delta = torch.randn(2, sum(BATCHES), 4, 2, 3, dtype=torch.float64)
    expected, mine = run(whole, x, delta), slice(None, BATCHES[0]) if rank == 0 else slice(BATCHES[0], None)
    if half:
        sync = sync.float()
        found = run(sync, x[mine].bfloat16(), delta[mine].bfloat16())
        assert [t.dtype for t in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    else:
        found = run(sync, x[mine], delta[mine])
    for gradient in found[2:]:  # as DistributedDataParallel adds them up
        torch.distributed.all_reduce(gradient)
    close = {"rtol": 0.05, "atol": 0.05} if half else {"rtol": 1e-10, "atol": 1e-10}
    for one, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(one.double(), other[mine], **close)
    for one, other in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(one.double(), other, **close)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(sync, name), getattr(whole, name), check_dtype=False, **close)
    sync.eval()
    whole.eval()
    torch.testing.assert_close(sync(x).double() if not half else sync(x.float()).double(), whole(x), **close)
    torch.distributed.destroy_process_group()


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["float64", "bfloat16"])
def test_two_processes_are_one_batch(half: bool, tmp_path: Path) -> None:
    mp.spawn(process, (str(tmp_path / "store"), half), nprocs=2)


def test_a_second_derivative_is_refused() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    output = mb.functional.call(mb.rules.SyncBatchNorm, x, None, None, None, None, 0.1, 1e-5, None)[0]
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(output.sum(), x, create_graph=True)
