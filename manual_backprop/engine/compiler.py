"""Compiles C and C++ at first use with the system's compilers, and caches the libraries.

There is one library per source text, compiler and processor, below $XDG_CACHE_HOME/manual_backprop
(~/.cache/manual_backprop; cache.py). Set $CC or $CXX to use another compiler. Where no library can be built or loaded,
nothing is raised: Python code runs instead, and the logger "manual_backprop" warns once.
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
    """A language and its compiler.

    variable: the environment variable that names the compiler. default: the compiler where it is not set. suffix: the
    language, for a program on standard input. flags: always passed. instead: for the warning, what runs without.
    """

    variable: str
    default: str
    suffix: str
    flags: tuple[str, ...]
    instead: str


# no -ffast-math: NaN, infinities and signed zeros are part of the formulas
C = Language(
    "CC", "cc", "c",
    ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC"),
    "no C kernels, formulas run in their place (slower)",
)  # fmt: skip
CPP = Language(
    "CXX", "c++", "c++", ("-O2", "-std=c++20", "-DNDEBUG", "-w", "-shared", "-fPIC"),
    "no native nodes, Python nodes run in their place (slower)",
)  # fmt: skip

TIMEOUT = 300
"""Seconds that a compiler may take."""

FULL = "No space left on device", "Disk quota exceeded", "Bus error"
"""Compiler messages that mean a full disk; then another folder is tried. The last comes from linkers that map the
file."""

CPUINFO = Path("/proc/cpuinfo")

_running: set[subprocess.Popen] = set()


@atexit.register
def _end() -> None:
    """Kill running compilers when the program ends, so that it need not wait for them."""
    for process in list(_running):
        _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """Kill the compiler and every process that it started."""
    with contextlib.suppress(OSError, AttributeError):  # OSError: it has ended; AttributeError: Windows has no killpg
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


_log = logging.getLogger("manual_backprop")
_told: set[str] = set()


def loaded(
    name: str, sources: Sequence[Path], headers: Sequence[Path] = (), program: str = "", *flags: str,
    symbol: str = "kernel", language: Language = C, opened: Callable[[Path, str], Any] | None = None,
) -> Any:  # fmt: skip
    """The compiled library of `sources`, or of the text `program`; None where it cannot be built or loaded.

    headers: the files that these include. symbol: a function that the library must have. opened: a function that loads
    the library, and raises OSError or ImportError where it is invalid.
    """
    opened = opened or _opened
    if (known := _compiler(language)) is None:
        return None
    compiler, facts = known
    try:
        texts = [source.read_text("utf-8") for source in (*sources, *headers)]
    except (OSError, UnicodeError) as error:  # an incomplete installation
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
    problem = "neither the cache folder nor a temporary folder can be written to"
    for folder in cache.places():
        try:
            with cache.building(folder) as aside:
                built = aside / name
                _compile(built, given, program, flags, language)
                cache.seal(built)
                found = opened(built, symbol)  # before publishing, so that only loadable libraries are cached
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
        ) as error:  # the folder is full or read-only, or mounted noexec
            problem = f"the library made by {_named(language)} could not be saved or loaded: {error}"
    _warn(problem, language)
    return None


def _opened(path: Path, symbol: str) -> Any:
    """Raises OSError if the file is not a library, AttributeError if it lacks the function."""
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
    """The compiler's command, and a text that identifies it and the processor; None if it does not run."""
    try:
        command = shlex.split(os.environ.get(language.variable, language.default))
        if not command:
            raise ValueError("the variable is empty")
        version = _output([*command, "--version"])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        kind = "C" if language is C else "C++"
        _warn(
            f"{_named(language)} does not run: {error}. Install a {kind} compiler, or set {language.variable} to the "
            "name of one",
            language,
        )
        return None
    return tuple(command), version + platform.machine() + _processor()


def _named(language: Language) -> str:
    """The compiler's name for messages, with the variable that sets it."""
    variable = language.variable
    if variable in os.environ:
        return f"{variable}={os.environ[variable]!r}"
    return f"{language.default} (the variable {variable} is not set)"


def _compile(to: Path, given: Sequence[str], program: str, flags: Sequence[str], language: Language = C) -> None:
    """Compile to the file `to`. The compiler's temporary files go to the same folder, and are removed with it."""
    known = _compiler(language)
    assert known is not None
    _output([*known[0], *language.flags, "-o", str(to), *given, *flags, "-lm"], program, str(to.parent))


def _output(command: Sequence[str], text: str = "", temporary: str | None = None) -> str:
    """A command's standard output. If the wait is interrupted or times out, the command and its children are killed."""
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
    """A text that identifies the processor, on which -march=native depends."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return f"{sys.platform} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
