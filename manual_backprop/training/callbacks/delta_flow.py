"""DeltaFlow: logs the size of outputs, deltas, gradients and updates of each layer while a network trains."""

import math
import statistics
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from ..._statistics import at_rest, layers, numbers, root, square_sum, units_last
from ...errors import BadInput
from ._layers import network, saturated
from .delta_table import FILE, Row, append_rows, start_table


class DeltaFlow(Callback):
    """Logs the size of each layer's output, delta, gradient and update, every `every_n_steps` optimizer steps.

    A layer is a leaf module with parameters, or an activation. Each gets one row in `deltas.csv` in the run folder, in
    the order in which the layers ran:

    | column | meaning |
    |---|---|
    | output_rms | root mean square of the layer's output (for a Linear or Conv the weighted input z) |
    | delta_rms | root mean square of delta, the derivative of the loss by that output |
    | gradient_to_weight | norm of the gradient, before clipping, divided by the norm of the parameters |
    | update_to_weight | norm of the optimizer's update divided by the norm of the parameters before it |
    | dead | ReLU and similar: share of units (channels, features) that were zero for the whole batch |
    | saturated | Sigmoid, Tanh, ... : share of outputs where the derivative is below 1 % of its largest value |

    A blank means: does not apply (a frozen layer has no gradient, a Linear no dead units). Loggers other than CSV get
    six scalars `deltas/...` for the whole network.

    Hooks are on the modules during logged steps only, and do not change the training. If a module runs several times,
    its calls are taken together, and so are the batches of an accumulated step. The factor of a scaled loss (float16
    AMP) is removed. In DDP rank zero writes the values of its share of the batch, with deltas of the loss averaged over
    all processes. A resumed run replaces the rows from the step at which it resumes.

    Functional activations (`F.relu` inside a forward) are no modules and are not seen. Nor are the inner layers of a
    network compiled as a whole: it then gives a warning.

    Raises BadInput, a ValueError, when `every_n_steps` is not a positive integer.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if not isinstance(every_n_steps, int) or isinstance(every_n_steps, bool) or every_n_steps < 1:
            raise BadInput(f"DeltaFlow: every_n_steps must be a positive integer, got {every_n_steps!r}")
        self.every_n_steps = every_n_steps
        self._file: Path | None = None
        self._window: _Window | None = None
        self._last_step = -1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # a collective call: all processes must make it
        writes = trainer.is_global_zero and folder is not None and not trainer.fast_dev_run  # type: ignore[attr-defined]
        self._file = Path(folder) / FILE if writes and folder is not None else None
        self._last_step = -1
        if self._file is not None:
            self._last_step = start_table(self._file, trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._file is None:
            return
        # With accumulation a step spans several batches: one window for all, hooks attached anew for each batch.
        if self._window is None and trainer.global_step // self.every_n_steps > self._last_step // self.every_n_steps:
            self._window = _Window(network(pl_module), trainer.global_step)
        if self._window is not None:
            self._window.attach()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._window is not None:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            self._window.loss_scale = (scaler.get_scale() if scaler is not None else 1.0) * trainer.world_size

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self._window is not None:
            self._window.before_step(optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        window = self._window
        if window is None:
            return
        window.detach()
        if trainer.global_step == window.step:
            return  # still accumulating
        self._window, self._last_step = None, window.step
        rows = window.rows()
        if not rows:
            rank_zero_warn(
                "DeltaFlow saw no layer run. Is the network compiled as a whole, or not in `net` or `model`?"
            )
        assert self._file is not None
        try:
            append_rows(self._file, window.step, trainer.current_epoch, rows)
        except OSError as error:  # an error in logging must not end the training
            rank_zero_warn(f"DeltaFlow stops, the training goes on: {self._file} cannot be written ({error}).")
            self._file = None
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_metrics(grouped(rows), step=window.step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drop_window()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._drop_window()

    def _drop_window(self) -> None:
        if self._window is not None:
            self._window.detach()
            self._window = None


class _Sums:
    """Sums over one layer's calls in one step so far. Tensors are 0-d and stay on their device."""

    def __init__(self) -> None:
        self.output: Tensor | float = 0.0
        self.delta: Tensor | float = 0.0
        self.flat: Tensor | float = 0.0
        self.outputs = self.deltas = 0
        self.saturates = False
        self.calls = 0
        self.resting: list[Tensor] = []  # per call within a batch: which units were zero in all batches so far


