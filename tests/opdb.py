"""Every differentiable operator in torch's own test database, inside `mb.explicit()`: results, gradients, graph.

python -m tests.opdb                          every operator (minutes), what is open last
python -m tests.opdb linalg.qr roll fft.fft   some
python -m tests.opdb --first                  the first sample of each alone (a minute)
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop._nodes import is_view, name_of, rule_of
from manual_backprop._observe import graph
from manual_backprop.engine.torch_private import tree_flatten, tree_map_only

TOLERANCE = 1e-9
"""Of float64: the largest difference over the largest number, or over 1, as large as deltas are. Sums in another order,
and matrices of condition 1e3."""

TOLERANCES = {"nn.functional.hardsigmoid": 1e-7}
"""Of single operators. hardsigmoid: ATen's slope is 1/6 rounded to float32, whatever the dtype; ours is rounded to the
dtype."""


@dataclass
class Found:
    """What the samples of one operator have shown."""

    name: str
    samples: int = 0
    autograd: Counter[str] = field(default_factory=Counter)
    """Nodes in the graphs that are autograd's own."""
    wrong: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not self.autograd and not self.wrong

    def __str__(self) -> str:
        said = [f"autograd: {', '.join(self.autograd)}"] * bool(self.autograd) + self.wrong[:3]
        return f"{self.name:45} {self.samples:4} samples  {'; '.join(said) or 'ok'}"


@functools.cache
def database() -> dict[str, Any]:
    """Name -> entry, of those that autograd differentiates in float64 on the CPU."""
    from torch.testing._internal.common_methods_invocations import op_db  # takes seconds, and is torch's own for tests

    entries = [op for op in op_db if op.supports_autograd and torch.float64 in op.supported_backward_dtypes("cpu")]
    return {f"{op.name}.{op.variant_test_name}".rstrip("."): op for op in entries}


def takes_complex(name: str) -> bool:
    """Whether torch differentiates the operator for complex numbers."""
    return torch.complex128 in database()[name].supported_backward_dtypes("cpu")


def samples(op: Any, dtype: torch.dtype) -> Iterator[Any]:
    """Each sample as it is, and with tensors that are not contiguous."""
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        yield sample
        with contextlib.suppress(RuntimeError, NotImplementedError):  # of sparse tensors there is none
            yield sample.noncontiguous()


def run(op: Any, sample: Any, explicit: bool) -> tuple[list[Tensor], list[Tensor | None], list[Any]]:
    """Outputs, the gradients of all leaves, and the graph."""
    values = (sample.input, sample.args, sample.kwargs)
    first, args, kwargs = tree_map_only(Tensor, lambda t: t.detach().clone().requires_grad_(t.requires_grad), values)
    found, _ = tree_flatten((first, args, kwargs))
    leaves = [t for t in found if isinstance(t, Tensor) and t.requires_grad]
    torch.manual_seed(0)
    if explicit:
        with mb.explicit():
            outputs = op(first, *args, **kwargs)
    else:
        outputs = op(first, *args, **kwargs)
    returned = [t for t in tree_flatten(outputs)[0] if isinstance(t, Tensor) and t.requires_grad]
    nodes = graph(returned)  # what is made of the outputs below is the test's own
    made = [t for t in tree_flatten(sample.output_process_fn_grad(outputs))[0] if isinstance(t, Tensor)]
    differentiable = [t for t in made if t.requires_grad]
    gradients: list[Tensor | None] = []
    if differentiable and leaves:
        generator = torch.Generator().manual_seed(1)
        deltas = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in differentiable]
        gradients = list(torch.autograd.grad(differentiable, leaves, deltas, allow_unused=True))
    return made, gradients, nodes


def different(one: Tensor | None, other: Tensor | None, tolerance: float = TOLERANCE) -> str:
    """What differs between torch's (first) and ours; empty where nothing does. No gradient is one of zeros."""
    if one is None or other is None:
        some = one if other is None else other
        return "" if some is None or not some.any() else "one has a gradient, the other none"
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{tuple(one.shape)} {one.dtype} and {tuple(other.shape)} {other.dtype}"
    if one.is_sparse or one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    one, other = one.resolve_conj().resolve_neg(), other.resolve_conj().resolve_neg()
    if not (one.is_floating_point() or one.is_complex()):
        return "" if torch.equal(one, other) else "other numbers"
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other)
    if not torch.equal(one.isfinite(), other.isfinite()):
        return "infinities or NaN elsewhere"
    finite = one.isfinite()
    scale = max(one[finite].abs().max().item(), 1.0) if finite.any() else 1.0
    worst = (one[finite] - other[finite]).abs().max().item() / scale if finite.any() else 0.0
    return f"by {worst:.1e} of the largest" if worst > tolerance else ""


def check(name: str, first: bool = False, dtype: torch.dtype = torch.float64) -> Found:
    """Run every sample of one operator both ways."""
    op = database()[name]
    found = Found(name)
    for sample in samples(op, dtype):
        found.samples += 1
        try:
            expected, theirs, _ = run(op, sample, explicit=False)
        except Exception:  # not for autograd, as some samples are
            continue
        try:
            outputs, ours, nodes = run(op, sample, explicit=True)
        except Exception as error:
            found.wrong.append(f"sample {found.samples}: {type(error).__name__}: {str(error)[:200]}")
            continue
        found.autograd.update(name_of(n) for n in nodes if rule_of(n) is None and not is_view(n))
        for what, pairs in (
            ("output", zip(expected, outputs, strict=False)),
            ("gradient", zip(theirs, ours, strict=False)),
        ):
            for i, (one, other) in enumerate(pairs):
                if difference := different(one, other, TOLERANCES.get(name, TOLERANCE)):
                    found.wrong.append(f"sample {found.samples}, {what} {i}: {difference}")
        if len(expected) != len(outputs) or len(theirs) != len(ours):
            found.wrong.append(f"sample {found.samples}: another number of results or gradients")
        if first:
            break
    return found


def _quiet(_: Any = None) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()


def _checked(arguments: tuple[str, bool, str]) -> Found:
    name, first, dtype = arguments
    return check(name, first, getattr(torch, dtype))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="operators; a name that ends in * stands for all that begin so")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--open", action="store_true", help="print only what is not right")
    options = parser.parse_args()
    _quiet()
    known = list(database())
    chosen = [n for n in known if not options.names or any(_fits(n, pattern) for pattern in options.names)]
    work = [(name, options.first, options.dtype) for name in chosen]
    if options.processes > 1:
        with multiprocessing.get_context("fork").Pool(options.processes, _quiet, ((),)) as pool:
            results = pool.imap(_checked, work)
            found = [_printed(f, options.open) for f in results]
    else:
        found = [_printed(_checked(w), options.open) for w in work]
    right = sum(f.right for f in found)
    print(f"{right} of {len(found)} operators run on rules alone, with torch's results and gradients")
    return 0 if right == len(found) else 1


def _fits(name: str, pattern: str) -> bool:
    return (
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern or name.partition(".")[0] == pattern
    )


def _printed(found: Found, only_open: bool) -> Found:
    if not (only_open and found.right):
        print(found, flush=True)
    return found


if __name__ == "__main__":
    os._exit(main())
