"""The LightningModule: its numbers, schedules and random draws."""

from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from manual_backprop.memory import saving as _saving
from manual_backprop.training.data import DataModule
from manual_backprop.training.learner import Learner
from manual_backprop.training.tasks import Classification
from tests.limits import large

pytestmark = [
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


def train(learner: Learner, epochs: int = 1, callbacks=(), **options) -> Trainer:
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, callbacks=list(callbacks), **quiet, **options
    )
    trainer.fit(learner, DataModule(batch_size=64))
    return trainer


def rates(epochs: int = 2, **options) -> list[float]:
    """The learning rate of every step."""
    from pytorch_lightning import Callback

    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, *_):
            seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    train(Learner("mlp", {"hidden": [8]}, optimizer=lambda p: SGD(p, lr=0.1), **options), epochs, [Watch()])
    return seen


def test_one_cycle_spans_the_run():
    seen = rates(scheduler=partial(OneCycleLR, max_lr=0.1, total_steps=None))
    assert len(seen) == 38
    expected = OneCycleLR(SGD([torch.zeros(1, requires_grad=True)], lr=0.1), max_lr=0.1, total_steps=38)
    for rate in seen:
        assert rate == expected.get_last_lr()[0]
        expected.optimizer.step()
        if expected.last_epoch < 37:
            expected.step()


def test_schedules_by_epoch_and_by_step():
    halve = partial(StepLR, step_size=1, gamma=0.5)
    assert rates(scheduler=halve) == [0.1] * 19 + [0.05] * 19
    assert rates(1, scheduler=halve, scheduler_interval="step") == [0.1 * 0.5**k for k in range(19)]


def test_metrics_are_those_of_all_images():
    metrics, generator = Classification(3).metrics(), torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 3, generator=generator), torch.randint(3, (50,), generator=generator)
    loss = torch.nn.functional.cross_entropy
    for part in (slice(0, 7), slice(7, 50)):
        metrics.update(logits[part], labels[part], loss(logits[part], labels[part]))
    found = metrics.compute()
    assert found["accuracy"] == (logits.argmax(1) == labels).float().mean()
    torch.testing.assert_close(found["loss"], loss(logits, labels))  # a weighted mean of means: float32 rounding


def test_label_smoothing_is_for_training_only():
    learner = Learner("mlp", {"hidden": [8]}, label_smoothing=0.3)
    logits, labels = torch.randn(5, 10), torch.arange(5)
    smooth = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3)
    torch.testing.assert_close(learner.loss(logits, labels), smooth)
    learner._evaluate("val", (torch.zeros(5, 1, 8, 8), labels))
    with torch.no_grad():
        plain = torch.nn.functional.cross_entropy(learner.eval()(torch.zeros(5, 1, 8, 8)), labels)
    torch.testing.assert_close(learner.measured("val").compute()["loss"], plain)


def test_predictions_are_probabilities():
    learner = Learner("mlp", {"hidden": [8]}).eval()
    probabilities = learner.predict_step((torch.randn(4, 1, 8, 8), torch.zeros(4)), 0)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
    assert (probabilities >= 0).all()


def test_random_draws_depend_on_the_step_only():
    def weights(noise: int, seed: int = 0) -> torch.Tensor:
        torch.manual_seed(0)
        learner = Learner("mlp", {"hidden": [16], "dropout": 0.5}, seed=seed)
        torch.manual_seed(noise)  # whatever else drew from the stream meanwhile
        train(learner)
        return learner.net[1].weight.detach()

    assert torch.equal(weights(1), weights(2))
    assert not torch.equal(weights(1), weights(1, seed=5))


def test_channels_last_reaches_the_convolutions():
    learner = Learner("cnn", {"channels": [4, 8], "pools": 1}, (3, 8, 8), channels_last=True)
    assert learner.net[3].weight.is_contiguous(memory_format=torch.channels_last)
    seen = []
    learner.net[3].register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.randn(2, 3, 8, 8)
    logits = learner(images)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    plain = Learner("cnn", {"channels": [4, 8], "pools": 1}, (3, 8, 8))
    plain.load_state_dict(learner.state_dict())
    torch.testing.assert_close(logits, plain(images))


def test_learns(capsys):
    trainer = train(Learner("mlp", {"hidden": [32]}, optimizer=lambda p: SGD(p, lr=0.5, momentum=0.9)), epochs=3)
    # 36 % are right by chance of one epoch; three reach about 90 %
    assert trainer.callback_metrics["val/accuracy"] > 0.75
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", [None, "off", "int4"])
def test_training_steps_keep_what_was_chosen(mode, monkeypatch):
    seen = []

    class Net(torch.nn.Linear):
        def forward(self, images):
            seen.append((self.training, _saving._mode))
            return super().forward(images.flatten(1))

    monkeypatch.setattr(_saving, "_mode", "bf16")
    train(Learner(Net(64, 10), saving=mode), limit_train_batches=2, limit_val_batches=1)
    assert {chosen for training, chosen in seen if training} == {mode or "bf16"}
    assert {chosen for training, chosen in seen if not training} == {"bf16"}
    assert _saving._mode == "bf16"


def test_rounded_steps_repeat_and_differ_from_exact_ones(monkeypatch):
    large(monkeypatch, 1)

    def weights(mode):
        torch.manual_seed(0)
        learner = Learner("mlp", {"hidden": [32], "activation": "GELU"}, saving=mode)
        train(learner, limit_train_batches=4)
        return torch.cat([p.detach().flatten() for p in learner.parameters()])

    assert torch.equal(weights("int4"), weights("int4"))
    assert not torch.equal(weights("int4"), weights("exact"))