class _Window:
    """Watches the layers of one model during one optimizer step."""

    def __init__(self, model: nn.Module, step: int) -> None:
        self.step = step
        self.loss_scale = 1.0
        self._layers = layers(model)
        self._sums: dict[str, _Sums] = {}  # in the order in which the layers ran
        self._handles: list[Any] = []
        self._units_last = False
        self._before: dict[nn.Parameter, Tensor] = {}
        self._gradient: dict[nn.Parameter, Tensor] = {}

    def attach(self) -> None:
        self.detach()
        for sums in self._sums.values():
            sums.calls = 0
        self._handles = [
            module.register_forward_hook(partial(self._see_output, name)) for name, module in self._layers.items()
        ]

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _see_output(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return  # a side computation, or the first of the two forwards of a reentrant checkpoint
        sums = self._sums.setdefault(name, _Sums())
        last = units_last(module)
        self._units_last = self._units_last if last is None else last
        with torch.no_grad():
            for value in numbers(output):
                sums.output = sums.output + square_sum(value)
                sums.outputs += value.numel()
                flat = saturated(module, value)
                if flat is not None:
                    sums.saturates, sums.flat = True, sums.flat + flat
                self._see_rest(sums, at_rest(module, value, self._units_last))
        for value in numbers(output):
            if value.requires_grad:
                # A hook on the tensor, not on the module: module backward hooks add nodes to the graph.
                value.register_hook(partial(self._see_delta, sums))

    @staticmethod
    def _see_rest(sums: _Sums, resting: Tensor | None) -> None:
        if resting is None:
            return
        call, sums.calls = sums.calls, sums.calls + 1
        if call < len(sums.resting) and sums.resting[call].shape == resting.shape:
            sums.resting[call] &= resting
        else:
            sums.resting.append(resting)

    @staticmethod
    def _see_delta(sums: _Sums, delta: Tensor) -> None:
        sums.delta = sums.delta + square_sum(delta)
        sums.deltas += delta.numel()

    def before_step(self, optimizer: Optimizer) -> None:
        """Saves the weights and gradient norms of the parameters that this optimizer is about to update."""
        watched = {parameter for layer in self._layers.values() for parameter in layer.parameters()}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in watched and parameter.grad is not None and parameter not in self._before:
                    self._before[parameter] = parameter.detach().clone()
                    self._gradient[parameter] = square_sum(parameter.grad)

    def rows(self) -> list[Row]:
        """One row per layer. All values are copied from the device in one transfer."""
        pending: list[Tensor | float] = []
        for name, sums in self._sums.items():
            changed = [p for p in self._layers[name].parameters() if p in self._before]
            pending += [sums.output, sums.delta, sums.flat]
            pending.append(sum(units.sum() for units in sums.resting))
            pending.append(sum(square_sum(self._before[p]) for p in changed))
            pending.append(sum(self._gradient[p] for p in changed))
            pending.append(sum(square_sum(p.detach() - self._before[p]) for p in changed))
        return list(self._as_rows(iter(_to_host(pending))))

    def _as_rows(self, number: Any) -> Iterable[Row]:
        for name, sums in self._sums.items():
            output, delta, flat, resting, weight, gradient, update = (next(number) for _ in range(7))
            trained = any(p in self._before for p in self._layers[name].parameters())
            units = sum(unit.numel() for unit in sums.resting)
            yield {
                "layer": name,
                "kind": type(self._layers[name]).__name__,
                "output_rms": root(output, sums.outputs) if sums.outputs else None,
                "delta_rms": root(delta, sums.deltas) / self.loss_scale if sums.deltas else None,
                "gradient_to_weight": root(gradient, weight) if trained else None,
                "update_to_weight": root(update, weight) if trained else None,
                "dead": resting / units if units else None,
                "saturated": flat / sums.outputs if sums.saturates and sums.outputs else None,
            }


def _to_host(values: list[Tensor | float]) -> list[float]:
    on = next((value.device for value in values if isinstance(value, Tensor)), torch.device("cpu"))
    precision = torch.float32 if on.type == "mps" else torch.float64
    return torch.stack([torch.as_tensor(value).to(on, precision) for value in values]).tolist() if values else []


def grouped(rows: list[Row]) -> dict[str, float]:
    """Six scalars for a whole network: first and last delta, median ratios, largest dead and saturated shares."""

    def finite(column: str) -> list[float]:
        return [row[column] for row in rows if row[column] is not None and math.isfinite(row[column])]

    deltas = finite("delta_rms")
    scalars = {"delta_rms_first_layer": deltas[:1], "delta_rms_last_layer": deltas[-1:]}
    scalars |= {f"{name}_median": finite(name) for name in ("gradient_to_weight", "update_to_weight")}
    scalars |= {f"{name}_largest": [max(finite(name))] for name in ("dead", "saturated") if finite(name)}
    return {f"deltas/{name}": statistics.median(values) for name, values in scalars.items() if values}
