"""The command `manual-backprop`: a table of subcommands. The module of a subcommand is imported only when it runs."""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module, util

from . import __version__
from .errors import BadInput, unknown

# word: (module with a `main(arguments)`, what it does); the first four use Lightning's CLI, which also needs the word
COMMANDS = {
    "fit": ("manual_backprop.training.cli", "train a network, then test it (default: on handwritten digits)"),
    "validate": ("manual_backprop.training.cli", "measure a checkpoint on the validation data"),
    "test": ("manual_backprop.training.cli", "measure a checkpoint on the test data"),
    "predict": ("manual_backprop.training.cli", "classify image files, or predict the test part of other data"),
    "check": ("manual_backprop.testing.cli", "test the backward formulas: a table of layers and checks"),
    "audit": ("manual_backprop.audit", "list which backward nodes of a model are rules"),
    "coverage": ("manual_backprop.coverage", "list which layers, functions and operators of torch have rules"),
    "bench": ("manual_backprop.bench.cli", "time a layer or a training step against torch.nn"),
    "plan": ("manual_backprop.plan", "tell whether a training step fits into a device's memory, without running it"),
    "trace": ("manual_backprop.trace", "show one backward pass, layer by layer"),
    "write": ("manual_backprop.listing.cli", "write a training step, forward and backward, as a Python file"),
    "exercise": ("manual_backprop.listing.exercise", "write that file with lines of the backward left out, to fill in"),
}
TRAINING = "manual_backprop.training.cli"
TRAIN_EXTRA = (
    "pytorch_lightning",
    "jsonargparse",
    "torchvision",
    "torchmetrics",
    "sklearn",
    "matplotlib",
    "rich",
    "tensorboard",
)


def usage() -> str:
    rows = "\n".join(f"  {word:<10}{text}" for word, (_, text) in COMMANDS.items())
    return f"usage: manual-backprop COMMAND [options]\n\n{rows}\n\nOptions of a command: manual-backprop COMMAND --help"


def require_train_extra() -> None:
    """Raises BadInput naming the packages of the `train` extra that are not installed."""
    missing = [name for name in TRAIN_EXTRA if util.find_spec(name) is None]
    if missing:
        raise BadInput(f'{", ".join(missing)} not installed. Training needs: pip install "manual-backprop[train]"')


def find_modules_here() -> None:
    """Make modules of the current folder importable, such as mymodule in mymodule.MyNet. Installed ones come first."""
    with contextlib.suppress(FileNotFoundError):  # the current folder was removed
        if not {"", os.getcwd()} & set(sys.path):
            sys.path.append(os.getcwd())


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status. Raises BadInput."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    word, *rest = arguments
    if word == "--version":
        print(f"manual-backprop {__version__}")
        return 0
    if word not in COMMANDS:
        raise unknown("command", word, COMMANDS)
    find_modules_here()
    module = COMMANDS[word][0]
    if module == TRAINING:
        require_train_extra()
        rest = list(arguments)
    return import_module(module).main(rest) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script: BadInput becomes an error message and exit status 2."""
    try:
        status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `manual-backprop check | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # at exit Python flushes: not into the pipe
        return 141
    except KeyboardInterrupt:
        print("stopped by SIGINT", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
