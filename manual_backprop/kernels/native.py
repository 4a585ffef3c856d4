"""Compiles the C files beside it with the system's compiler when a kernel is first asked for, and keeps the result.

One library per text of the sources, compiler and processor, below $XDG_CACHE_HOME/manual_backprop
(~/.cache/manual_backprop), written aside and renamed: processes that build it at the same time do not meet. Without a
compiler the formulas run in place of the kernels, which the logger "manual_backprop" says once. $CC names another.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from .memory import largest_cache

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# numbers stay IEEE's (no -ffast-math): NaN, infinities and signed zeros are part of the formulas
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")

REAL = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}
"""How numbers are stored; bfloat16 is computed with as float32, in which weights and statistics stay."""

_log = logging.getLogger("manual_backprop")
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
    found = loaded("cpu", SOURCES, HEADERS)
    if found is not None:
        found.know_cache(ctypes.c_int64(largest_cache()))
    return found


def loaded(name: str, sources: Sequence[Path], headers: Sequence[Path] = (), program: str = "", *flags: str) -> Any:
    """The library of C files, or of the text of a program that includes the headers; None where it cannot be had."""
    try:
        return ctypes.CDLL(str(_built(name, sources, headers, program, *flags)))
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or error
        _warn(str(output).strip())
        return None


@functools.cache
def _warn(reason: str) -> None:
    _log.warning("no C kernels, formulas run in their place (slower): %s", reason)


@functools.cache
def _compiler() -> tuple[tuple[str, ...], str]:
    command = shlex.split(os.environ.get("CC", "cc"))
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return tuple(command), version + platform.machine() + _processor()


def _built(name: str, sources: Sequence[Path], headers: Sequence[Path], program: str, *flags: str) -> Path:
    compiler, facts = _compiler()
    texts = [source.read_text() for source in (*sources, *headers)]
    key = "\n".join((*texts, program, *compiler, *FLAGS, *flags, facts))
    name = f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    given = ["-x", "c", "-", *(f"-I{header.parent}" for header in headers[:1])] if program else [*map(str, sources)]
    for folder in _folders():
        path = folder / name
        if path.exists():
            return path
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(suffix=".so", dir=folder)
        except OSError:
            continue  # not ours to write
        os.close(handle)
        try:
            subprocess.run(
                [*compiler, *FLAGS, *flags, "-o", aside, *given, "-lm"],
                input=program, capture_output=True, text=True, check=True, timeout=120,
            )  # fmt: skip
            os.replace(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)
        return path
    raise OSError("no folder to keep them in can be written")


def _folders() -> Iterator[Path]:
    """Where to keep the library; at worst a folder for this process alone, which goes with it."""
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "manual_backprop"
    yield Path(_temporary().name)


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="manual_backprop-")


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{sys.platform} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
