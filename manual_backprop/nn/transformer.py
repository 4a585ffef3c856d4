"""Transformers: layers of attention and a feed-forward network, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from ..functional._masks import additive
from ._together import activated_linear, add_norm
from .attention import left_to_the_twin, of_our_parts

OURS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    torch.nn.functional.relu: F.relu,
    torch.nn.functional.gelu: F.gelu,
}
"""In a file a layer has our function, as it has our classes: a script that lists what `torch.load` may find there by
names of this package lists all. In memory a layer has torch's, by which torch's fast paths know it."""
THEIRS = {ours: theirs for theirs, ours in OURS.items()}


def with_activation(state: Mapping[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """A layer's state with the function that stands for its activation; one that is a module is not in the state."""
    activation = state.get("activation")
    return {**state, "activation": names[activation]} if activation in names else dict(state)


@of_our_parts
class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """torch.nn.TransformerEncoderLayer on our layers: attention by `mb.rules.Heads`, residuals and norms by
    AddLayerNorm, the first Linear's bias and activation by BiasActivation."""

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if left_to_the_twin(self, src, src_mask, src_key_padding_mask):
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)
        padding = additive(src_key_padding_mask, "src_key_padding_mask", src.dtype, "src_mask", src_mask)
        mask = additive(src_mask, "src_mask", src.dtype)
        if self.norm_first:
            y, x = add_norm(self.norm2, src, self._sa_block(self.norm1(src), mask, padding, is_causal))
            return F.add(x, self._ff_block(y))
        x, _ = add_norm(self.norm1, src, self._sa_block(src, mask, padding, is_causal))
        return add_norm(self.norm2, x, self._ff_block(x))[0]

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(activated_linear(self.linear1, self.activation, x))))

    def __getstate__(self) -> dict[str, Any]:
        return with_activation(vars(self), OURS)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_activation(state, THEIRS))


@of_our_parts
class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    """torch.nn.TransformerDecoderLayer on our layers: attention by `mb.rules.Heads`, residuals and norms by
    AddLayerNorm, the first Linear's bias and activation by BiasActivation."""

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
            y, x = add_norm(self.norm2, tgt, self._sa_block(self.norm1(tgt), *own))
            y, x = add_norm(self.norm3, x, self._mha_block(y, *cross))
            return F.add(x, self._ff_block(y))
        x, _ = add_norm(self.norm1, tgt, self._sa_block(tgt, *own))
        x, _ = add_norm(self.norm2, x, self._mha_block(x, *cross))
        return add_norm(self.norm3, x, self._ff_block(x))[0]

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(activated_linear(self.linear1, self.activation, x))))

    def __getstate__(self) -> dict[str, Any]:
        return with_activation(vars(self), OURS)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_activation(state, THEIRS))


@of_our_parts
class TransformerEncoder(torch.nn.TransformerEncoder):
    """torch.nn.TransformerEncoder: calls its layers in order (`mb.rules.Heads` ...), with nested tensors where torch
    uses them."""


@of_our_parts
class TransformerDecoder(torch.nn.TransformerDecoder):
    """torch.nn.TransformerDecoder: calls its layers in order (`mb.rules.Heads` ...)."""


@of_our_parts
class Transformer(torch.nn.Transformer):
    """torch.nn.Transformer with our encoder and decoder (`mb.rules.Heads` ...); custom ones stay as they are."""
