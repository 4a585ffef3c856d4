"""`manual-backprop fit | validate | test | predict`: Lightning's command line around our model, data and run folder."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.model_helpers import is_overridden

from .._files import write_atomically
from ..cli import COMMANDS
from ..errors import BadInput, require_at_least
from . import checkpoints, runs
from .accelerators import require_accelerator
from .callbacks import DeltaFlow, FiniteWatch, NonFiniteLossError, Pictures, Summary
from .checkpoints import TRAINING_PARTS, AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, Patience, require_parts
from .data import DataModule
from .epochs import EpochLines
from .learner import Learner
from .own_data import SIZES, NoSizes, class_names
from .parser import Parser
from .predictions import classified, in_numbers, write
from .quiet import quiet
from .runs import RunOptions
from .stopping import Stopped, how_to_continue, stoppable
from .table import MetricsTable

DEFAULTS = {
    "max_epochs": 30,
    "accelerator": "auto",
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}

# options of the trainer that must be at least 1
COUNTS = ("accumulate_grad_batches", "check_val_every_n_epoch")
TRUST = (
    "load the checkpoint and the config.yaml beside it even where they can run code: they name classes of other "
    "packages, or hold pickled objects"
)


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration to config.yaml. A kill leaves the whole file or none, never half of it."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        text = self.parser.dump(self.config, skip_none=False)
        write_atomically(Path(trainer.default_root_dir) / "config.yaml", text.encode())


class CLI(LightningCLI):
    """Lightning's command line with our run folder, loggers, checkpoints and callbacks, and a test after each fit."""

    trainer: Any
    folder: Path  # of the run; set when the folder is made

    def __init__(self, resolved: runs.Resolved, **kwargs: Any) -> None:
        self.resolved = resolved
        try:
            with contextlib.ExitStack() as self.held, stoppable() as received:
                try:
                    super().__init__(**kwargs, args=resolved.words)
                except SystemExit:  # Lightning exits by itself where the signal came while Stopped could not be raised
                    if not received:
                        raise
                if received:
                    raise Stopped(received[0])
        except Stopped as stopped:
            stopped.folder = getattr(self, "folder", None) if resolved.words[0] == "fit" else None
            raise

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds our options before the trainer's many: help shows options in the order in which they are added."""
        parser.add_argument("--trust", action="store_true", help=TRUST)
        parser.add_lightning_class_args(self._model_class, "model")
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=self.subclass_mode_data)
        parser.add_class_arguments(RunOptions, "run")
        parser.add_lightning_class_args(DeltaFlow, "delta_flow")
        parser.add_lightning_class_args(FiniteWatch, "finite_watch")
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for name, of_data in SIZES.items():
            parser.link_arguments("data", f"model.{name}", compute_fn=of_data, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)  # Lightning's version warns when sys.argv has arguments, too
        config = self.config[self.config.subcommand]
        config.pop("trust")  # not saved in config.yaml: it is no option of the run
        seed = config.seed_everything
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise BadInput(f"seed_everything={seed}: give 0 to {2**32 - 1}.")

    def _parse_ckpt_path(self) -> None:
        """Does nothing. Lightning would look for the model's options in the checkpoint; ours are in config.yaml."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        require_accelerator(config.trainer.accelerator)
        for part in (config.model,) if self.resolved.own_data else (config.data, config.model):
            part.seed = int(config.seed_everything) if part.seed is None else part.seed
        trainer = config.trainer
        require_at_least("trainer", 0, **{key: trainer[key] for key in vars(trainer) if key.startswith("limit_")})
        require_at_least("trainer", 1, **{key: trainer[key] for key in COUNTS})
        if trainer.val_check_interval == 0:
            raise BadInput("trainer.val_check_interval=0: give a share of the epoch (0.25), or 1 or more batches.")
        if self.subcommand == "predict":
            config.trainer.devices = 1  # keeps the order of the files
        net = config.model.net if isinstance(config.model.net, str) else config.model.net.class_path
        data = config.data.class_path if self.resolved.own_data else config.data.dataset
        self.title = "_".join(name.rpartition(".")[2] for name in (data, net))
        config.run.name = config.run.name or self.title

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if isinstance(self.datamodule, DataModule):
            self.datamodule.load(str(self.subcommand))  # before the run folder: bad input then leaves none behind
        config = self.config[self.subcommand]
        self.finished = ""
        if self.subcommand == "fit" and config.ckpt_path:
            self._require_further(config)
            self.finished = checkpoints.finished(self.loaded, config.trainer, config.run.patience)
        self.options = RunOptions(**config.run.as_dict())
        folder = Path(self.options.folder, str(self.options.name), self.options.version or "")
        self.resumed = bool(config.ckpt_path) and Path(config.ckpt_path).absolute().parents[1] == folder.absolute()
        fresh = self.subcommand == "fit" and not self.resumed and not self.resolved.continued
        self.folder, config.run.version = runs.make_folder(self.options, fresh)
        if self.subcommand == "fit" and os.environ.get("LOCAL_RANK", "0") == "0":
            self.held.enter_context(runs.lock(self.folder))
        trainer = self._get(self.config_init, "trainer")
        kwargs["default_root_dir"] = str(self.folder)
        kwargs["plugins"] = [*_listed(trainer.plugins), AtomicCheckpointIO(self.resolved.trusted)]
        if trainer.logger in (None, True):
            kwargs["logger"] = self._loggers() if self.subcommand == "fit" else False
        kwargs["callbacks"] = [*_listed(trainer.callbacks), *self._callbacks(trainer)]
        if not _on_terminal():
            kwargs["enable_progress_bar"] = False
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, ImportError, RuntimeError, MisconfigurationException) as error:
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # removes it only if it is empty: an earlier run's folder is not
            raise BadInput(f"The trainer cannot be made with these options: {error}") from error

    def _require_further(self, config: Any) -> None:
        """Raises BadInput where the checkpoint was saved after the epoch or step at which this run would end."""
        self.loaded = AtomicCheckpointIO(self.resolved.trusted).load_checkpoint(config.ckpt_path)
        require_parts(self.loaded, TRAINING_PARTS, config.ckpt_path)
        for option, word, done in (("max_epochs", "epoch", "epoch"), ("max_steps", "step", "global_step")):
            asked, trained = config.trainer[option], self.loaded[done] + (word == "epoch")
            if asked is not None and 0 <= asked < trained:
                raise BadInput(
                    f"--trainer.{option}={asked}: {config.ckpt_path} was saved in {word} {trained}. Give at least "
                    f"{trained}, or start a new run without --ckpt_path."
                )

    def _loggers(self) -> list[Logger]:
        """metrics.csv and TensorBoard in the run folder. A resumed run continues both from the checkpoint's step."""
        step = None
        if self.resumed:
            step = self.loaded["global_step"]
        events = TensorBoardLogger(str(self.folder), name="tensorboard", version="", purge_step=step)
        return [MetricsTable(self.folder, step), events]

    def _callbacks(self, trainer: Any) -> list[Callback]:
        callbacks: list[Callback] = [Summary()]
        if _on_terminal():
            callbacks += [RichProgressBar()] if trainer.enable_progress_bar is not False else []
        elif self.subcommand == "fit":
            callbacks.append(EpochLines())
        if self.options.pictures:
            callbacks.append(Pictures())
        if self.subcommand != "fit":
            return callbacks
        if self._get(self.config, "model.scheduler") and trainer.logger is not False:
            callbacks.append(LearningRateMonitor(logging_interval="step"))
        validated = trainer.limit_val_batches != 0 and is_overridden("val_dataloader", self.datamodule)
        if self.options.patience is not None:
            if not validated:
                raise BadInput(
                    f"run.patience={self.options.patience} waits for a smaller val/loss, and nothing is validated. "
                    "Leave it out, or validate: set trainer.limit_val_batches above 0 and give the data module a "
                    "val_dataloader."
                )
            callbacks.append(Patience("val/loss", patience=self.options.patience))
        if trainer.enable_checkpointing is not False:
            folder = self.folder / "checkpoints"
            # without validation there is no best epoch
            callbacks += [BestCheckpoint(folder, self.model.task.metric)] if validated else []
            callbacks += [LastCheckpoint(folder, self.options.checkpoint_every)]
        return callbacks

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except NoSizes as none:
            raise none.error from none.error.__cause__
        except ValueError as error:
            if isinstance(error, BadInput) or "Does not validate" not in str(error):
                raise
            raise BadInput(f"The run cannot be made with these options: {' '.join(str(error).split())}") from error

    def before_fit(self) -> None:
        if self.trainer.is_global_zero:
            doing = "continuing" if self.resumed else "training"
            finished = f"{self.title}, run folder {self.folder}, is finished ({self.finished}): nothing to train"
            print(finished if self.finished else f"{doing} {self.title}, run folder {self.folder}", flush=True)

    def after_fit(self) -> None:
        """Tests the best checkpoint on data that neither training nor validation has used."""
        if not self.options.test or self.trainer.fast_dev_run or self.trainer.interrupted:
            return
        if not is_overridden("test_dataloader", self.datamodule):
            if self.trainer.is_global_zero:
                print(f"not tested: {type(self.datamodule).__name__} has no test_dataloader")
            return
        best = self.folder / "checkpoints" / "best.ckpt"
        self.trainer.test(self.model, self.datamodule, ckpt_path=str(best) if best.is_file() else None, verbose=False)

    def test(self, **kwargs: Any) -> None:
        self.trainer.test(**{**kwargs, "verbose": False})  # Summary prints the result

    def predict(self, **kwargs: Any) -> None:
        """Writes predictions.csv and, for image files, predictions.png."""
        found = self.trainer.predict(**kwargs)
        numbers = torch.cat([batch for loader in found for batch in _listed(loader)]).cpu()
        data, regression = self.datamodule, self.model.task.metric == "r2"
        predicted = in_numbers(numbers) if regression else classified(numbers, class_names(data))
        folder = Path(self.options.output) if self.options.output else self.folder / "predictions"
        if isinstance(data, DataModule) and data.files:
            write(folder, predicted, data.files, data.pixels)
        else:
            write(folder, predicted)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _help(word: str) -> dict[str, str]:
    """How the help of a command begins."""
    text = COMMANDS[word][1]
    return {"usage": f"manual-backprop {word} [options]", "description": f"{text[0].upper()}{text[1:]}."}


def main(arguments: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict` with its options. Raises BadInput."""
    quiet(arguments[0])
    try:
        resolved = runs.resolve(arguments)
        CLI(
            resolved,
            model_class=Learner,
            datamodule_class=LightningDataModule if resolved.own_data else DataModule,
            subclass_mode_data=resolved.own_data,
            save_config_callback=SaveConfig if arguments[0] == "fit" else None,
            save_config_kwargs={"save_to_log_dir": False},
            # our batches are split by rank already; for other data Lightning adds a distributed sampler
            trainer_defaults={**DEFAULTS, "use_distributed_sampler": resolved.own_data},
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={word: _help(word) for word in CLI.subcommands()},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # the run folder's config.yaml says how to build the model
        )
    except NonFiniteLossError as error:
        raise BadInput(str(error)) from error
    except (MisconfigurationException, ValueError) as error:
        if isinstance(error, BadInput) or not (
            isinstance(error, MisconfigurationException) or "`val_check" in str(error)
        ):
            raise
        raise BadInput(" ".join(str(error).split())) from error
    except Stopped as stopped:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            more = f"; {how_to_continue(stopped.folder)}" if stopped.folder else ""
            print(f"{stopped}{more}", file=sys.stderr)
        return stopped.status
    return 0
