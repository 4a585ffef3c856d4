"""Runs a program with torch and with this library, and says whether they agree."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from .modes import SECOND, TRANSFORM
from .program import IMPORTS, Program
from .refusals import OVERWRITTEN, cannot, known_refusal

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-8, "float16": 2.0**-11}
SEEDS = 4
"""A difference counts when these many draws of the numbers all show it. Rounding decides on which side of a kink a
number lies, and one such number changes a delta entirely; that is chance, and in another draw gone. A defect is not."""

ROUNDINGS = {"float64": 2.0**19, "float32": 64, "bfloat16": 64, "float16": 64}
"""So many roundings of the largest number in a tensor need no further look: sums of ten thousands of terms in another
order differ by 64. In float64 that is 1e-10 of it: no formula is wrong by so little, and sums that cancel are."""

SENSITIVITY = 100
"""What torch's own result moves by, where its inputs move by one rounding or its dtype is float64, is how well the
program determines its numbers at all (a norm of two equal numbers: hardly). Ours may be off by this many times that."""

FLOOR = 1e-10
"""What float64 may be off by where torch has zero: what cancels leaves a rounding, times 1 / sqrt(eps) of a norm."""

UNCHECKED = ("identity", "copy_back", "save_on_cpu")
"""Hooks that give torch back the saved tensor, whose version it does not check, as it does not under a checkpoint:
garbage where it is overwritten."""


@dataclass(frozen=True)
class Failure:
    """kind: "raises" (ours alone), "silent" (torch alone raises), "differs"; what: the error, or the value's name."""

    kind: str
    what: str
    detail: str

    def key(self) -> tuple[str, str]:
        """What stays the same while a program shrinks."""
        return self.kind, re.sub(r"[\d.]+", "#", self.what)[:60]


