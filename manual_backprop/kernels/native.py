"""Compiles the C files beside it with the system's compiler when a kernel is first asked for, and keeps the result.

One library per text of the sources, compiler and processor, below $XDG_CACHE_HOME/manual_backprop
(~/.cache/manual_backprop; cache.py). $CC names another compiler. Where a library cannot be had, for whatever reason,
nothing is raised: the formulas run in place of the kernels, which the logger "manual_backprop" says once.
"""

from __future__ import annotations

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from . import cache
from .memory import largest_cache

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# numbers stay IEEE's (no -ffast-math): NaN, infinities and signed zeros are part of the formulas
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")

TIMEOUT = 120
"""Seconds that a compiler may take."""

FULL = "No space left on device", "Disk quota exceeded", "Bus error"
"""What a compiler says where the disk is full: another folder may do. The last is of linkers that map the file."""

CPUINFO = Path("/proc/cpuinfo")

REAL = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}
"""How numbers are stored; bfloat16 is computed with as float32, in which weights and statistics stay."""

_log = logging.getLogger("manual_backprop")
_told: set[str] = set()
_PLAIN = (Tensor, torch.nn.Parameter)


def serves(*tensors: Tensor) -> bool:
    """Whether kernels may touch such tensors: plain ones in the memory of the CPU, nothing traced or transformed."""
    return plain(*tensors) and library() is not None


def plain(*tensors: Tensor) -> bool:
    """Whether tensors are plain ones in the memory of the CPU, nothing traced or transformed."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    for t in tensors:
        if type(t) not in _PLAIN or not t.is_cpu or t.layout is not torch.strided or t.is_neg():
            return False
        if t._is_zerotensor():  # zeros without memory, of which torch makes some in second derivatives
            return False
        if is_legacy_batchedtensor(t):  # of autograd.grad(is_grads_batched=True)
            return False
    return True


def call(name: str, *arguments: Any) -> None:
    """Run a C function on where tensors lie (None: NULL), addresses and integers; the number of threads last.

    It takes the tensors themselves, which live until it returns.
    """
    function = getattr(library(), name)
    if function.argtypes is None:
        function.argtypes, function.restype = (ctypes.c_void_p,) * (len(arguments) + 1), None
    function(*[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments], torch.get_num_threads())


@functools.cache
def library() -> Any:
    """The compiled C files, or None where it cannot be had."""
    found = loaded("cpu", SOURCES, HEADERS, symbol="know_cache")
    if found is not None:
        found.know_cache(ctypes.c_int64(largest_cache()))
    return found


def loaded(
    name: str, sources: Sequence[Path], headers: Sequence[Path] = (), program: str = "", *flags: str,
    symbol: str = "kernel",
) -> Any:  # fmt: skip
    """The library of C files, or of the text of a program that includes the headers; None where it cannot be had.

    symbol: a function that it has.
    """
    if (known := _compiler()) is None:
        return None
    compiler, facts = known
    try:
        texts = [source.read_text("utf-8") for source in (*sources, *headers)]
    except (OSError, UnicodeError) as error:  # an installation that is not whole
        _warn(str(error))
        return None
    key = "\n".join((*texts, program, *compiler, *FLAGS, *flags, facts)).encode(errors="backslashreplace")
    name = f"{name}-{hashlib.sha256(key).hexdigest()[:16]}.so"
    for path in cache.kept(name):
        with contextlib.suppress(OSError, AttributeError):
            return _opened(path, symbol)
    given = ["-x", "c", "-", *(f"-I{header.parent}" for header in headers[:1])] if program else [*map(str, sources)]
    problem = "no folder can be written to, neither for caches nor a temporary one"
    for folder in cache.places():
        try:
            with cache.building(folder) as aside:
                built = aside / name
                _compile(built, given, program, flags)
                cache.seal(built)
                found = _opened(built, symbol)  # what is kept has been loaded once
                cache.publish(built, folder)
                return found
        except subprocess.TimeoutExpired:
            problem = f"{_named()} took more than {TIMEOUT} s"
            break
        except subprocess.CalledProcessError as error:
            problem = f"{_named()} failed ({error.returncode}): {error.stderr.strip()}"
            if not any(words in error.stderr for words in FULL):
                break
        except (OSError, AttributeError) as error:  # full, not ours to write, or nothing may be run from there
            problem = f"{_named()} made no library that can be kept and loaded: {error}"
    _warn(problem)
    return None


def _opened(path: Path, symbol: str) -> Any:
    """Raises OSError for what is no library, AttributeError for one without that function."""
    library = ctypes.CDLL(str(path))
    getattr(library, symbol)
    return library


def _warn(problem: str) -> None:
    if problem not in _told:
        level = logging.INFO if _told else logging.WARNING
        _log.log(level, "no C kernels, formulas run in their place (slower): %s", problem)
        _told.add(problem)


@functools.cache
def _compiler() -> tuple[tuple[str, ...], str] | None:
    """The compiler's command, and what its results depend on; None where there is none."""
    try:
        command = shlex.split(os.environ.get("CC", "cc"))
        if not command:
            raise ValueError("it is empty")
        version = _output([*command, "--version"])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _warn(f"{_named()} does not run: {error}. Install a C compiler, or name one by the variable CC")
        return None
    return tuple(command), version + platform.machine() + _processor()


def _named() -> str:
    """The compiler, for messages."""
    return f"CC={os.environ['CC']!r}" if "CC" in os.environ else "cc (the variable CC names no other)"


def _compile(to: Path, given: Sequence[str], program: str, flags: Sequence[str]) -> None:
    """The compiler's own temporary files lie beside the result, and go with its folder."""
    known = _compiler()
    assert known is not None
    _output([*known[0], *FLAGS, *flags, "-o", str(to), *given, "-lm"], program, str(to.parent))


def _output(command: Sequence[str], text: str = "", temporary: str | None = None) -> str:
    """What a command writes. Whatever ends the wait for it ends, too, all that it has started."""
    environment = {**os.environ, "LC_ALL": "C", **({"TMPDIR": temporary} if temporary else {})}
    with subprocess.Popen(
        command, env=environment, process_group=0, encoding="utf-8", errors="replace",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(text, TIMEOUT)
        except BaseException:
            with contextlib.suppress(OSError, AttributeError):  # it has ended; Windows
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
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
