"""Training from one seed, plain and converted: equal loss curves, however the steps are taken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as tF
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.bench.small_networks import UNet

pytestmark = pytest.mark.slow

STEPS = 200
TOLERANCE = 1e-7
"""Relative, of losses in float64 after 200 steps: rounding of 1e-16 grows with each."""


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in self.project(self.norms[0](x)).chunk(3, -1))
        y = tF.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    """A language model on characters."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(20, 16), nn.Parameter(torch.zeros(12, 16))
        self.blocks = nn.ModuleList([Block(16), Block(16)])
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 20, bias=False)
        self.checkpointed: bool | None = None

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = self.token(batch[0]) + self.position
        for block in self.blocks:
            if self.checkpointed is None:
                x = block(x, True)
            else:
                x = checkpoint(block, x, True, use_reentrant=self.checkpointed)
        return tF.cross_entropy(self.head(self.norm(x)).flatten(0, 1), batch[1].flatten())


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        self.blocks = nn.ModuleList([Block(16), Block(16)])
        self.head = nn.Linear(16, 10)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = self.patches(batch[0]).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x, False)
        return tF.cross_entropy(self.head(x[:, 0]), batch[1], label_smoothing=0.1)


class Recurrent(nn.Module):
    """A language model of two LSTM layers."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.lstm, self.head = nn.Embedding(20, 8), nn.LSTM(8, 16, 2, dropout=0.1), nn.Linear(16, 20)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        states, _ = self.lstm(self.token(batch[0]).transpose(0, 1))
        return tF.cross_entropy(self.head(states).transpose(0, 1).flatten(0, 1), batch[1].flatten())


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(3)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.unet(batch[0]) - batch[0].roll(1, -1)).pow(2).mean()


def text(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return tuple(torch.randint(20, (4, 12), generator=generator) for _ in range(2))  # type: ignore[return-value]


def pictures(channels: int, size: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    def make(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images = torch.randn(4, channels, size, size, dtype=torch.float64, generator=generator)
        return images, torch.randint(10, (4,), generator=generator)

    return make


MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "gpt": (GPT, text),
    "vit": (ViT, pictures(1, 16)),
    "lstm": (Recurrent, text),
    "unet": (Denoiser, pictures(3, 16)),
}


def train(model: Any, data: Any, steps: int, **how: Any) -> list[float]:
    """The losses of a run: AdamW with clipping, `accumulate` batches a step, an average of the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(how.get("accumulate", 1)):
            with torch.autocast("cpu", torch.bfloat16, enabled=how.get("autocast", False)):
                loss = model(data(generator)) / how.get("accumulate", 1)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.item())
    with torch.enable_grad():  # the reentrant checkpoint warns without
        losses.append(average(data(generator)).item())
    return losses


def both(name: str) -> tuple[nn.Module, nn.Module]:
    """A model of torch's and the same converted."""
    torch.manual_seed(0)
    model = MODELS[name][0]().double()
    return model, mb.convert(copy.deepcopy(model), whole=True)


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_curves_are_equal(name: str) -> None:
    theirs, ours = (train(model, MODELS[name][1], STEPS) for model in both(name))
    assert len(set(theirs)) == STEPS + 1, "each step changes the model"
    assert ours == pytest.approx(theirs, rel=TOLERANCE)


@pytest.mark.parametrize("reentrant", [False, True])
def test_with_checkpoints_and_accumulation(reentrant: bool) -> None:
    curves = []
    for model in both("gpt"):
        model.checkpointed = reentrant
        curves.append(train(model, text, 30, accumulate=3))
    assert curves[1] == pytest.approx(curves[0], rel=TOLERANCE)


def test_under_autocast() -> None:
    theirs, ours = (train(model.float(), text, 30, autocast=True) for model in both("gpt"))
    assert ours == pytest.approx(theirs, rel=2e-2), "bfloat16 has 8 bits, and rounding grows"


def test_compiled() -> None:
    theirs, ours = both("gpt")
    theirs.eval(), ours.eval()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    assert train(compiled, text, 30) == pytest.approx(train(theirs, text, 30), rel=TOLERANCE)


def alone(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def sharded(model: Any) -> Any:
    for block in model.blocks:
        fully_shard(block)
    return fully_shard(model)


def work(rank: int, folder: Path, wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        curves: list[list[float]] = []
        for model in both("gpt"):
            wrapped = wrap(model.eval())  # dropout would draw one mask in the one and another in the other process
            optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
            generator = torch.Generator().manual_seed(rank)
            curves.append([])
            for _ in range(20):
                optimizer.zero_grad()
                loss = wrapped(text(generator))
                loss.backward()
                optimizer.step()
                curves[-1].append(loss.item())
        assert curves[1] == pytest.approx(curves[0], rel=TOLERANCE)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrap", [alone, sharded], ids=["ddp", "fsdp2"])
def test_in_two_processes(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (tmp_path, wrap), 2)
