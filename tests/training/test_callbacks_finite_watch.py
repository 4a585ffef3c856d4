"""FiniteWatch: that it stops before the weights change, names the right place, and leaves everything as it was."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from manual_backprop.training.callbacks import DeltaFlow, FiniteWatch, NonFiniteLossError
from manual_backprop.training.callbacks._rerun import RandomState, describe, rerun

from .callback_runs import Classifier, Images, cnn, fit, fp16, mlp

BAD_STEP = 6  # of 8: the third batch of the second epoch


class Poison(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, forward: float, backward: float) -> Tensor:
        ctx.factor = backward
        return value * forward

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return delta * ctx.factor, None, None


class Gate(nn.Module):
    """Identity, until it counts `step` training steps; then its output or the delta it hands on is NaN or infinite."""

    def __init__(self, step: int = BAD_STEP, forward: float = 1.0, backward: float = 1.0) -> None:
        super().__init__()
        self.step, self.factors = step, (forward, backward)
        self.register_buffer("count", torch.tensor(0))

    def forward(self, value: Tensor) -> Tensor:
        bad = int(self.count) >= self.step
        return Poison.apply(value, *(self.factors if bad else (1.0, 1.0)))


class Counts(Classifier):
    """Tells the gates which batch this is, so that a second run of the batch meets the same gate."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        for module in self.modules():
            if isinstance(module, Gate):
                module.count.fill_(self.trainer.global_step)
        return super().training_step(batch, batch_idx)


def poisoned(place: int, **factors: float) -> nn.Sequential:
    net = mlp()
    net.insert(place, Gate(**factors))
    return net


def stopped(tmp_path: Path, module: pl.LightningModule, watch: FiniteWatch | None = None, **options: Any) -> Any:
    with pytest.raises(NonFiniteLossError) as caught:
        fit(tmp_path, module, [watch or FiniteWatch()], **options)
    return caught.value


@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_module_whose_output_went_first_is_named(tmp_path: Path, place: int, value: float) -> None:
    error = stopped(tmp_path, Counts(poisoned(place, forward=value)))
    assert error.forward == f"net.{place}"
    assert f"the output of `net.{place}` (Gate) went first" in str(error)
    assert (error.step, error.epoch, error.batch_idx) == (BAD_STEP, 1, 2)
    assert f"step {BAD_STEP} (epoch 1, batch 2)" in str(error)
    assert not math.isfinite(error.loss)
    assert error.parameters == []


@pytest.mark.parametrize("place", [2, 3, 4, 5])
def test_the_layer_whose_delta_went_first_is_named(tmp_path: Path, place: int) -> None:
    """The gate at `place` hands a NaN delta to the layer before it: the first in backward order whose delta is bad."""
    error = stopped(tmp_path, Counts(poisoned(place, backward=math.nan)), FiniteWatch(gradients=True))
    assert error.step == BAD_STEP
    assert error.backward == f"net.{place - 1}"
    assert error.forward is None
    assert math.isfinite(error.loss)
    kind = "Linear" if place % 2 == 0 else "ReLU"
    assert f"the delta of `net.{place - 1}` ({kind}) went first" in str(error)
    assert "forward:   every output is finite" in str(error)


@pytest.mark.parametrize(("place", "named"), [(2, "net.1"), (3, "net.1"), (4, "net.3"), (5, "net.3"), (6, "net.6")])
def test_a_bad_delta_alone_is_told_from_the_weights_it_spoiled(tmp_path: Path, place: int, named: str) -> None:
    """Without a look at the gradients the loss shows it one step late; the last spoiled layer is where it began."""
    if place == 6:  # after the last layer
        net = mlp()
        net.append(Gate(backward=math.nan))
        named = "net.5"
    else:
        net = poisoned(place, backward=math.nan)
    error = stopped(tmp_path, Counts(net))
    assert error.step == BAD_STEP + 1
    assert error.forward == "net.1"  # the first layer has spoiled weights in every case
    assert "net.1.weight" in error.parameters
    assert f"of their layers `{named}` runs last" in str(error)
    assert f"{len(error.parameters)} parameters were not finite before this batch" in str(error)


