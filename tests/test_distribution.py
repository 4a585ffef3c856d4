"""What users install, from `python -m build` or by `pip install -e .`: what is in it, that it runs where no more than
torch is, and that type checkers find its types."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

import manual_backprop as mb
from tests.environments import Environment, finished

ROOT = Path(__file__).parent.parent
LOOSE = {
    ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile",
    "README.md", "pyproject.toml",
}  # fmt: skip
"""The files outside of folders."""


def local(folder: str, names: list[str]) -> set[str]:
    """What is not copied: what .gitignore names, since it lies in a working copy alone, and what a server runs."""
    patterns = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()] + [".git", ".ci"]
    here = Path(folder).relative_to(ROOT)
    return {
        name for name in names for line in patterns if line in (name, (here / name).as_posix()) or fnmatch(name, line)
    }


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the project, for builds leave folders behind."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "copy", ignore=local))


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `python -m build` fills."""
    out = tmp_path_factory.mktemp("dist")
    finished([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)], out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_is_pure_and_holds_the_package_alone(source: Path, wheel: Path) -> None:
    assert wheel.name == f"manual_backprop-{mb.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"manual_backprop/{name}" for name in files(source / "manual_backprop")}
    for kind in (
        "kernels/*.c",
        "kernels/*.h",
        "engine/native/*.cpp",
        "**/*.pyi",
        "py.typed",
        "training/configs/*.yaml",
    ):
        assert list((source / "manual_backprop").glob(kind)), kind


def test_the_source_distribution_holds_what_the_tests_need(source: Path, built: Path) -> None:
    """All of the project: its tests read the pages, the benchmarks and the examples."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert path.name == f"manual_backprop-{mb.__version__}.tar.gz"
    made = {name for name in names if name.startswith("manual_backprop.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    folders = {name for name in files(source) if "/" in name and not name.startswith("manual_backprop.egg-info/")}
    assert names - made == folders | LOOSE


README = """
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
exec(re.search(r"```python\\n(.*?)```", text, re.DOTALL)[1])
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
first = loss.item()
for _ in range(5):
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(net(images), labels)
    loss.backward()
    optimizer.step()
print(mb.__version__, mb.__file__)
print(mb.audit(net, images).autograd, loss.item() < first / 2)
"""
"""The first block of the README has a network, images and labels; here the network learns them."""


@pytest.mark.slow
def test_the_wheel_runs_where_torch_is_alone(wheel: Path, tmp_path: Path) -> None:
    """pip itself, which may ask nobody, finds that torch and numpy are all that is needed."""
    env = Environment.with_packages(tmp_path, "torch", "numpy")
    env.install(str(wheel))
    version, file, autograd, learned = env.run("python", "-c", README, str(ROOT / "README.md")).split()[-4:]
    assert version == mb.__version__
    assert Path(file).is_relative_to(env.folder)
    assert (autograd, learned) == ("0", "True")
    assert re.search(
        r"\d+ rows: \d\d+ checks passed, 0 failed", env.run("manual-backprop", "check", "--layer", "Linear")
    )
    assert list((tmp_path / "cache").rglob("*.so")), "its C files are compiled there"


@pytest.mark.slow
def test_the_wheel_trains_with_its_extra(wheel: Path, tmp_path: Path) -> None:
    """In a folder where nothing lies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    env = Environment.with_packages(tmp_path, "torch", "numpy", *project["optional-dependencies"]["train"])
    env.install(f"{wheel}[train]")
    env.run("manual-backprop", "fit", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    assert list((tmp_path / "runs").glob("digits_mlp/*/config.yaml"))


TYPED = """
import manual_backprop as mb
import manual_backprop.nn as nn
import manual_backprop.nn.functional as F
from manual_backprop.nn.utils.rnn import pad_sequence
reveal_type(nn.Linear(1, 2))
reveal_type(mb.functional.relu)
reveal_type(mb.convert)
nn.Linear("1", 2)
"""
"""A program whose last line is wrong."""
WRONG = 'Argument 1 to "Linear" has incompatible type "str"; expected "int"  [arg-type]'


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_type_checkers_read_the_types(editable: bool, source: Path, wheel: Path, tmp_path: Path) -> None:
    env = Environment.with_packages(tmp_path, "torch", "numpy", "setuptools")
    env.install(*(["--no-build-isolation", "-e", str(source)] if editable else [str(wheel)]))
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--python-executable", env.program("python"), "--cache-dir", "types"]
    done = subprocess.run([*command, program.name], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    linear, relu, convert, *errors = done.stdout.splitlines()
    assert 'Revealed type is "manual_backprop.nn.linear.Linear"' in linear
    assert re.search(r'"def \(input: [\w.]*Tensor, inplace: bool =\) -> [\w.]*Tensor"', relu)
    assert "-> _Model" in convert
    assert [line.partition("error: ")[2] for line in errors[:-1]] == [WRONG], "and nothing else is"
