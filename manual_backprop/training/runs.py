"""Run folders, `runs/<name>/<version>/`, and names of configs and checkpoints on the command line, turned into paths.

A run folder holds config.yaml (resolved), metrics.csv, tensorboard/, checkpoints/{best,last}.ckpt and pictures/.
"""

import argparse
import contextlib
import glob
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from ..errors import BadInput, require_at_least, unknown
from .trust import read_config, require_harmless

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]

CONFIGS = Path(__file__).parent / "configs"
# environment variable that tells the processes of other ranks which folder rank 0 made
INHERITED = "MANUAL_BACKPROP_RUN_FOLDER"
# seconds to wait for the lock of a killed run: its DataLoader's workers hold it until they see, within 5 seconds, that
# their parent is gone
PATIENCE = 10.0


@dataclass
class RunOptions:
    """Where a run is stored, and what it does besides training. Raises BadInput for numbers out of range.

    Args:
        folder: parent of all runs.
        name: of this run's folder (default: the name of the config, or dataset_model).
        version: folder below the name (default: date and time).
        checkpoint_every: also save last.ckpt each time this many batches are done (0: after every epoch only).
        patience: stop when the validation loss has not improved for this many epochs (default: never).
        test: test the best checkpoint at the end.
        pictures: draw pictures when training and testing end; metrics.csv and deltas.csv are written either way.
        output: where `predict` writes (default: predictions/ in the run folder).
    """

    folder: str = "runs"
    name: str | None = None
    version: str | None = None
    checkpoint_every: int = 0
    patience: int | None = None
    test: bool = True
    pictures: bool = True
    output: str | None = None

    def __post_init__(self) -> None:
        require_at_least("run", 0, checkpoint_every=self.checkpoint_every, patience=self.patience)
        require_name("name", self.name)
        require_name("version", self.version)


class Resolved(NamedTuple):
    words: list[str]  # the command line, with paths in place of names
    trusted: bool = False  # --trust: the checkpoint and the config.yaml beside it may run any code
    continued: bool = False  # the run continues in an existing folder
    own_data: bool = False  # a LightningDataModule of the user's gives the data: --data mymodule.MyData


def require_name(option: str, name: str | None) -> None:
    """Raises BadInput where this is not the name of one folder."""
    if name is None or (name.strip() and name.isprintable() and name not in (".", "..") and not set(name) & set("/\\")):
        return
    raise BadInput(
        f"run.{option}={name!r}: expected the name of one folder, without / and \\, and not . or .. (the parent of all "
        "runs is --run.folder)."
    )


def config_path(name: str) -> Path:
    """A config by path, or one of the package's by name. Raises BadInput with the nearest match."""
    if Path(name).is_file():
        return Path(name)
    packaged = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    if Path(name).stem not in packaged or Path(name).parent != Path():
        raise unknown("config (neither a file nor one of the package's)", name, packaged)
    return packaged[Path(name).stem]


def default_config(dataset: str | None, net: str | None) -> list[Path]:
    """The package's config for this dataset (default: digits) and model (default: mlp); [] where there is none."""
    path = CONFIGS / f"{dataset or 'digits'}_{net or 'mlp'}.yaml"
    return [path] if path.is_file() else []


class KnownOptions(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[0].upper()}{message[1:]}.")


