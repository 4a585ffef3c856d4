"""Packing padded sequences of different lengths: PackPaddedSequence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from ..engine.rule import Rule


class PackPaddedSequence(Rule):
    """y: of each step the rows of those sequences that have not ended, one step behind the other

    input (T, N, *), or (N, T, *) with batch_first   lengths (N), descending   output, delta (sum of lengths, *)
    batch_sizes (longest): the number of rows of each step

    delta_input = delta, each row where it was, and zeros behind the end of each sequence

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying is copying back.
    """

    results = ("output", "batch_sizes")

    def forward(input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(input, lengths, batch_first)
        return packed.data, packed.batch_sizes

    def delta_input(delta: Tensor, batch_sizes: Tensor, batch_first: bool, input_shape: torch.Size) -> Tensor:
        steps, rows = input_shape[1::-1] if batch_first else input_shape[:2]
        there = torch.arange(rows) < batch_sizes.unsqueeze(1)
        places = there.flatten().nonzero().squeeze(1).to(delta.device)
        padded = delta.new_zeros(steps * rows, *input_shape[2:]).index_copy(0, places, delta)
        padded = padded.reshape(steps, rows, *input_shape[2:])
        return padded.transpose(0, 1) if batch_first else padded

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return PackPaddedSequence.forward(tangents[0], *inputs[1:])[0], None
