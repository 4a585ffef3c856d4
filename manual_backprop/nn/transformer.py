"""Transformers: layers of attention and of a network for each token, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import _canonical_mask, _none_or_dtype

from .. import functional as F
from ..explicit import TABLE, explicit
from .attention import left_to_the_twin, of_our_parts


@of_our_parts
class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """torch.nn.TransformerEncoderLayer on our layers: attention by `mb.rules.Heads`, residuals by Add."""

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if left_to_the_twin(self, src, src_mask, src_key_padding_mask):
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)
        padding = _canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", _none_or_dtype(src_mask), "src_mask", src.dtype
        )
        mask = _canonical_mask(src_mask, "src_mask", None, "", src.dtype, check_other=False)
        if self.norm_first:
            x = F.add(src, self._sa_block(self.norm1(src), mask, padding, is_causal))
            return F.add(x, self._ff_block(self.norm2(x)))
        x = self.norm1(F.add(src, self._sa_block(src, mask, padding, is_causal)))
        return self.norm2(F.add(x, self._ff_block(x)))

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(activated(self.activation, self.linear1(x)))))


@of_our_parts
class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    """torch.nn.TransformerDecoderLayer on our layers: attention by `mb.rules.Heads`, residuals by Add."""

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        cross = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        if self.norm_first:
            x = F.add(tgt, self._sa_block(self.norm1(tgt), *own))
            x = F.add(x, self._mha_block(self.norm2(x), *cross))
            return F.add(x, self._ff_block(self.norm3(x)))
        x = self.norm1(F.add(tgt, self._sa_block(tgt, *own)))
        x = self.norm2(F.add(x, self._mha_block(x, *cross)))
        return self.norm3(F.add(x, self._ff_block(x)))

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(activated(self.activation, self.linear1(x)))))


@of_our_parts
class TransformerEncoder(torch.nn.TransformerEncoder):
    """torch.nn.TransformerEncoder: its layers in turn (`mb.rules.Heads` ...), nested tensors where torch makes them."""


@of_our_parts
class TransformerDecoder(torch.nn.TransformerDecoder):
    """torch.nn.TransformerDecoder: its layers in turn (rules: `mb.rules.Heads` ...)."""


@of_our_parts
class Transformer(torch.nn.Transformer):
    """torch.nn.Transformer of our encoder and decoder (`mb.rules.Heads` ...); a custom one stays as it is."""


def activated(activation: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """torch's own function on its rule, any other callable with its torch calls on theirs."""
    if activation in TABLE:
        return TABLE[activation](input)
    with explicit():
        return activation(input)
