"""Compression of saved tensors: masks as bits (exact); activations as bfloat16, or as integers of 8 or 4 bits.

Rounding is stochastic: up or down, with probabilities that make the mean right, E[decoded] = x. So gradients stay
unbiased where they are linear in the saved tensor, as those of Linear and Conv. They are biased where a formula reads
its sign (a ReLU counts a small number that was rounded to 0 as inactive) or its square (norms).

Integers count steps of (max - min) / (2^bits - 1) from the minimum of each group of 128 elements, so the error of an
element is less than one step. A group with an infinity or NaN becomes NaN.

Sources: Chen et al. 2021, "ActNN: Reducing Training Memory Footprint via 2-Bit Activation Compressed Training"; Gupta
et al. 2015, "Deep Learning with Limited Numerical Precision" (stochastic rounding).
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 128

_generators: dict[torch.device, torch.Generator] = {}


def reseed() -> None:
    """Restart the random numbers of rounding from torch's seed."""
    _generators.clear()


def _generator(device: torch.device) -> torch.Generator:
    """The random generator of rounding. It is separate from torch's, so that dropout draws the same numbers with and
    without rounding. It restarts when torch's seed changes."""
    found = _generators.get(device)
    if found is None or found.initial_seed() != torch.initial_seed():
        found = _generators[device] = torch.Generator(device).manual_seed(torch.initial_seed())
    return found


def _order(tensor: Tensor) -> list[int]:
    """The axes from the outermost in memory to the innermost."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])


class Code:
    """How a tensor is encoded: `encoded` gives what is saved, `decode` the tensor again, with its order of axes in
    memory."""

    __slots__ = ("dtype", "kind", "order", "parts", "shape")

    def __init__(self, tensor: Tensor, kind: str) -> None:
        self.parts = 1 if kind in ("bits", "bf16") else 2
        self.kind, self.dtype, self.order = kind, tensor.dtype, _order(tensor)
        self.shape: torch.Size = tensor.permute(self.order).shape

    def encoded(self, tensor: Tensor) -> tuple[Tensor, ...]:
        run = tensor.detach().permute(self.order).reshape(-1)
        if self.kind == "bits":
            return (pack_bits(run),)
        if self.kind == "bf16":
            return (to_bfloat16(run.float()),)
        return to_integers(run.float(), 4 if self.kind == "int4" else 8)

    def decode(self, *parts: Tensor) -> Tensor:
        count = self.shape.numel()
        if self.kind == "bits":
            run = unpack_bits(parts[0], count)
        elif self.kind == "bf16":
            run = parts[0]
        else:
            run = from_integers(parts[0], parts[1], 4 if self.kind == "int4" else 8)[:count]
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        return run.to(self.dtype).reshape(self.shape).permute(inverse)


def pack_bits(mask: Tensor) -> Tensor:
    """(n,) bool to (n / 8,) uint8.

    Eight bytes of 0 or 1 are read as one integer. Multiplying it by a constant moves each byte to its bit of the
    highest byte.
    """
    if len(mask) % 8:
        mask = torch.nn.functional.pad(mask, (0, 8 - len(mask) % 8))
    elif mask.storage_offset() % 8:
        mask = mask.clone()
    return ((mask.view(torch.int64) * 0x0102040810204080) >> 56).to(torch.uint8)


def unpack_bits(packed: Tensor, count: int) -> Tensor:
    """The first `count` bits as bool, by a table that has the eight bits of each byte.

    The table is computed on the device: a copy from the host would end the capture of a CUDA graph.
    """
    bytes_, places = (torch.arange(count, dtype=torch.uint8, device=packed.device) for count in (256, 8))
    table = ((bytes_[:, None] >> places) & 1).view(torch.int64).reshape(256)
    return table.index_select(0, packed.int()).view(torch.bool)[:count]


def to_bfloat16(run: Tensor) -> Tensor:
    """float32 to one of the two nearest bfloat16 numbers, chosen at random."""
    if run.is_meta:
        return run.bfloat16()
    noise = torch.empty(run.shape, dtype=torch.int32, device=run.device)
    noise.random_(0, 2**16, generator=_generator(run.device))
    rounded = ((run.view(torch.int32) + noise) & ~0xFFFF).view(torch.float32)
    return torch.where(run.isfinite(), rounded, run).bfloat16()


def to_integers(run: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(n,) float32 to (groups, GROUP bits / 8) uint8 and (groups, 2) float32: minimum and step."""
    groups = torch.nn.functional.pad(run[None], (0, GROUP - 1 - (len(run) - 1) % GROUP), mode="replicate")[0].reshape(
        -1, GROUP
    )
    least, most = groups.aminmax(dim=1, keepdim=True)
    step = (most - least) / (2**bits - 1)
    if run.is_meta:
        noise = torch.empty_like(groups)
    else:
        noise = torch.rand(groups.shape, device=run.device, generator=_generator(run.device))
    levels = ((groups - least) / step.clamp_min(torch.finfo(step.dtype).tiny)).add_(noise).floor_()
    whole = levels.nan_to_num_(0.0).clamp_(0, 2**bits - 1).to(torch.uint8)
    if bits == 4:
        whole = whole[:, ::2] | (whole[:, 1::2] << 4)
    return whole, torch.cat((least, step), 1)


def from_integers(whole: Tensor, scales: Tensor, bits: int) -> Tensor:
    """The inverse of `to_integers`: 1-D float32, up to the end of the last group."""
    if bits == 4:
        whole = torch.stack((whole & 15, whole >> 4), 2).reshape(len(whole), GROUP)
    least, step = scales.split(1, 1)
    return torch.addcmul(least, whole.to(step.dtype), step).reshape(-1)
