"""A case: one configuration of a layer or function, with the inputs it is checked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Maker = Callable[[torch.Generator, torch.dtype], Any]


@dataclass(frozen=True)
class Spec:
    """How to make one argument.

    `make(generator, dtype)` returns it. `differentiable` says whether gradients by it are checked. `specials` are
    values (kinks, infinities, extremes) that are written into the argument, one at a time: for each of them the results
    must equal those of the twin, torch's own layer or function.
    """

    make: Maker
    differentiable: bool = True
    specials: tuple[float, ...] = ()


INFINITE = (float("nan"), float("inf"), -float("inf"))
EXTREMES = (0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 1000.0, -1000.0, 1e-30)


def normal(*shape: int, scale: float = 1.0, kinks: tuple[float, ...] = (), grad: bool = True) -> Spec:
    """Gaussian values; `kinks` are special values in addition to +-0, +-1, +-20, +-1000, 1e-30, +-inf and NaN."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    return Spec(make, grad, (*EXTREMES, *INFINITE, *kinks))


def complex_normal(*shape: int) -> Spec:
    """Gaussian real and imaginary parts, always in double precision."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        real, imaginary = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return torch.complex(real, imaginary)

    return Spec(make)


def uniform(
    *shape: int, low: float = 0.0, high: float = 1.0, specials: tuple[float, ...] = (), grad: bool = True
) -> Spec:
    """Uniform values, for arguments with a bounded domain; `specials` are its edges."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return (torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low).to(dtype)

    return Spec(make, grad, specials)


def simplex(*shape: int, dim: int = 1, log: bool = False, grad: bool = True) -> Spec:
    """Probabilities (or their logarithms) that sum to one along `dim`."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        logits = torch.randn(shape, generator=generator, dtype=torch.float64)
        return (logits.log_softmax(dim) if log else logits.softmax(dim)).to(dtype)

    return Spec(make, grad)


def index(high: int, *shape: int, ignore: int | None = None) -> Spec:
    """Class indices below `high`; with `ignore`, the first entry is that value."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        labels = torch.randint(high, shape, generator=generator)
        if ignore is not None and labels.numel():
            labels.view(-1)[0] = ignore
        return labels

    return Spec(make, differentiable=False)


def constant(value: Any) -> Spec:
    """A fixed argument: a tensor that is not differentiated, a number, None."""
    return Spec(lambda generator, dtype: value.clone() if isinstance(value, Tensor) else value, differentiable=False)


def tensors(*specs: Spec) -> Spec:
    """A list of tensors as one argument, as `cat` takes it."""
    return Spec(lambda generator, dtype: [spec.make(generator, dtype) for spec in specs])


@dataclass(frozen=True)
class Case:
    """One row of the suite.

    name       shown in the reports, e.g. "Conv2d-stride=2"; the part before the first "-" is the public name covered
    build      () -> our layer (an nn.Module in float32 on the CPU) or function
    twin       () -> torch's own, with the same initial values under the same seed; None when there is none
    inputs     one Spec per positional argument
    larger     Specs of a larger problem for the fast-mode gradient check, () for none
    forward    None: equal to the twin to the last bit; otherwise (relative tolerance, reason)
    bf16       (factor, reason): how far the bfloat16 error may exceed the twin's, both measured against float64
    without    check name (or a part of one: "transforms: hessian") -> the reason why it cannot apply here;
               what is said of "compiled" holds for "compiled_inductor", too
    """

    name: str
    build: Callable[[], Any]
    twin: Callable[[], Any] | None
    inputs: tuple[Spec, ...]
    larger: tuple[Spec, ...] = ()
    forward: tuple[float, str] | None = None
    bf16: tuple[float, str] | None = None
    without: Mapping[str, str] = field(default_factory=dict)

    @property
    def covers(self) -> str:
        """The public name this row covers."""
        return self.name.split("-")[0]
