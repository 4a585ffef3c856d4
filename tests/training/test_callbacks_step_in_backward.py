"""StepInBackward: the same training as without, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

import manual_backprop.nn as nn
from manual_backprop.errors import BadInput
from manual_backprop.training.callbacks import StepInBackward

pytestmark = [
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
]


class Regression(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        self.gradients_seen = 0

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.net(batch).square().mean()

    def on_after_backward(self) -> None:
        self.gradients_seen += sum(p.grad is not None for p in self.parameters())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def fit(callbacks: list, **options: Any) -> Regression:
    seed_everything(0)
    module, data = Regression(), torch.randn(40, 6)
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, callbacks=callbacks, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=8))  # type: ignore[arg-type]
    return module


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"}],
    ids=["plain", "accumulate", "clip"],
)
def test_the_same_training(options: dict[str, Any]) -> None:
    expected, module = fit([], **options), fit([StepInBackward()], **options)
    for a, b in zip(module.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    assert module.gradients_seen == (16 if "accumulate_grad_batches" in options else 0)  # of 4 parameters, held 2 x 2
    assert expected.gradients_seen == 40


def test_clipping_by_norm_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot clip the norm of all gradients"):
        fit([StepInBackward()], gradient_clip_val=1.0)


def test_manual_optimization_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Regression, "automatic_optimization", False)
    with pytest.raises(BadInput, match="needs automatic optimization"):
        fit([StepInBackward()])
