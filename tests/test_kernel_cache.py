"""Compiled kernels are kept in a folder of the user's own, each whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from manual_backprop.engine import cache
from manual_backprop.engine import compiler as build

from .compiling import PROGRAM, compiler, compiles, run, triple

pytestmark = pytest.mark.usefixtures("c_kernels")


def test_a_library_that_was_cut_short_is_built_again(tmp_path: Path) -> None:
    """Loading it would kill the process."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert run(environment) == "True\n"
    (library,) = (tmp_path / "manual_backprop").iterdir()
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    assert run(environment) == "True\n"
    assert library.stat().st_size == len(whole)


def test_whatever_is_not_as_it_was_written_is_built_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = compiles(monkeypatch)
    assert triple()
    assert triple()
    assert len(built) == 1
    (library,) = home.iterdir()
    whole = library.read_bytes()
    middle = len(whole) // 2
    changed = [
        b"",
        whole[:10],
        whole[:-1],
        whole[:middle],
        whole[:middle] + bytes(len(whole) - middle),
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        whole + b"\n",
    ]
    for count, text in enumerate(changed, 2):
        library.unlink()  # this process has it mapped
        library.write_bytes(text)
        assert triple()
        assert len(built) == count
        assert cache.is_whole(library)
    assert triple()
    assert len(built) == len(changed) + 1


def test_a_library_that_does_not_load_or_lacks_the_function_is_built_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert triple()
    (library,) = home.iterdir()
    other = home / "other.so"
    build._compile(other, ["-x", "c", "-"], "int core(int x) { return x; }", ())
    for text in (other.read_bytes(), b"not a library"):
        library.unlink()
        library.write_bytes(text)
        cache.seal(library)
        assert cache.is_whole(library)
        assert triple()


@pytest.mark.parametrize("fails", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota")])
@pytest.mark.parametrize("where", ["mkdtemp", "seal", "publish"])
def test_where_the_disk_is_full_the_temporary_folder_is_next(
    where: str, fails: OSError, home: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = tempfile if where == "mkdtemp" else cache
    original = getattr(owner, where)

    def full(*args: Any, **kwargs: Any) -> Any:
        if any(str(home) in str(a) for a in (*args, *kwargs.values())):
            raise fails
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, where, full)
    assert triple()
    assert not list(home.iterdir())
    assert len(list(temporary.iterdir())) == 1
    built = compiles(monkeypatch)
    assert triple()
    assert not built, "it is looked for in all places before it is built"


def test_a_full_disk_that_shows_when_data_is_written_through(
    home: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails, through = [OSError(errno.ENOSPC, "No space left on device")], os.fsync

    def full(file: int) -> None:
        if fails:
            raise fails.pop()
        through(file)

    monkeypatch.setattr(os, "fsync", full)
    assert triple()
    assert not list(home.iterdir())
    assert len(list(temporary.iterdir())) == 1


def test_a_compiler_whose_disk_is_full(
    home: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = f'case "$*" in *{home}*) echo "cannot write: No space left on device" >&2; exit 1;; esac; exec cc "$@"'
    monkeypatch.setenv("CC", compiler(tmp_path, full))
    assert triple()
    assert not list(home.iterdir())
    assert len(list(temporary.iterdir())) == 1


@pytest.mark.parametrize("name", ["mkdtemp", "gettempdir"])
def test_where_nothing_can_be_written_formulas_run(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(tempfile, name, full)
    assert not triple()
    assert caplog.text.count("no C kernels, formulas run in their place") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_build_leaves_nothing(
    error: type[BaseException], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(to: Path, *_: Any) -> None:
        to.write_text("half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(build, "_compile", interrupted)
        with pytest.raises(error):
            triple()
    assert not list(home.iterdir())
    assert triple()


def test_what_killed_builds_left_goes_when_it_is_old(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = compiler(tmp_path, f'echo half > "$TMPDIR/half.o"; touch {tmp_path}/started; exec sleep 10')
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROGRAM], env={**os.environ, "CC": hang})
    for _ in range(1200):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = home.iterdir()
    assert {path.name for path in left.iterdir()} == {"half.o"}
    assert triple()
    assert left.exists(), "another process may still be building there"
    old = time.time() - 2 * 3600
    os.utime(left, (old, old))
    (library,) = home.glob("*.so")
    library.unlink()
    assert triple()
    assert list(home.iterdir()) == [library]


def test_folders_are_the_users_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        assert triple()
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o777)
    assert triple()
    assert stat.S_IMODE(home.stat().st_mode) == 0o755, "no one else may write to it"


def given_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user owns it from now on."""
    if os.geteuid() == 0:
        return os.chown(path, 65534, -1, follow_symlinks=False)
    inode, own = path.lstat().st_ino, cache._own
    return monkeypatch.setattr(cache, "_own", lambda found: own(found) and found.st_ino != inode)


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another program, whole, where the library of TRIPLE is looked for."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with monkeypatch.context() as patched:
        patched.setattr(cache, "places", lambda: iter([folder]))
        patched.setattr(cache, "kept", lambda name: iter([]))
        assert triple()
    (library,) = folder.glob("*.so")
    build._compile(library, ["-x", "c", "-"], "int kernel(int x) { return 4 * x; }", ())
    cache.seal(library)
    return library


def test_what_is_planted_by_the_user_is_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests below plant would be run."""
    plant(home, monkeypatch)
    assert not triple()


def test_a_library_of_another_user_is_not_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = plant(home, monkeypatch)
    given_away(library, monkeypatch)
    assert triple()
    assert str(library) in caplog.text
    assert "another user" in caplog.text


def test_a_link_in_place_of_a_library_is_not_followed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = plant(home, monkeypatch)
    library.rename(home / "elsewhere")
    library.symlink_to(home / "elsewhere")
    assert triple()
    assert not library.is_symlink()


@pytest.mark.parametrize("linked", [False, True])
def test_a_temporary_folder_of_another_user_is_not_used(
    linked: bool, home: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Nor one of the user's own that another user has put a link to."""
    if linked:
        (tmp_path / "documents").mkdir(mode=0o700)
        temporary.symlink_to(tmp_path / "documents")
    plant(temporary, monkeypatch)
    before = sorted(temporary.iterdir())
    given_away(temporary, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert triple()
    assert sorted(temporary.iterdir()) == before
    assert caplog.text.count(str(temporary)) == 1, "said once"
    assert "another user" in caplog.text
    (folder,) = set((tmp_path / "tmp").iterdir()) - {temporary}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_of_the_users_own_is_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    home.parent.mkdir()
    home.symlink_to(tmp_path / "disk")
    assert triple()
    assert len(list((tmp_path / "disk").glob("*.so"))) == 1


def test_a_cache_that_can_be_read_only_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert triple()
    home.chmod(0o500)
    built = compiles(monkeypatch)
    assert triple()
    assert not built
    home.chmod(0o700)


def test_programs_for_triton_are_kept_alike(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from manual_backprop.kernels.cuda import pointwise

    path = pointwise._kept("kernel.py", "text = 1\n")
    assert path == home / "kernel.py"
    made = path.stat().st_mtime_ns
    assert pointwise._kept("kernel.py", "text = 1\n") == path
    assert path.stat().st_mtime_ns == made
    for changed in (b"text", b"\xff"):
        path.write_bytes(changed)
        assert pointwise._kept("kernel.py", "text = 1\n").read_text() == "text = 1\n"
    given_away(path, monkeypatch)
    assert pointwise._kept("kernel.py", "text = 1\n") == path
    assert path.stat().st_uid == os.geteuid()
    assert list(home.iterdir()) == [path]