@pytest.mark.parametrize("gradients", [False, True])
def test_the_weights_are_those_before_the_step(tmp_path: Path, gradients: bool) -> None:
    factors = {"backward": math.nan} if gradients else {"forward": math.nan}
    module = Counts(poisoned(3, **factors))
    stopped(tmp_path / "stopped", module, FiniteWatch(gradients))
    until = Counts(poisoned(3, **factors))
    fit(tmp_path / "until", until, [], max_steps=BAD_STEP, max_epochs=-1)
    for (name, one), other in zip(module.named_parameters(), until.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_last_finite_loss_is_told_as_the_training_step_returned_it(tmp_path: Path) -> None:
    losses: list[float] = []

    class Notes(Counts):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            losses.append(float(loss.detach()))
            return loss

    error = stopped(tmp_path, Notes(poisoned(3, step=2, forward=math.nan)), accumulate_grad_batches=2)
    assert error.step == 2
    # batches 0 to 3 made steps 0 and 1; the failing batch ran twice, once more to find the place
    assert [math.isfinite(loss) for loss in losses] == [True] * 4 + [False] * 2
    assert error.last_loss == pytest.approx(losses[3], rel=1e-6)
    assert f"last loss: {losses[3]:g}, one batch earlier" in str(error)


def test_the_first_batch(tmp_path: Path) -> None:
    error = stopped(tmp_path, Counts(poisoned(3, step=0, forward=math.nan)))
    assert error.last_loss is None
    assert "last loss: none was finite" in str(error)


def test_what_to_do_is_said_with_the_numbers_of_this_run(tmp_path: Path) -> None:
    text = str(stopped(tmp_path, Counts(poisoned(3, forward=math.nan), lr=0.25)))
    assert "lower the learning rate (now 0.25)" in text
    assert "clip gradients (gradient_clip_val=1.0 of the Trainer)" in text
    assert "check the range of the inputs" in text
    assert "finite, from" in text
    text = str(stopped(tmp_path, Counts(poisoned(3, forward=math.nan)), gradient_clip_val=5.0))
    assert "clip gradients lower (now 5)" in text


def test_a_batch_that_is_not_finite_is_named_as_the_source(tmp_path: Path) -> None:
    data = Images()
    data.images[5, 0, 3, 3] = math.nan
    data.images[6, 0, 3, 3] = math.inf
    error = stopped(tmp_path, Classifier(mlp()), data=data)
    assert error.step == 0
    assert error.forward == "net"
    assert "the input of `net` (Sequential) went first: 1 NaN and 1 infinite of 1024 values" in str(error)
    assert "the batch itself holds 1 NaN and 1 infinite of 1024 values" in str(error)


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    class Spoils(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            if trainer.global_step == 3:
                pl_module.net[3].weight.data[0, 0] = math.inf

    with pytest.raises(NonFiniteLossError) as caught:
        fit(tmp_path, Classifier(mlp()), [Spoils(), FiniteWatch()])
    assert caught.value.step == 3
    assert caught.value.parameters == ["net.3.weight"]
    assert caught.value.forward == "net.3"


def test_a_loss_that_goes_wrong_by_itself_is_named(tmp_path: Path) -> None:
    class BadLoss(nn.CrossEntropyLoss):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return super().forward(logits, labels) * math.inf

    module = Classifier(mlp())
    module.loss = BadLoss()
    error = stopped(tmp_path, module)
    assert error.forward == "loss"
    assert math.isinf(error.loss)
    assert "training loss became inf" in str(error)


def test_random_numbers_are_the_same_in_the_second_run(tmp_path: Path) -> None:
    """One of four places, chosen by the random generator in each forward, goes wrong: the report names that one."""
    chosen: list[int] = []

    class Roulette(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            chosen.append(int(torch.randint(50, ())))
            return value * (math.nan if chosen[-1] == 0 else 1.0)

    net = nn.Sequential(nn.Flatten(), *[Roulette() for _ in range(4)], nn.Linear(64, 4))
    torch.manual_seed(3)
    error = stopped(tmp_path, Classifier(net), max_epochs=40, limit_val_batches=0)
    ran = len(chosen) // 4
    first, second = chosen[4 * (ran - 2) : 4 * (ran - 1)], chosen[4 * (ran - 1) :]
    assert first == second
    assert ran == error.step + 1 + 1
    assert error.forward == f"net.{1 + first.index(0)}"


def test_a_failure_that_does_not_repeat_is_said_to_be_so(tmp_path: Path) -> None:
    chance = iter([1.0, 1.0, math.nan])

    class Once(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return value * next(chance, 1.0)

    error = stopped(tmp_path, Classifier(nn.Sequential(Once(), mlp())), limit_val_batches=0)
    assert (error.step, error.forward, error.backward) == (2, None, None)
    assert math.isnan(error.loss)
    assert "run once more, the batch gives a loss of 1." in str(error)


def test_the_second_run_leaves_everything_as_it_was(tmp_path: Path) -> None:
    class Measured(Classifier):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(net)
            self.mean = MeanMetric()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.mean.update(batch[0].mean())
            return super().training_step(batch, batch_idx)

    compared: list[str] = []

    class Again(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
            random, before = torch.get_rng_state(), copy.deepcopy(pl_module.state_dict())
            gradients = [p.grad.clone() for p in pl_module.parameters()]
            mean, logged = pl_module.mean.compute(), dict(trainer.callback_metrics)
            state = RandomState(pl_module.device)
            found = rerun(trainer, pl_module, Images().batches()[0], 0, state)
            assert not found.failed
            assert torch.equal(torch.get_rng_state(), random)
            assert all(torch.equal(before[name], value) for name, value in pl_module.state_dict().items())
            assert all(torch.equal(a, p.grad) for a, p in zip(gradients, pl_module.parameters(), strict=True))
            assert pl_module.mean.compute() == mean
            assert dict(trainer.callback_metrics) == logged
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in pl_module.net.modules())
            compared.append("all")

    fit(tmp_path, Measured(cnn()), [Again()], max_epochs=1)
    assert len(compared) == 4


def test_with_delta_flow_watching_the_same_step(tmp_path: Path) -> None:
    module = Counts(poisoned(3, forward=math.nan))
    with pytest.raises(NonFiniteLossError) as caught:
        fit(tmp_path, module, [DeltaFlow(1), FiniteWatch()])
    assert caught.value.forward == "net.3"
    assert not any(layer._forward_hooks for layer in module.modules())


def test_a_batch_that_cannot_run_again_is_still_reported(tmp_path: Path) -> None:
    class Uncopied(Counts):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("not to be copied")

    error = stopped(tmp_path, Uncopied(poisoned(3, forward=math.nan)))
    assert error.forward is None
    assert math.isnan(error.loss)
    assert "place:     not found, the batch could not run again: TypeError: not to be copied" in str(error)


def test_manual_optimization_is_stopped_but_not_run_again(tmp_path: Path) -> None:
    class Manual(Counts):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(net)
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    module = Manual(poisoned(3, forward=math.nan))
    error = stopped(tmp_path, module)
    assert error.step == BAD_STEP
    assert "manual optimization" in str(error)
    assert all(bool(p.isfinite().all()) for p in module.parameters())


def test_a_loss_that_only_its_scale_makes_infinite_is_left_to_the_scaler(tmp_path: Path) -> None:
    class HalfLoss(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx).half()

    module = HalfLoss(mlp())
    run = fit(tmp_path, module, [FiniteWatch(gradients=True)], plugins=fp16(2.0**18))
    assert run.global_step == 8
    assert run.precision_plugin.scaler.get_scale() < 2.0**18
    assert all(bool(p.isfinite().all()) for p in module.parameters())


def test_a_bad_loss_under_a_scaler_stops(tmp_path: Path) -> None:
    error = stopped(tmp_path, Counts(poisoned(3, forward=math.nan)), plugins=fp16(256.0))
    assert (error.step, error.forward) == (BAD_STEP, "net.3")


def test_nothing_is_hooked_while_all_is_well(tmp_path: Path) -> None:
    hooks: list[int] = []

    class Probe(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
            hooks.append(sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in pl_module.modules()))

    fit(tmp_path, Classifier(mlp()), [Probe(), FiniteWatch()])
    assert hooks == [0] * 8


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_on_cuda(tmp_path: Path, precision: str) -> None:
    module = Counts(poisoned(3, forward=math.nan))
    error = stopped(tmp_path, module, accelerator="cuda", precision=precision)
    assert (error.step, error.forward) == (BAD_STEP, "net.3")
    assert all(bool(p.isfinite().all()) for p in module.parameters())


def test_callback_and_error_can_be_pickled(tmp_path: Path) -> None:
    watch = FiniteWatch(gradients=True)
    error = stopped(tmp_path, Counts(poisoned(3, forward=math.nan)), watch)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.step, again.forward, again.parameters) == (error.step, error.forward, error.parameters)
    assert pickle.loads(pickle.dumps(watch)).gradients is True


def test_the_range_of_a_batch() -> None:
    labels = torch.tensor([1, 2])
    assert describe((torch.tensor([-1.5, 2.0]), labels)) == "finite, from -1.5 to 2"
    assert describe({"x": labels}) == "no floating point tensor in the batch"
