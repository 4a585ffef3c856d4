"""Where compiled kernels are kept: folders of the user's own, in which a library is whole or not there.

Its code is run in this process. So folders are the user's own, no one else may write to them, and what belongs to
another user is passed over. A library ends with a digest of what is before it, which loaders ignore: loading one that
was cut short, by a full disk or a machine that went down, would kill the process.
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
"""How the name of a folder for one build begins."""

STALE = 3600
"""Seconds after which such a folder was left by a process that was killed: no build takes that long."""

_log = logging.getLogger("manual_backprop")
_refused: set[Path] = set()


def kept(name: str) -> Iterator[Path]:
    """The whole files of that name that are the user's own."""
    for place in (_of_the_user, _of_the_user_below_the_temporary):
        with contextlib.suppress(OSError):
            folder = place()
            if folder is not None and _private(folder) and is_whole(folder / name):
                yield folder / name


def places() -> Iterator[Path]:
    """Folders to write to, the best first, made where they are not there; at worst one that goes with this process."""
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
    """A folder for one build below that folder, so that processes that build at the same time do not meet. It goes
    afterwards, and with it those that were left by processes that were killed."""
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
    """While one process builds what takes long, the others wait for it; where there are no locks, nobody waits."""
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
    """Append the digest, and write the file through to the disk, which is where a full one is noticed."""
    with open(path, "r+b") as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def publish(built: Path, folder: Path) -> None:
    """Move what was built, or written, aside to the folder, in place of an earlier file."""
    os.replace(built, folder / built.name)


def is_whole(path: Path) -> bool:
    """Whether a file is there, the user's own, and as `seal` left it."""
    if not is_own(path):
        return False
    data = path.read_bytes()
    return hashlib.sha256(data[:-32]).digest() == data[-32:]


def is_own(path: Path) -> bool:
    """Whether a file, no link, is there and belongs to the user."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not _own(found):
        _refuse(path)
        return False
    return stat.S_ISREG(found.st_mode)


def _of_the_user() -> Path | None:
    """Below $XDG_CACHE_HOME or ~/.cache; a relative path is passed over, as the standard of the former has it: the
    current folder may be anyone's."""
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
    """Whether a folder is there and the user's own, as is a link in its place, and no one else may write to it."""
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
        _log.warning("no kernels are loaded from, or kept in, %s: %s", path, reason)
