"""Dropping elements or whole channels at random: Dropout, AlphaDropout. The mask is saved, one byte per random draw.

With the same seed the masks equal torch's: they are drawn as by `bernoulli_`, and on CUDA as by torch's fused dropout
(unless the dropout is in place).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.torch_private import transforms_active

SATURATION = 1.7580993408473766
"""lambda alpha of SELU: minus the limit of SELU(x) for x to -infinity."""


def draw(input: Tensor, p: float, mask_shape: tuple[int, ...] | None) -> Tensor:
    """A mask that is False with probability p; with the input's shape and memory layout if mask_shape is None."""
    if p == 1:
        return torch.zeros(input.shape if mask_shape is None else mask_shape, dtype=torch.bool, device=input.device)
    # torch draws in the input's dtype; only float64 on CUDA gives other draws than the other dtypes
    dtype = torch.float64 if input.is_cuda and input.dtype == torch.float64 else torch.bool
    if not transforms_active():
        mask = torch.empty_like(input, dtype=dtype) if mask_shape is None else input.new_empty(mask_shape, dtype=dtype)
        mask = mask.bernoulli_(1 - p)
        return mask if dtype == torch.bool else mask.bool()
    # not in place: with vmap(randomness="different") each sample draws its own mask
    shape = input.shape if mask_shape is None else mask_shape
    return torch.bernoulli(torch.empty(shape, dtype=dtype, device=input.device), 1 - p).bool()


class Dropout(Rule):
    """y = noise x,   noise = 1 / (1 - p) where the mask is set, else 0;   the mask is set with probability 1 - p

    input, output, delta (*)   mask (*), or (N, C, 1, ...) where whole channels are dropped

    delta_input = noise delta

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"; whole channels:
    Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks".
    """

    results = "output", "mask"
    elementwise = True
    cheap = True

    def forward(input: Tensor, p: float, mask_shape: tuple[int, ...] | None) -> tuple[Tensor, Tensor]:
        if input.is_cuda and mask_shape is None and p < 1:
            return torch.native_dropout(input, p, True)
        mask = draw(input, p, mask_shape)
        return choose(Dropout.delta_input)(input, mask, p), mask

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        return Dropout.delta_input, (inputs[0], output[1], inputs[1])

    def delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
        if p == 1:
            return delta * 0.0
        return delta * (mask * (delta.new_ones(()) / (1 - p)))


class AlphaDropout(Rule):
    """y = a x + b where the mask is set, else -a s + b;   a = 1 / sqrt((s² p + 1) (1 - p)),   b = a s p,   s = 1.758...

    input, output, delta (*)   mask (*), or (N, C, 1, ...) where whole channels are dropped

    delta_input = a delta where the mask is set, else 0

    Dropped elements take SELU's limit for x to -infinity; a and b restore mean 0 and variance 1.

    Source: Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-Normalizing Neural Networks".
    """

    results = "output", "mask"
    elementwise = True

    def forward(input: Tensor, p: float, mask_shape: tuple[int, ...] | None) -> tuple[Tensor, Tensor]:
        mask = draw(input, p, mask_shape)
        if p == 1:  # as in torch: everything is 0, without the shift b
            return input * 0.0, mask
        return choose(AlphaDropout.output)(input, mask, p), mask

    def output(input: Tensor, mask: Tensor, p: float) -> Tensor:
        return choose(AlphaDropout.delta_input)(input, mask, p) + AlphaDropout.shift(mask, p, input.dtype)

    def shift(mask: Tensor, p: float, dtype: torch.dtype) -> Tensor:
        """b where the mask is set, else b - a s."""
        step = SATURATION * alpha_scale(p)
        return (mask.to(dtype) - 1) * step + step * p

    def delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
        return delta * (mask * (delta.new_ones(()) * alpha_scale(p)))


def alpha_scale(p: float) -> float:
    """a of `AlphaDropout`; 0 where everything is dropped."""
    return 1 / math.sqrt((SATURATION * SATURATION * p + 1) * (1 - p)) if p < 1 else 0.0