class Runner:
    """A program as a namespace; `run` gives what one side found, and the error that ended it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names: dict[str, Any] = {"__name__": "program"}
        exec(compile(IMPORTS + program.script(), "<program>", "exec"), self.names)

    def run(self, ours: bool, seed: int = 0, moved: float = 0.0) -> tuple[dict[str, Any], Exception | None]:
        self.names["SEED"] = 10 * seed
        found: dict[str, Any] = {}
        modules, inputs = self.names["modules"], self.names["inputs"]
        if moved:
            self.names["modules"] = lambda: self._moved_modules(modules(), moved)
            self.names["inputs"] = lambda: self._moved_inputs(inputs(), moved)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.names["run"](ours, found)
        except Exception as error:
            return flat(found), error
        finally:
            self.names |= {"modules": modules, "inputs": inputs}
        return flat(found), None

    def _moved_modules(self, m: Any, by: float) -> Any:
        g = torch.Generator().manual_seed(1)
        for p in m.parameters():
            p.data.mul_(1 + by * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p.dtype))
        return m

    def _moved_inputs(self, x: list[Tensor], by: float) -> list[Tensor]:
        g = torch.Generator().manual_seed(2)
        for given, tensor in zip(self.program.inputs, x, strict=True):
            # numbers that lie at kinks stay there: else torch's own result would jump
            if given.floating and given.kind != "kinks" and given.layout not in ("expanded", "inference"):
                tensor.data.mul_(1 + by * torch.randn(tensor.shape, generator=g, dtype=torch.float64).to(tensor.dtype))
        return x


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """Nested results by path, dense, and as they are now."""
    result = {}
    for path, value in _pytree.tree_flatten_with_path(found, is_leaf=lambda v: v is None)[0]:
        if isinstance(value, Tensor):
            value = value.detach()
            value = value.to_dense() if value.layout != torch.strided else value.clone()
        result["".join(str(getattr(k, "key", k)) for k in path)] = value
    return result


def judge(program: Program) -> Failure | None:
    """The first thing in which the two sides differ; None if there is none."""
    runner = Runner(program)
    failure = None
    for seed in range(SEEDS):
        failure = once(runner, seed)
        if failure is None or failure.kind != "differs":
            return failure
    return failure


def once(runner: Runner, seed: int) -> Failure | None:
    modes = runner.program.modes
    theirs, refused = runner.run(False, seed)
    if refused is not None and cannot(refused, modes):
        return None
    if refused is not None and modes.threads > 1:
        return once(Runner(runner.program.with_modes(threads=1)), seed)
    if (modes.hooks or modes.checkpoint) and "rrelu" in runner.program.script().lower():
        return None  # whose forward writes its noise: torch hands it to the hooks before
    ours, error = runner.run(True, seed)
    if error is None and len(runner.program.script()) % 2:  # in the second run native nodes do what the first recorded
        ours, error = runner.run(True, seed)
    if error is None and refused is None:
        failure = differing(runner, seed, theirs, ours)
        if failure is not None and (modes.hooks in UNCHECKED or modes.checkpoint):
            _, plainly = Runner(runner.program.with_modes(hooks=None, checkpoint=None)).run(False, seed)
            if plainly is not None and OVERWRITTEN.search(str(plainly)):
                return None
        return failure
    if error is None and refused is not None:
        if OVERWRITTEN.search(str(refused)) and right_all_the_same(runner.program, seed, ours):
            return None
        return Failure("silent", said(refused), f"torch raises {said(refused)}; ours runs")
    assert error is not None
    if refused is None:
        if known_refusal(error, runner.program.script()):
            return None
        return Failure("raises", said(error), f"ours raises {said(error)}; torch runs")
    if not isinstance(error, type(refused)) and not isinstance(refused, type(error)):
        return Failure("raises", said(error), f"torch raises {said(refused)}, ours {said(error)}")
    return None


def right_all_the_same(program: Program, seed: int, ours: dict[str, Any]) -> bool:
    """Whether ours are the numbers that torch has where it keeps copies of what is overwritten. (This library need not
    have saved it.)"""
    if program.modes.ask in TRANSFORM and program.modes.ask != "func_grad":
        return True  # where torch cannot keep copies
    if "rrelu" in program.script().lower():
        return True
    keeps = program.with_modes(hooks="mutation")
    if program.modes.ask == "func_grad":  # in which nothing happens behind the forward
        watch = None if program.modes.watch == "tensor_hooks" else program.modes.watch
        keeps = keeps.with_modes(ask="backward", watch=watch, between=None)
    keeping = Runner(keeps)
    theirs, refused = keeping.run(False, seed)
    if program.modes.ask == "func_grad":
        names = [given.name for given in program.inputs if given.grad]
        theirs = {f"grad[{k}]": theirs.get(f"gradient of {name}") for k, name in enumerate(names)}
        theirs = {name: v if v is not None else torch.zeros_like(ours[name]) for name, v in theirs.items()}
        ours = {name: ours[name] for name in theirs}
    if refused is not None:
        return cannot(refused, program.modes)
    return differing(keeping, seed, theirs, ours) is None


def differing(runner: Runner, seed: int, theirs: dict[str, Any], ours: dict[str, Any]) -> Failure | None:
    """The first result that is another one."""
    if runner.program.modes.checkpoint and runner.program.modes.ask in SECOND:  # how often a part runs again there
        theirs, ours = ({n: v for n, v in found.items() if "buffer" not in n} for found in (theirs, ours))
    if theirs.keys() != ours.keys():
        return Failure("differs", "results", f"{sorted(theirs.keys() ^ ours.keys())} on one side only")
    for name in theirs:
        if (problem := unlike(theirs[name], ours[name], runner.program, name)) is not None:
            return Failure("differs", name, f"{name}: {problem}")
    far = {n: off for n in theirs if (off := distance(theirs[n], ours[n])) is not None}
    if not far or runner.program.modes.lossy:
        return None
    limits = allowed(runner, seed, theirs, ours, strict=True)
    if all(far[n] <= limits[n] for n in far):
        return None
    limits = allowed(runner, seed, theirs, ours)
    for name, off in far.items():
        if off > limits[name]:
            size = largest(theirs[name])
            return Failure("differs", name, f"{name} differs by {off:.3g} of {size:.3g}, allowed is {limits[name]:.3g}")
    return None


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def unlike(theirs: Any, ours: Any, program: Program, name: str) -> str | None:
    """What differs apart from rounding."""
    if not isinstance(theirs, Tensor) or not isinstance(ours, Tensor):
        for value, other in ((theirs, ours), (ours, theirs)):  # no second derivative is one of zero
            if value is None and isinstance(other, Tensor) and name.startswith("second") and not other.any():
                return None
        return (
            None if type(theirs) is type(ours) and theirs == ours else f"{kind(theirs)} from torch, {kind(ours)} here"
        )
    if theirs.shape != ours.shape or (theirs.dtype != ours.dtype and not odd_dtype(theirs, program)):
        return f"{kind(theirs)} from torch, {kind(ours)} here"
    if not theirs.is_floating_point():
        return None if torch.equal(theirs, ours) else "other numbers"
    if program.precision() == "float16":  # which of many sums overflows is for the order of their terms
        return None
    finite = theirs.isfinite()
    if program.modes.ask in SECOND and ours.isfinite().all():  # torch's second derivatives overflow where ours do not
        return None
    if not torch.equal(finite, ours.isfinite()):
        return f"{finite.numel() - int(finite.sum())} are not finite in torch, {int((~ours.isfinite()).sum())} here"
    if "poisson" in program.script().lower():  # e^x overflows: a sum of infinities or NaN, by the order of its terms
        return None
    rest, other = theirs[~finite], ours[~finite]
    return None if torch.equal(rest.nan_to_num(), other.nan_to_num()) else "other infinities or NaN"


def odd_dtype(theirs: Tensor, program: Program) -> bool:
    """Whether torch may have lost a tangent's dtype: that of a single number takes part in no promotion."""
    if program.modes.ask not in TRANSFORM or program.precision() == "float64":
        return False
    # jacfwd: the derivative of a single number has the shape of an input
    return theirs.dim() == 0 or (
        program.modes.ask == "jacfwd" and tuple(theirs.shape) in {i.shape for i in program.inputs}
    )


