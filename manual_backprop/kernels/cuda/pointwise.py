"""Triton kernels generated from elementwise formulas at first use; Triton as a dialect of the printer.

Only deltas are served: ATen's forwards already make a single pass over memory. Triton reads a kernel's source from a
file, which is cached beside the C libraries (cache.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
import triton
from torch import Tensor

from ...engine import cache
from .. import printer
from ..memory import laid_as
from .launch import launch, takes

LANES = 1024

OWN = "expm1", "log1p", "sigmoid", "tanh", "erfc"
"""The functions of elementary.py."""


class Triton(printer.Dialect):
    """Triton's language; real values are float32."""

    templates: ClassVar[dict[str, str]] = {
        **printer.OPERATORS,
        "clamp_min": "tl.where({0} < {1}, {1}, {0})",  # NaN passes
        "clamp_max": "tl.where({0} > {1}, {1}, {0})",
        "not": "~{0}",
        "where": "tl.where({0}, {1}, {2})",
        **{name: f"tl.{name}({{0}})" for name in ("abs", "sqrt", "exp", "log", "erf")},
        "decay": "tl.exp({0})",
        **{name: f"{name}({{0}})" for name in OWN},
    }

    def constant(self, value: float) -> str:
        return repr(value) if abs(value) < float("inf") else f'float("{value!r}")'

    def converted(self, text: str, kind: printer.Kind) -> str:
        return f"{text}.to(tl.float32)" if kind == "mask" else text

    def declared(self, name: str, kind: printer.Kind, text: str) -> str:
        return f"{name} = {text}"


def printed(loop: printer.Loop) -> str:
    """The text of a module with a Triton function `kernel`. Its arguments: pointers to results and tensors, the
    numbers, the number of elements."""
    dialect = Triton("tl.float32")
    pointers = [f"out{i}" for i in range(len(loop.outputs))] + [f"{t.text}_" for t in loop.tensors]
    lines = ["i = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)", "inside = i < n"]
    lines += loaded(loop, dialect, lambda _: ("i", "inside"))
    lines += dialect.lines(loop, ("number", "real", "mask"))
    lines += [f"tl.store(out{i} + i, {text}, mask=inside)" for i, text in enumerate(dialect.results(loop))]
    return program(loop, [*pointers, *(n.text for n in loop.numbers), "n", "LANES: tl.constexpr"], lines)


def loaded(loop: printer.Loop, dialect: Triton, where: Callable[[str], tuple[str, str]]) -> list[str]:
    """Lines that load a loop's tensors. where: tensor's name -> the offsets to load from and the mask."""
    lines = []
    for t in loop.tensors:
        places, inside = where(t.text)
        value = f"tl.load({t.text}_ + {places}, mask={inside}, other=0)"
        lines.append(dialect.declared(t.text, t.kind, value + (" != 0" if t.kind == "mask" else ".to(tl.float32)")))
    return lines


def program(loop: printer.Loop, arguments: list[str], lines: list[str]) -> str:
    """The text of a module with a Triton function `kernel`."""
    return "\n".join(
        [
            f'"""{loop.name}"""',
            "import triton",
            "import triton.language as tl",
            f"from manual_backprop.kernels.cuda.elementary import {', '.join(OWN)}",
            "",
            "",
            "@triton.jit",
            f"def kernel({', '.join(arguments)}):",
            *(f"    {line}" for line in lines),
            "",
        ]
    )


def built(formula: Callable[..., Any], printed: Callable[[printer.Loop], str] = printed) -> Any:
    """The formula's Triton function, imported from a file with its text."""
    loop = printer.read(formula)
    text = printed(loop)
    name = f"{loop.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), _kept(f"{name}.py", text))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


def _kept(name: str, text: str) -> Path:
    """A cached file with that text."""
    for folder in cache.places():
        path = folder / name
        try:
            if not (cache.is_own(path) and path.read_bytes() == text.encode()):
                with cache.building(folder) as aside:
                    (aside / name).write_bytes(text.encode())
                    cache.publish(aside / name, folder)
        except OSError:
            continue  # the folder is full or read-only
        return path
    raise OSError("neither the cache folder nor a temporary folder can be written to")


def kernel(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the formula's signature that runs it as a printed kernel.

    The result has the memory format of the last real tensor, which for a delta is the tensor that the forward saved.
    """
    names, _ = printer.parameters(formula)
    function: Any = None

    def run(*args: Any) -> Any:
        nonlocal function
        tensors, numbers = args[: len(names)], args[len(names) :]
        masks: list[Tensor] = []
        reals: list[Tensor] = []
        for tensor, name in zip(tensors, names, strict=True):
            (masks if name == "mask" else reals).append(tensor)
        if (
            not takes(*reals, others=tuple(masks))
            or len({t.shape for t in tensors}) > 1
            or len({t.dtype for t in reals}) > 1
            or any(t.dtype != torch.bool for t in masks)
            or not all(isinstance(n, (int, float)) for n in numbers)
        ):
            return NotImplemented
        if function is None:
            function = built(formula)
        out = torch.empty_like(reals[-1])  # with the same strides if that is dense
        given = [laid_as(t.detach(), out) for t in tensors]
        given = [t.view(torch.uint8) if t.dtype == torch.bool else t for t in given]
        count = out.numel()
        launch(function, triton.cdiv(count, LANES), out, out, *given, *map(float, numbers), count, LANES=LANES)
        return out

    return run


def noisy(delta: Tensor, mask: Tensor, factor: float) -> Tensor:
    """`Dropout.delta_input` with 1 / (1 - p) as a number."""
    return delta * (mask * factor)


_noisy = kernel(noisy)


def dropout_delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
    if p == 1 or delta.shape != mask.shape:
        return NotImplemented
    return _noisy(delta, mask, 1 / (1 - p))