def resolve(arguments: Sequence[str]) -> Resolved:
    """Replaces names of configs and the checkpoints "best" and "last" by paths, and adds what was left out.

    `--explicit` is `--model.explicit=true`.

    `fit` without a config takes the package's config for the dataset and model. `fit --ckpt_path last` continues the
    run that was started last, in its own folder; with --config, the last run of that config. The other commands take
    the newest best checkpoint and the config.yaml of its run. Without --trust that file must not be able to run code.
    """
    command, *rest = arguments
    known = KnownOptions(add_help=False, allow_abbrev=False)
    known.add_argument("-c", "--config", action="append", default=[])
    known.add_argument("--ckpt_path")
    known.add_argument("--images", nargs="*")
    known.add_argument("--trust", action="store_true")
    known.add_argument("--explicit", nargs="?", const="true")
    known.add_argument("--data")
    for option in ("run.folder", "run.name", "run.version", "data.dataset", "model.net"):
        known.add_argument(f"--{option}", dest=option.partition(".")[2])
    given, others = known.parse_known_args(rest)
    if given.data and Path(given.data).is_file():  # a YAML file with the section data:
        others.insert(0, f"--data={given.data}")
        given.data = None
    if "-h" in others or any(word.partition("=")[0].endswith(("--help", ".help")) for word in others):
        named = [f"--data={given.data}"] if given.data else []
        asked = any(word.partition("=")[0] == "--data.help" for word in others)
        return Resolved([command, *named, *others], own_data=bool(given.data) or asked)
    for option, value in (("name", given.name), ("version", given.version)):
        require_name(option, value)

    for image in given.images or ():
        if not image.isprintable():
            raise BadInput(f"--images {image!a}: the name is no printable text. Name its folder, or rename it.")
    configs = [config_path(name) for name in given.config]
    in_file: dict[str, str] = {}
    for path in configs:
        in_file.update(_run_section(path))
    root = Path(given.folder or in_file.get("folder") or "runs")
    name = given.name or in_file.get("name") or (configs[-1].stem if configs else None)
    require_name("name", name)
    version, checkpoint, continued = given.version, given.ckpt_path, False
    beside: list[Path] = []
    if command != "fit":
        checkpoint = checkpoint or "best"
    if checkpoint == "last" and command == "fit":
        run = newest(root, name, version, "config.yaml") or newest(root, name, version, "")
        checkpoint = None
        if run:
            name, version, continued = run.parent.name, run.name, True
            checkpoint = _existing(run / "checkpoints" / "last.ckpt")
            beside = [run / "config.yaml"]
        else:
            print(f"no earlier run in {root / (name or '*') / (version or '*')}, starting a new one", file=sys.stderr)
    elif checkpoint in ("best", "last"):
        run = newest(root, name, version, f"checkpoints/{checkpoint}.ckpt")
        if run is None:
            where = root / (name or "*") / (version or "*")
            raise BadInput(f"No checkpoints/{checkpoint}.ckpt in {where}. Train first: manual-backprop fit")
        checkpoint = str(run / "checkpoints" / f"{checkpoint}.ckpt")
    elif checkpoint and not Path(checkpoint).is_file():
        raise BadInput(f"No checkpoint file {checkpoint}. Give a path, best or last.")
    if checkpoint:
        run = Path(checkpoint).absolute().parent.parent
        if (run / "config.yaml").is_file():  # missing where the checkpoint was moved out of its run
            beside = [run / "config.yaml"]
            if command != "fit":  # their output goes into the folder of the checkpoint's run
                root, name, version = run.parent.parent, run.parent.name, run.name
    if not configs and (configs := [file for file in beside if file.is_file()]) and not given.trust:
        anew = {"model.net": given.net, "data.dataset": given.dataset, "data.class_path": given.data}
        require_harmless(configs[0], {place for place, value in anew.items() if value is not None})
    own_data = bool(given.data) or any(names_data(path) for path in configs)
    if own_data and given.dataset:
        raise BadInput(
            f"--data.dataset={given.dataset} is one of this package's data sets, but --data, here or in a config, "
            "names a data module of your own. Give one of the two."
        )
    for path in configs if given.data else ():
        if not names_data(path) and read_config(path).get("data"):
            raise BadInput(
                f"{path} has options for this package's data in its section data:, but --data={given.data} does not "
                "take them. Give a config without that section."
            )
    configs = configs or ([] if own_data else default_config(given.dataset, given.net))
    settled = {
        "data.dataset": given.dataset,
        "model.net": given.net,
        "model.explicit": given.explicit,
        "run.folder": str(root),
        "run.name": name or "null",
        "run.version": version or "null",
    }
    words = [
        command,
        *(f"--config={path}" for path in configs),
        *([f"--data={given.data}"] if given.data else []),  # must stand before the options of that class
        *others,
        *([f"--data.images={json.dumps(given.images)}"] if given.images else []),
        *(f"--{key}={value}" for key, value in settled.items() if value),
        *([f"--ckpt_path={checkpoint}"] if checkpoint else []),
    ]
    return Resolved(words, given.trust, continued, own_data)


def _existing(file: Path) -> str | None:
    return str(file) if file.is_file() else None


def _run_section(config: Path) -> dict[str, str]:
    """`folder` and `name` of a YAML file's section `run:`. Its version belongs to one run only and is left out."""
    section = read_config(config).get("run")
    return {k: str(section[k]) for k in ("folder", "name") if section.get(k)} if isinstance(section, dict) else {}


def names_data(config: Path) -> bool:
    """Whether a YAML file names a data module of the user's own: data: {class_path: mymodule.MyData}."""
    section = read_config(config).get("data")
    return isinstance(section, str) or (isinstance(section, dict) and "class_path" in section)


def newest(root: Path, name: str | None, version: str | None, holding: str) -> Path | None:
    """The run folder with the newest file `holding` ("": the newest folder), of this name and version where given."""
    pattern = "/".join(glob.escape(part) if part else "*" for part in (name, version))
    runs = [run for run in root.glob(pattern) if (run / holding).exists() and run.is_dir()]
    return max(runs, key=lambda run: ((run / holding).stat().st_mtime_ns, run.name), default=None)


def make_folder(options: RunOptions, fresh: bool = True) -> tuple[Path, str]:
    """The run's folder and version. The folder is made now (fresh), or exists from an earlier start or from rank 0.

    Raises BadInput where it cannot be written, or where a fresh run names a version that exists: two runs never share
    a folder.
    """
    inherited = os.environ.get(INHERITED)
    if inherited and os.environ.get("LOCAL_RANK", "0") != "0":
        return Path(inherited), Path(inherited).name
    # processes started by torchrun or Slurm do not inherit this variable: the folder may be there already
    fresh = fresh and all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    stamp = options.version or time.strftime("%Y%m%d-%H%M%S")
    folder = Path(options.folder) / str(options.name) / stamp
    try:
        for number in range(2, 100):
            try:
                folder.mkdir(parents=True, exist_ok=options.version is not None and not fresh)
                break
            except FileExistsError:  # two runs in one second
                if options.version is not None:
                    if not folder.is_dir():
                        raise
                    raise BadInput(
                        f"The run folder {folder} exists already. Continue its run with --ckpt_path last, or give "
                        "another --run.version (without one it is the date and time)."
                    ) from None
                folder = folder.with_name(f"{stamp}-{number}")
        probe = folder / f".{os.getpid()}"
        probe.write_bytes(b"writable")
        probe.unlink()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BadInput(f"The run folder {folder} cannot be written: {error}. Choose one with --run.folder.") from error
    os.environ[INHERITED] = str(folder)
    return folder, folder.name


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Locks a run folder, so that no other process continues the same run. Raises BadInput."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BadInput(
                        f"Another process is training in {folder}. Wait until it ends, or start a run of your own "
                        "without --ckpt_path last."
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(descriptor)
