"""Whatever the environment is, kernels are right, or formulas run in their place: nothing is raised."""

from __future__ import annotations

import logging
import pwd
import stat
import time
from pathlib import Path

import pytest

from manual_backprop.engine import compiler as build
from manual_backprop.kernels import matmul, memory

from .compiling import PROGRAM, TRIPLE, compiler, compiles, run, triple

pytestmark = pytest.mark.usefixtures("c_kernels")


def test_without_a_home_and_a_known_user_the_temporary_folder_keeps_kernels(
    home: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(RuntimeError):
        Path.home()
    built = compiles(monkeypatch)
    assert triple()
    assert triple()
    assert len(built) == 1
    assert len(list(temporary.iterdir())) == 1
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


@pytest.mark.parametrize("cache_home", ["", "relative", "~/.cache", "/dev/null", "/proc/none", "/" + "long" * 100])
def test_any_cache_folder_in_the_environment(
    cache_home: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative one is passed over, as its standard has it: the current folder may be anyone's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    assert triple()
    assert not (tmp_path / "relative").exists()
    assert not (tmp_path / "~").exists()
    assert len(list((tmp_path / "home" / ".cache" / "manual_backprop").glob("*.so"))) == (
        cache_home in ("", "relative", "~/.cache")
    )


def test_any_home_in_the_environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "relative")
    assert triple()
    assert not (tmp_path / "relative").exists()


COMMANDS = ["'cc", "", "  ", "no-such-compiler", "/", "true", "false", "echo", "cc --no-such-flag", "cc \udcff"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_compiler_that_is_none_is_named_once(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", command)
    assert not triple()
    assert build.loaded("other", (), (), TRIPLE) is None
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.name == "manual_backprop"
    assert "no C kernels, formulas run in their place" in record.getMessage()
    assert "CC" in record.getMessage()
    assert repr(command) in record.getMessage()
    assert not home.exists() or not list(home.iterdir())


def test_without_a_compiler_no_kernel_raises(tmp_path: Path) -> None:
    printed = run({"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path), "CC": "cc '"})
    assert printed.count("no C kernels, formulas run in their place") == 1
    assert printed.endswith("False\n")


def test_a_compiler_that_speaks_no_utf8(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path, r"printf '\377 bad' >&2; exit 1"))
    assert not triple()


def test_a_compiler_that_hangs_is_ended_with_what_it_started(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "CC", compiler(tmp_path, f'echo half > "$TMPDIR/half.o"; sleep 60 & echo $! > {tmp_path}/id; wait')
    )
    monkeypatch.setattr(build, "TIMEOUT", 0.5)
    assert not triple()
    assert "CC" in caplog.text
    assert "0.5 s" in caplog.text
    assert not list(home.iterdir())
    child = int((tmp_path / "id").read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the compiler's child runs on")


@pytest.mark.slow
def test_a_child_forked_after_first_use(tmp_path: Path) -> None:
    program = PROGRAM.replace("formula, output", "torch.set_num_threads(1)\nformula, output") + (
        "import os, time\n"
        "pid = os.fork()\n"
        "torch.testing.assert_close(KERNELS[formula](delta, output), formula(delta, output))\n"
        "formula = rules.Sigmoid.delta_input\n"
        "torch.testing.assert_close(KERNELS[formula](delta, output), formula(delta, output))\n"
        "if pid:\n"
        "    print(os.waitpid(pid, 0)[1])\n"
    )
    for cache_home in (str(tmp_path), "/dev/null"):
        printed = run({"XDG_CACHE_HOME": cache_home, "TMPDIR": str(tmp_path)}, program=program)
        assert printed.splitlines()[-1] == "0", printed


def test_more_threads_than_cores() -> None:
    program = PROGRAM.replace("formula, output", "torch.set_num_threads(64)\nformula, output").replace(" 7", " 2**20")
    assert run({}, program=program.replace("(7)", "(2**20)")) == "True\n"


SIZES = ["", "K", "9" * 30 + "K", "9" * 5000 + "K", "0K", "-4K", "4 K", "²K", "\x00"]


@pytest.mark.parametrize("text", [*(size.encode() for size in SIZES), b"\xff\xfeK"])
def test_cache_sizes_that_are_none(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(3):
        (tmp_path / f"index{index}").mkdir()
    (tmp_path / "index0" / "size").write_bytes(text)
    (tmp_path / "index2" / "size").mkdir()
    monkeypatch.setattr(memory, "CACHES", tmp_path)
    assert memory.largest_cache.__wrapped__() == 32 * 2**20
    (tmp_path / "index1" / "size").write_text("512K\n")
    assert memory.largest_cache.__wrapped__() == 512 * 2**10


def test_facts_of_a_processor_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_bytes(b"model name: \xff\n")
    monkeypatch.setattr(build, "CPUINFO", tmp_path / "cpuinfo")
    assert build._processor().startswith("model name")
    assert "model name" in matmul._maker()
