"""Compiles C and C++ with the system's compilers when it is first asked for, and keeps the result.

One library per text of the sources, compiler and processor, below $XDG_CACHE_HOME/manual_backprop
(~/.cache/manual_backprop; cache.py). $CC and $CXX name other compilers. Where a library cannot be had, for whatever
reason, nothing is raised: Python runs in its place, which the logger "manual_backprop" says once.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import cache


class Language(NamedTuple):
    """variable: of the environment, which names the compiler; default: its name otherwise; suffix: of a text that it
    reads from its input; flags: always given; instead: what runs where there is no compiler."""

    variable: str
    default: str
    suffix: str
    flags: tuple[str, ...]
    instead: str


# numbers stay IEEE's (no -ffast-math): NaN, infinities and signed zeros are part of the formulas
C = Language(
    "CC", "cc", "c",
    ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC"),
    "no C kernels, formulas run in their place (slower)",
)  # fmt: skip
CPP = Language(
    "CXX", "c++", "c++", ("-O2", "-std=c++20", "-DNDEBUG", "-w", "-shared", "-fPIC"),
    "no native nodes, nodes in Python run in their place (slower)",
)  # fmt: skip

TIMEOUT = 300
"""Seconds that a compiler may take."""

FULL = "No space left on device", "Disk quota exceeded", "Bus error"
"""What a compiler says where the disk is full: another folder may do. The last is of linkers that map the file."""

CPUINFO = Path("/proc/cpuinfo")

_running: set[subprocess.Popen] = set()


@atexit.register
def _end() -> None:
    """A program that ends waits for no compiler."""
    for process in list(_running):
        _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """The compiler and all that it has started."""
    with contextlib.suppress(OSError, AttributeError):  # it has ended; Windows
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


_log = logging.getLogger("manual_backprop")
_told: set[str] = set()


def loaded(
    name: str, sources: Sequence[Path], headers: Sequence[Path] = (), program: str = "", *flags: str,
    symbol: str = "kernel", language: Language = C, opened: Callable[[Path, str], Any] | None = None,
) -> Any:  # fmt: skip
    """The library of source files, or of the text of a program that includes the headers; None where it cannot be had.

    symbol: a function that it has. opened: what loads the library, and raises OSError or ImportError where it is none.
    """
    opened = opened or _opened
    if (known := _compiler(language)) is None:
        return None
    compiler, facts = known
    try:
        texts = [source.read_text("utf-8") for source in (*sources, *headers)]
    except (OSError, UnicodeError) as error:  # an installation that is not whole
        _warn(str(error), language)
        return None
    key = "\n".join((*texts, program, *compiler, *language.flags, *flags, facts)).encode(errors="backslashreplace")
    name = f"{name}-{hashlib.sha256(key).hexdigest()[:16]}.so"
    for path in cache.kept(name):
        with contextlib.suppress(OSError, AttributeError, ImportError):
            return opened(path, symbol)
    given = (
        ["-x", language.suffix, "-", *(f"-I{header.parent}" for header in headers[:1])]
        if program
        else [*map(str, sources)]
    )
    problem = "no folder can be written to, neither for caches nor a temporary one"
    for folder in cache.places():
        try:
            with cache.building(folder) as aside:
                built = aside / name
                _compile(built, given, program, flags, language)
                cache.seal(built)
                found = opened(built, symbol)  # what is kept has been loaded once
                cache.publish(built, folder)
                return found
        except subprocess.TimeoutExpired:
            problem = f"{_named(language)} took more than {TIMEOUT} s"
            break
        except subprocess.CalledProcessError as error:
            problem = f"{_named(language)} failed ({error.returncode}): {error.stderr.strip()}"
            if not any(words in error.stderr for words in FULL):
                break
        except (
            OSError,
            AttributeError,
            ImportError,
        ) as error:  # full, not ours to write, or nothing may be run from there
            problem = f"{_named(language)} made no library that can be kept and loaded: {error}"
    _warn(problem, language)
    return None


def _opened(path: Path, symbol: str) -> Any:
    """Raises OSError for what is no library, AttributeError for one without that function."""
    library = ctypes.CDLL(str(path))
    getattr(library, symbol)
    return library


def _warn(problem: str, language: Language = C) -> None:
    if problem not in _told:
        level = logging.INFO if _told else logging.WARNING
        _log.log(level, "%s: %s", language.instead, problem)
        _told.add(problem)


@functools.cache
def _compiler(language: Language = C) -> tuple[tuple[str, ...], str] | None:
    """The compiler's command, and what its results depend on; None where there is none."""
    try:
        command = shlex.split(os.environ.get(language.variable, language.default))
        if not command:
            raise ValueError("it is empty")
        version = _output([*command, "--version"])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        kind = "C" if language is C else "C++"
        _warn(
            f"{_named(language)} does not run: {error}. Install a {kind} compiler, or name one by the variable "
            f"{language.variable}",
            language,
        )
        return None
    return tuple(command), version + platform.machine() + _processor()


def _named(language: Language) -> str:
    """The compiler, for messages."""
    variable = language.variable
    if variable in os.environ:
        return f"{variable}={os.environ[variable]!r}"
    return f"{language.default} (the variable {variable} names no other)"


def _compile(to: Path, given: Sequence[str], program: str, flags: Sequence[str], language: Language = C) -> None:
    """The compiler's own temporary files lie beside the result, and go with its folder."""
    known = _compiler(language)
    assert known is not None
    _output([*known[0], *language.flags, "-o", str(to), *given, *flags, "-lm"], program, str(to.parent))


def _output(command: Sequence[str], text: str = "", temporary: str | None = None) -> str:
    """What a command writes. Whatever ends the wait for it ends, too, all that it has started."""
    environment = {**os.environ, "LC_ALL": "C", **({"TMPDIR": temporary} if temporary else {})}
    with subprocess.Popen(
        command, env=environment, process_group=0, encoding="utf-8", errors="replace",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        _running.add(process)
        try:
            output, errors = process.communicate(text, TIMEOUT)
        except BaseException:
            _kill(process)
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return f"{sys.platform} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
