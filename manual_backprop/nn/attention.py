"""Multi-head attention. Here the "twin" of a class is the class of torch.nn that it extends."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from .. import functional as F
from ..engine.torch_private import in_forward_mode, transforms_active
from ..functional._axes import alike
from .dropout import Dropout
from .linear import Linear, NonDynamicallyQuantizableLinear
from .normalization import LayerNorm

_Class = TypeVar("_Class", bound=type[torch.nn.Module])

PARTS: dict[type, type] = {
    torch.nn.Dropout: Dropout,
    torch.nn.LayerNorm: LayerNorm,
    torch.nn.Linear: Linear,
    torch.nn.modules.linear.NonDynamicallyQuantizableLinear: NonDynamicallyQuantizableLinear,
}
"""Layers that torch's constructors create inside other layers -> our layers that replace them."""


def of_our_parts(cls: _Class) -> _Class:
    """The class with the twin's constructor, after which the layers that it created become ours.

    Layers that were passed to the constructor stay as they are. The class itself is added to PARTS.
    """
    twin = cls.__mro__[1]
    build: Callable[..., None] = vars(twin)["__init__"]

    @functools.wraps(build)
    def __init__(self: torch.nn.Module, *args: object, **kwargs: object) -> None:
        build(self, *args, **kwargs)
        for child in self.children():
            if not any(child is given for given in (*args, *kwargs.values())):
                for part in child.modules():
                    part.__class__ = PARTS.get(type(part), type(part))

    cls.__init__ = __init__  # type: ignore[method-assign]
    PARTS[twin] = cls
    return cls


def left_to_the_twin(module: torch.nn.Module, *inputs: Tensor | None) -> bool:
    """Whether to run torch's own forward, with its fast paths: in evaluation, where no derivative is needed.

    Also for nested tensors, which only torch's fast paths support.
    """
    tensors = [tensor for tensor in inputs if tensor is not None]
    if any(tensor.is_nested for tensor in tensors):
        return True
    if module.training:
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*tensors, *module.parameters())):
        return False
    if torch.compiler.is_compiling():
        return True
    return not transforms_active() and not in_forward_mode()


@of_our_parts
class MultiheadAttention(torch.nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with the explicit backward of `mb.rules.Heads`, ScaledDotProductAttention and Linear.

    Without `need_weights` the attention weights (N, H, L, S) are not saved for the backward; dropout saves its mask.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        options = key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        if left_to_the_twin(self, query, key, value, key_padding_mask, attn_mask):
            return super().forward(query, key, value, *options)
        swapped = self.batch_first and query.dim() == 3
        if swapped:
            query, key, value = alike(lambda t: F.transpose(t, 0, 1), query, key, value)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=self.in_proj_weight is None,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return F.transpose(output, 0, 1) if swapped else output, weights
