"""The tasks: classification and regression. Each has a loss, metrics, and turns outputs into predictions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import R2Score

import manual_backprop as mb

from ..errors import BadInput


class Metrics(torch.nn.Module):
    """Mean loss and another metric over the examples of an epoch, of all processes."""

    def __init__(self, name: str, metric: Metric) -> None:
        super().__init__()
        self.loss, self.images = (SumMetric(nan_strategy="disable") for _ in range(2))  # a NaN must show
        self.name = name
        self.add_module(name, metric)

    def update(self, outputs: Tensor, targets: Tensor, mean_loss: Tensor) -> None:
        self.loss.update(mean_loss * len(targets))
        self.images.update(len(targets))
        self.get_submodule(self.name).update(outputs, targets)  # type: ignore[operator]

    def compute(self) -> dict[str, Tensor]:
        mean = self.loss.compute() / self.images.compute()
        return {"loss": mean, self.name: self.get_submodule(self.name).compute()}  # type: ignore[operator]

    def reset(self) -> None:
        for metric in self.children():
            metric.reset()  # type: ignore[operator]

    def persistent(self, mode: bool) -> None:
        for metric in self.children():
            metric.persistent(mode)  # type: ignore[operator]


class Classification:
    """The class of each input: logits (N, V), cross-entropy, accuracy."""

    metric = "accuracy"

    def __init__(self, classes: int, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing <= 1:
            raise BadInput(f"model.label_smoothing={label_smoothing}: give 0 to 1.")
        self.outputs = classes
        self.loss: torch.nn.Module = mb.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.measured_loss: torch.nn.Module = mb.nn.CrossEntropyLoss()

    def metrics(self) -> Metrics:
        return Metrics(self.metric, MulticlassAccuracy(self.outputs, average="micro", validate_args=False))

    def update(self, metrics: Metrics, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        metrics.update(logits, labels, loss)

    def require(self, labels: Tensor) -> None:
        """Raises BadInput for targets that are not class indices."""
        if labels.is_floating_point() or labels.ndim != 1:
            raise BadInput(
                f"The targets are {labels.dtype} of shape {tuple(labels.shape)}, expected class indices, torch.int64 "
                "of shape (N,). To predict numbers add --model.task=regression."
            )

    def evaluated(self, logits: Tensor) -> Any:
        """What a validation or test step returns, for the pictures."""
        return logits

    def predictions(self, logits: Tensor) -> Tensor:
        """Probabilities (N, V)."""
        return mb.functional.softmax(logits, dim=1)


class R2(R2Score):
    """The coefficient of determination, 1 - (squared errors) / (squared deviations from the mean), mean over outputs.

    NaN for fewer than two examples. Its sums have their final shapes from the start: a checkpoint loads into them.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        for name in ("sum_squared_error", "sum_error", "residual"):
            self.add_state(name, torch.zeros(outputs) if outputs > 1 else torch.zeros(()), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        return super().compute() if self.total >= 2 else torch.full((), torch.nan, device=self.device)


class SquaredError(torch.nn.Module):
    """Mean squared error between outputs and standardized targets, (target - mean) / std."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def standardized(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The targets that the network learns: standardized, in the shape of the outputs."""
        return (targets.to(torch.get_default_dtype()).reshape(outputs.shape) - self.mean) / self.std

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mb.functional.mse_loss(outputs, self.standardized(outputs, targets))


class Regression:
    """K numbers for each input: outputs (N, K), or (N,) where K is 1; squared error, R2."""

    metric = "r2"

    def __init__(self, targets: int, mean: float = 0.0, std: float = 1.0) -> None:
        if not std > 0:
            raise BadInput(f"model.target_std={std}: give more than 0.")
        self.outputs = targets
        self.loss = self.measured_loss = SquaredError(mean, std)

    def metrics(self) -> Metrics:
        return Metrics(self.metric, R2(self.outputs))

    def update(self, metrics: Metrics, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        expected = self.loss.standardized(outputs, targets)
        columns = (-1,) if self.outputs == 1 else (-1, self.outputs)
        metrics.update(outputs.float().reshape(columns), expected.float().reshape(columns), loss)

    def require(self, targets: Tensor) -> None:
        """Raises BadInput for targets with another number of elements than the outputs have."""
        if targets.numel() != len(targets) * self.outputs:
            raise BadInput(
                f"The targets have shape {tuple(targets.shape)}, expected ({len(targets)}, {self.outputs}): as many "
                "numbers as the data set's first example has."
            )

    def evaluated(self, outputs: Tensor) -> Any:
        """What a validation or test step returns, for the pictures."""
        return {"predictions": self.predictions(outputs)}

    def predictions(self, outputs: Tensor) -> Tensor:
        """Predictions (N, K) in the unit of the targets."""
        return outputs.reshape(len(outputs), self.outputs) * self.loss.std + self.loss.mean


Task = Classification | Regression


def try_out(model: torch.nn.Module, shape: Sequence[int], outputs: int, task: str = "classification") -> int:
    """Runs the model on two inputs of zeros; returns the number of outputs for each.

    Raises BadInput where the model fails, or where its output is not of shape (2, `outputs`); `outputs` 0 allows any.
    """
    training, name = model.training, type(model).__name__
    what = "images" if len(shape) == 3 else "inputs"
    try:
        with torch.no_grad():
            given = model.eval()(torch.zeros(2, *shape))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        form = " (C, H, W)" if len(shape) == 3 else ""
        raise BadInput(f"{name} cannot read {what} of shape {tuple(shape)}{form}: {error}") from error
    finally:
        model.train(training)
    got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if task == "regression" and outputs == 1 and got == (2,):
        return 1
    if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != 2 or (outputs and given.shape[1] != outputs):
        expected = f"{'logits' if task == 'classification' else 'numbers'} of shape (2, {outputs or 'classes'})"
        raise BadInput(f"{name} gives {got} for 2 {what}, expected {expected}.")
    return given.shape[1]
