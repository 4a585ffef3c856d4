"""Virtual environments with some packages of this one and no others, made without a download."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(*requirements: str) -> list[Distribution]:
    """The packages that some requirements name, and all that these need, as they are installed here.

    Raises PackageNotFoundError for one that is not.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        package = found.setdefault(name, distribution(name))
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needs = [Requirement(text) for text in package.requires or ()]
            todo += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return list(found.values())


@dataclass
class Environment:
    """A virtual environment, and the folder in which its programs are run."""

    folder: Path
    cwd: Path

    @classmethod
    def with_packages(cls, folder: Path, *requirements: str) -> Environment:
        """A new one that has the packages of `closure`: links to this environment's files."""
        venv.create(folder / "env", with_pip=False, symlinks=True)
        made = cls(folder / "env", folder)
        site = Path(made.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        for package in closure(*requirements):
            assert package.files is not None, f"{package.name} has no list of its files"
            for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
                if not (site / top).exists() and not top.endswith(".pth"):
                    (site / top).symlink_to(str(package.locate_file(top)))
        return made

    def install(self, *arguments: str) -> None:
        """Run this environment's pip on the other, offline: what is not there stays missing, and pip fails."""
        command = [sys.executable, "-m", "pip", "--python", self.program("python"), "install", "--no-index"]
        finished([*command, "--no-cache-dir", "--disable-pip-version-check", *arguments], self.cwd)

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def run(self, name: str, *arguments: str) -> str:
        """What one of its programs prints. Raises AssertionError with its messages when it fails."""
        return finished([self.program(name), *arguments], self.cwd)


def finished(command: list[str], cwd: Path) -> str:
    """What a command prints that succeeds. PYTHONPATH shows it no package, and no kernel has been compiled for it."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables["XDG_CACHE_HOME"] = str(cwd / "cache")
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
