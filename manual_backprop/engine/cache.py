"""The folders in which compiled kernels are cached.

A library's code runs in this process. So only folders that the user owns and no one else may write to are used, and
files of other users are skipped. A library is either complete or not there. It ends with a digest of its content, which
loaders ignore: loading one that was cut short, by a full disk or a crash, would kill the process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ASIDE = "building-"
"""Prefix of the name of a temporary build folder."""

STALE = 3600
"""Age in seconds from which a build folder counts as left by a killed process: no build takes that long."""

_log = logging.getLogger("manual_backprop")
_refused: set[Path] = set()


def kept(name: str) -> Iterator[Path]:
    """The cached files of that name that are complete and belong to the user."""
    for place in (_of_the_user, _of_the_user_below_the_temporary):
        with contextlib.suppress(OSError):
            folder = place()
            if folder is not None and _private(folder) and is_whole(folder / name):
                yield folder / name


def places() -> Iterator[Path]:
    """Folders to write to, best first, created if missing. The last resort is removed when this process ends."""
    for place in (_of_the_user, _of_the_user_below_the_temporary, _of_this_process):
        with contextlib.suppress(OSError):
            folder = place()
            if folder is None:
                continue
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _private(folder):
                yield folder


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A temporary folder for one build, so that processes that build at the same time do not collide. It is removed
    afterwards. Folders that killed processes have left are removed, too."""
    for left in folder.glob(f"{ASIDE}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > STALE:
                shutil.rmtree(left)
    aside = tempfile.mkdtemp(prefix=ASIDE, dir=folder)
    try:
        yield Path(aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """A lock between processes: one builds, the others wait for it. Without file locks (Windows) nobody waits."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder = next(places(), None)
            if folder is not None:
                lock = stack.enter_context(open(folder / f"{name}.lock", "a"))
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def seal(path: Path) -> None:
    """Append the digest and sync the file to disk; a full disk raises OSError here."""
    with open(path, "r+b") as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def publish(built: Path, folder: Path) -> None:
    """Move a finished file from its build folder to `folder`, replacing an earlier one."""
    os.replace(built, folder / built.name)


def is_whole(path: Path) -> bool:
    """Whether the file exists, belongs to the user, and is as `seal` left it."""
    if not is_own(path):
        return False
    data = path.read_bytes()
    return hashlib.sha256(data[:-32]).digest() == data[-32:]


def is_own(path: Path) -> bool:
    """Whether the path is a regular file, not a link, that belongs to the user."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not _own(found):
        _refuse(path)
        return False
    return stat.S_ISREG(found.st_mode)


def _of_the_user() -> Path | None:
    """Below $XDG_CACHE_HOME or ~/.cache. A relative path is ignored, as the XDG standard demands: the current folder
    may belong to anyone."""
    for folder in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(folder):
            return Path(folder) / "manual_backprop"
    return None


def _of_the_user_below_the_temporary() -> Path | None:
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir()) / f"manual_backprop-{user}"


def _of_this_process() -> Path:
    return Path(_temporary().name)


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="manual_backprop-")


def _private(folder: Path) -> bool:
    """Whether the folder exists and belongs to the user, also if it is a link, and no one else may write to it."""
    link, found = folder.lstat(), folder.stat()
    if not (_own(link) and _own(found)):
        _refuse(folder)
        return False
    if os.name == "posix" and found.st_mode & 0o022:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o022)
        found = folder.stat()
        if found.st_mode & 0o022:  # a file system without permissions
            _refuse(folder, "others may write to it")
            return False
    return stat.S_ISDIR(found.st_mode)


def _own(found: os.stat_result) -> bool:
    return os.name != "posix" or found.st_uid == os.geteuid()


def _refuse(path: Path, reason: str = "it belongs to another user") -> None:
    if path not in _refused:
        _refused.add(path)
        _log.warning("%s is not used as a cache for kernels: %s", path, reason)
