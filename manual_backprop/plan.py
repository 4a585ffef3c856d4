"""Computes whether a training step fits into a device's memory, on the meta device: no memory is allocated."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ._options import add_model, build_model, running, sizes_of
from ._tables import text_table
from .errors import BadInput, unknown
from .functional import cross_entropy, reshape
from .memory.saving import MODES
from .saving import saved_bytes, saving, size

OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
"""Tensors that an optimizer keeps for each parameter, of the parameter's size."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_POWERS = {unit: power for power, unit in enumerate("KMGT", 1)}
UNITS = {
    "": 1,
    "B": 1,
    **{f"{unit}B": 1000**power for unit, power in _POWERS.items()},
    **{f"{unit}iB": 1024**power for unit, power in _POWERS.items()},
}


@dataclass(frozen=True)
class Plan:
    """Bytes of one training step: parameters, gradients, optimizer, inputs, and the saved tensors of ours and torch.nn.

    Not counted: deltas during the backward, workspaces of kernels and memory that the allocator leaves unused.
    """

    batch: int
    parameters: int
    gradients: int
    optimizer: int
    inputs: int
    ours: int
    twin: int
    memory: int
    largest: tuple[int, int]
    """The largest batch that fits, with our layers and with torch.nn's; 0 if none fits."""

    @property
    def total(self) -> tuple[int, int]:
        """The sum, with our layers and with torch.nn's."""
        fixed = self.parameters + self.gradients + self.optimizer + self.inputs
        return fixed + self.ours, fixed + self.twin

    @property
    def fits(self) -> bool:
        """Whether the step fits with our layers."""
        return self.total[0] <= self.memory

    def __str__(self) -> str:
        same = ("parameters", "gradients", "optimizer", "inputs")
        rows: list[tuple[str, ...]] = [(name, *[size(getattr(self, name))] * 2) for name in same]
        rows += [("saved for backward", size(self.ours), size(self.twin)), ("total", *map(size, self.total))]
        rows += [("largest batch", *map(str, self.largest))]
        left = self.memory - self.total[0]
        verdict = f"fits, {size(left)} left" if left >= 0 else f"does not fit, {size(-left)} too much"
        table = text_table(("", "ours", "torch.nn"), rows, left=(0,))
        return f"{table}\nbatch {self.batch} in {size(self.memory)}: {verdict}"


def plan(
    build: Callable[[], torch.nn.Module], sample: Callable[[int], torch.Tensor], batch: int, memory: int,
    optimizer: str = "adamw", loss: Callable[[Any], Any] | None = None,
) -> Plan:  # fmt: skip
    """Plan a step of the model that `build()` makes on batches `sample(n)`; both are called under the meta device.

    memory: bytes of the device. optimizer: sgd, momentum, adam or adamw. loss: a function of the model's output; what
    it saves counts, too. Raises BadInput for another optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS)
    with torch.device("meta"):
        model = build()
        parameters = sum(p.nbytes for p in {*model.parameters(), *model.buffers()})
        learned = [p for p in model.parameters() if p.requires_grad]
        gradients = sum(p.nbytes for p in learned)
        state = OPTIMIZERS[optimizer] * gradients
        fixed = parameters + gradients + state

        @functools.cache
        def bytes_at(n: int) -> tuple[int, int, int]:
            inputs, found = sample(n), saved_bytes(model, sample(n), loss=loss)
            return inputs.nbytes, found.ours, found.twin

        inputs, ours, twin = bytes_at(batch)
        largest_ours = _largest(lambda n: fixed + bytes_at(n)[0] + bytes_at(n)[1] <= memory)
        largest_twin = _largest(lambda n: fixed + bytes_at(n)[0] + bytes_at(n)[2] <= memory)
    return Plan(batch, parameters, gradients, state, inputs, ours, twin, memory, (largest_ours, largest_twin))


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest n >= 1 that fits, found by doubling, then bisection; 0 if none fits."""
    if not fits(1):
        return 0
    low = 1
    while low < 2**24 and fits(2 * low):
        low *= 2
    step = low // 2
    while step:
        low, step = (low + step if fits(low + step) else low), step // 2
    return low


def _next_token(logits: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of logits (*, V) and labels (*)."""
    rows = reshape(logits, (-1, logits.shape[-1]))
    return cross_entropy(rows, rows.new_zeros(len(rows), dtype=torch.int64))


def bytes_of(text: str) -> int:
    """ "80GB", "24 GiB" or a plain number as bytes. Raises BadInput for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)\s*", text)
    if match is None or match[2] not in UNITS:
        raise BadInput(f"--device-memory {text!r}: expected a number and a unit, such as 80GB or 24GiB")
    return int(float(match[1]) * UNITS[match[2]])


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop plan`; status 1 if the step does not fit. Raises BadInput for bad options."""
    parser = argparse.ArgumentParser("manual-backprop plan", description=__doc__)
    add_model(parser, required=True)
    parser.add_argument("--batch", type=int, help="batch size, in place of the first number of --input")
    parser.add_argument("--device-memory", required=True, metavar="SIZE", help="memory, such as 80GB or 24GiB")
    parser.add_argument("--optimizer", default="adamw", choices=OPTIMIZERS, help="count its state (default adamw)")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="dtype of parameters and inputs")
    parser.add_argument("--tokens", action="store_true", help="inputs are integers, the loss is a cross-entropy")
    parser.add_argument("--saving", default="exact", choices=MODES, help="mode of mb.saving (default exact)")
    options = parser.parse_args(argv)
    memory, dtype = bytes_of(options.device_memory), DTYPES[options.dtype]
    first, *rest = sizes_of(options)
    batch = first if options.batch is None else options.batch
    if batch < 1:
        raise BadInput(f"--batch {batch}: expected at least 1")

    def sample(n: int) -> torch.Tensor:
        return torch.zeros(n, *rest, dtype=torch.int64 if options.tokens else dtype)

    with running(options), saving(options.saving):
        build, loss = (lambda: build_model(options, (batch, *rest)).to(dtype)), _next_token if options.tokens else None
        found = plan(build, sample, batch, memory, options.optimizer, loss)
    print(found)
    return 0 if found.fits else 1


if __name__ == "__main__":
    sys.exit(main())
