"""Summary: prints scores, time, size and files at the end of a run."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from ...audit import Audit, audit
from ._layers import network
from .pictures import Pictures

EXAMPLES = 2  # BatchNorm needs two
NAMED = 6  # autograd nodes listed, at most


class Summary(Callback):
    """Prints after a fit or a test: scores, time, size, how many backward nodes are explicit, run folder and pictures.

    `manual_backprop.audit` counts the backward nodes of the network and its loss (the attribute `loss`, where it is a
    module) on two examples of a real batch. Autograd's own nodes are listed. Scores are the logged metrics with "acc"
    in their names, and those named r2. A resumed run adds the time of the runs before. A test right after a fit prints
    only what is new. A run resumed with nothing left to train prints nothing. Rank zero prints.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self._example: tuple[Tensor, ...] | None = None
        self._folder: str | None = None
        self._started = 0.0
        self._seconds_before = 0.0
        self._fitting = self._told = self._trained = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "console": None, "_example": None}

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._fitting:  # a test may load a checkpoint, too: its time starts at 0
            self._seconds_before = float(state_dict["seconds"])

    def _seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._started if self._started else 0.0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._started, self._seconds_before, self._fitting = time.monotonic(), 0.0, stage == "fit"
        self._trained = False
        self._folder = trainer.log_dir  # a collective call: all processes must make it

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._trained = True
        self._keep_example(batch)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._keep_example(batch)

    def _keep_example(self, batch: Any) -> None:
        if self._example is None and isinstance(batch, (list, tuple)) and all(isinstance(x, Tensor) for x in batch):
            self._example = tuple(tensor[:EXAMPLES].detach().clone() for tensor in batch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "test") or not trainer.is_global_zero:
            return
        if stage == "fit" and trainer.ckpt_path and not self._trained:
            return
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in self._lines(trainer, pl_module, stage):
            table.add_row(escape(name), escape(text))
        console = self.console or Console()
        console.rule(f"[bold]{'training' if stage == 'fit' else 'test'} finished", align="left", style="dim")
        console.print(table)
        self._told = stage == "fit"

    def _lines(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> list[tuple[str, str]]:
        lines = [(name.replace("/", " "), _number(name, value)) for name, value in scores(trainer)]
        before = f", {self._seconds_before:.1f} s of it before the resume" if self._seconds_before else ""
        lines.append(("time", f"{self._seconds():.1f} s{before}"))
        if stage == "fit":
            lines.append(("trained", f"{trainer.current_epoch} epochs, {trainer.global_step:,} steps"))
        if not self._told:
            frozen = sum(p.numel() for p in pl_module.parameters() if not p.requires_grad)
            trained = sum(p.numel() for p in pl_module.parameters()) - frozen
            lines.append(("parameters", f"{trained:,}" + (f" and {frozen:,} frozen" if frozen else "")))
            lines.append(("backward nodes", backward_nodes(pl_module, self._example)))
        lines.append(("run folder", str(Path(self._folder)) if self._folder else "none"))
        pictures = next((one for one in _callbacks(trainer) if isinstance(one, Pictures)), None)
        if pictures is not None:
            lines.append(("pictures", _listed(pictures.written, self._folder)))
            lines += [("", f"no {name}: {reason}") for name, reason in pictures.skipped.items()]
        return lines


def _callbacks(trainer: Trainer) -> list[Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]


def is_score(name: str) -> bool:
    return "acc" in name or name.endswith("r2")


def _number(name: str, value: float) -> str:
    return f"{value:.2%}" if "acc" in name else f"{value:.4f}"


def scores(trainer: Trainer) -> list[tuple[str, float]]:
    """Logged accuracies and R2 by name. After a fit, also the best validation value, if a checkpoint tracks it."""
    found = [(name, float(value)) for name, value in trainer.callback_metrics.items() if is_score(name)]
    for keeper in trainer.checkpoint_callbacks:
        best, monitor = getattr(keeper, "best_model_score", None), getattr(keeper, "monitor", None) or ""
        if best is not None and is_score(monitor) and trainer.state.fn == "fit":
            found.append((f"best {monitor}", float(best)))
    return found


class _Pass(nn.Module):
    """A network and its loss as one module, so that the audit can name the parts of both."""

    def __init__(self, pl_module: nn.Module) -> None:
        super().__init__()
        self.net = network(pl_module)
        self.loss = getattr(pl_module, "loss", None)

    def forward(self, *batch: Tensor) -> Tensor:
        output = self.net(batch[0])
        return self.loss(output, *batch[1:]) if isinstance(self.loss, nn.Module) else output


def backward_nodes(pl_module: nn.Module, example: tuple[Tensor, ...] | None) -> str:
    """How many backward nodes are explicit and how many autograd's own, as text; autograd's are listed by module."""
    if example is None:
        return "not counted: no batch of tensors was seen"
    device = next((parameter.device for parameter in pl_module.parameters()), example[0].device)
    return in_words(audit(_Pass(pl_module), *(tensor.to(device) for tensor in example)))


def in_words(report: Audit) -> str:
    vendor = f" ({report.vendor} of them by vendor kernels)" if report.vendor else ""
    found = [f"{row.node} in {row.module or 'the network'}" for row in report.rows if row.kind == "autograd"]
    named = "".join(f"\n{place}" for place in found[:NAMED]) + ("\n..." if len(found) > NAMED else "")
    return f"{report.explicit} explicit{vendor}, {report.autograd} autograd{named}"


def _listed(files: list[Path], folder: str | None) -> str:
    return "\n".join(str(file.relative_to(folder) if folder else file) for file in files) or "none"
