"""Rows of attention over sequences of various lengths. torch's function runs on GPUs only, so these rows have no twin;
tests/test_varlen.py compares with torch's attention of each sequence."""

from typing import Any

import torch

import manual_backprop as mb

from ..case import Case, Spec, constant, normal

ENDS = constant(torch.tensor([0, 2, 5], dtype=torch.int32))
KEY_ENDS = constant(torch.tensor([0, 3, 6], dtype=torch.int32))
TRACED = {
    "layouts": "expanded offsets are all equal, so no sequence is left",
    "compiled": "where sequences end depends on the values of a tensor",
    "transforms": "the values of a tensor cannot be read in a transform",
}


def row(name: str, *inputs: Spec, **options: Any) -> Case:
    def run(*args: Any) -> torch.Tensor:
        query, key, value, *ends = args
        return mb.functional.varlen_attn(query, key, value, ends[0], ends[1], 3, 3, **options)

    return Case(name, lambda: run, None, inputs, without=TRACED)


CASES = [
    row("varlen_attn", normal(5, 2, 4), normal(6, 2, 4), normal(6, 2, 4), ENDS, KEY_ENDS),
    row("varlen_attn-causal", normal(5, 2, 4), normal(5, 2, 4), normal(5, 2, 4), ENDS, ENDS, window_size=(-1, 0)),
    row("varlen_attn-gqa", normal(5, 2, 4), normal(5, 1, 4), normal(5, 1, 4), ENDS, ENDS, enable_gqa=True, scale=0.3,
        window_size=(1, 1)),
]  # fmt: skip