def kind(value: Any) -> str:
    return f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


def distance(theirs: Any, ours: Any) -> float | None:
    """The largest difference between finite numbers; None where it is zero."""
    if not isinstance(theirs, Tensor) or not isinstance(ours, Tensor):
        return None
    if not theirs.is_floating_point() or torch.equal(theirs, ours):
        return None
    off = (theirs.double() - ours.double()).abs()
    off = off.where(theirs.isfinite() & ours.isfinite(), 0.0)
    return off.max().item() or None


def allowed(
    runner: Runner, seed: int, theirs: dict[str, Any], ours: dict[str, Any], strict: bool = False
) -> dict[str, float]:
    """How far each result may be off."""
    dtype = runner.program.precision()
    eps = EPS[dtype]
    floor = FLOOR * eps / EPS["float64"]
    roundings = ROUNDINGS[dtype]
    limits = {n: roundings * eps * largest(v) for n, v in theirs.items() if isinstance(v, Tensor)}
    if dtype == "float64":
        limits = {n: max(limit, floor) for n, limit in limits.items()}
    else:
        limits = {n: limit or floor for n, limit in limits.items()}
    if strict:
        return limits
    moved, again = runner.run(False, seed, moved=eps), runner.run(True, seed, moved=eps)
    others = [(theirs, moved), (ours, again)]
    if dtype != "float64":
        truth = Runner(runner.program.with_modes(dtype="float64", autocast=None)).run(False, seed)
        others.append((theirs, truth))
    group = {n: n.split()[0] for n in limits}
    top = {g: max(largest(theirs[n]) for n in limits if group[n] == g) for g in set(group.values())}
    for base, (result, error) in others:
        if error is not None:
            continue
        for name in limits:
            value = result.get(name)
            if isinstance(value, Tensor) and value.shape == base[name].shape:
                off = distance(base[name].double(), value.double()) or 0.0
                if base is ours:  # what ours moves by speaks for ours only as far as it is rounding
                    off = min(off, eps * max(top[group[name]], 1.0))
                limits[name] = max(limits[name], SENSITIVITY * off)
    return limits


def largest(value: Tensor) -> float:
    if not value.numel() or not value.is_floating_point():
        return 0.0
    return value.abs().nan_to_num(0.0, posinf=0.0).max().item()
