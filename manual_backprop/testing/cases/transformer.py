"""Rows of multi-head attention and of the layers that contain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import manual_backprop as mb

from ..case import INFINITE, Case, Spec, constant
from ..case import normal as gaussian
from ._make import layer
from .attention import SUMS


def normal(*shape: int) -> Spec:
    """Special values are only NaN and infinities: equal keys or values give gradients that are 0 up to rounding."""
    return replace(gaussian(*shape), specials=INFINITE)


def finite(*shape: int) -> Spec:
    """No special values: torch's fused forward mistakes a query with NaN for one whose keys are all hidden."""
    return replace(gaussian(*shape), specials=())


QUERY, KEY, VALUE = finite(3, 2, 4), finite(5, 2, 4), finite(5, 2, 4)
HEADS = (QUERY, KEY, VALUE)
LINES = (finite(3, 4), finite(5, 4), finite(5, 4))
NONE, NO = constant(None), constant(False)
HIDDEN = constant(torch.tensor([[False, False, False, True, True], [False] * 5]))
UNSEEN = constant(torch.tensor([[True, False, True, False, True], [False] * 5, [False, True, False, False, True]]))
LATER = constant(torch.ones(3, 3).triu(1).bool())
SAME = {"forward": SUMS}
CUT = {"without": {"empty": "the check makes the weights empty, too; both refuse them, with different errors"}}
NOBODY = {"without": {"empty": "torch cannot reshape the padding of a batch of size zero, ours can"}}
PARTS = {
    "without": dict.fromkeys(
        ("gradgradcheck", "forward_mode"), "takes half a minute and repeats the rows of encoder and decoder"
    )
}


def attention(*inputs: Spec, tag: str = "", row: dict | None = None, train: bool = True, **kwargs: Any) -> Case:
    return layer("MultiheadAttention", 4, 2, inputs=inputs, tag=tag, row=row, train=train, **kwargs)


def encoder_layer(*inputs: Spec, tag: str = "", row: dict | None = None, train: bool = True, **kwargs: Any) -> Case:
    kwargs.setdefault("dropout", 0.0)
    return layer("TransformerEncoderLayer", 4, 2, 3, inputs=inputs, tag=tag, row=row, train=train, **kwargs)


def stack(name: str, inner: str, inputs: tuple[Spec, ...]) -> Case:
    """Two layers and a norm, small: the time of second-order checks grows with the square of the parameters."""

    def make(namespace: Any) -> Any:
        one = getattr(namespace, inner)(3, 1, 1, 0.0, norm_first=True, bias=False)
        options = {"enable_nested_tensor": False} if name == "TransformerEncoder" else {}
        return getattr(namespace, name)(one, 2, namespace.LayerNorm(3), **options)

    return Case(f"{name}-2", partial(make, mb.nn), partial(make, torch.nn), inputs)


def projection(
    tag: str, *inputs: Spec, same: Callable[..., tuple] | None = None, row: dict | None = None, **kwargs: Any
) -> Case:
    """The function by itself; `same` makes query, key, value and the static keys and values from the first inputs."""

    def make(namespace: Any) -> Callable[..., Any]:
        def run(*tensors: Any) -> Any:
            *given, weight, bias, out_weight, out_bias = tensors
            query, key, value, *static = same(*given) if same is not None else given
            options = {"bias_k": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0, **kwargs}
            options |= dict(zip(("static_k", "static_v"), static, strict=False))
            return namespace.multi_head_attention_forward(
                query, key, value, 4, 2, weight, bias, out_proj_weight=out_weight, out_proj_bias=out_bias, **options
            )

        return run

    weights = (finite(12, 4), finite(12), finite(4, 4), finite(4))
    return Case(
        f"multi_head_attention_forward-{tag}",
        partial(make, mb.functional),
        partial(make, torch.nn.functional),
        (*inputs, *weights),
        **(row or {}),
    )


CASES = [
    attention(
        normal(3, 2, 4),
        normal(5, 2, 4),
        normal(5, 2, 4),
        row={"larger": (finite(7, 3, 4), finite(9, 3, 4), finite(9, 3, 4))},
    ),
    attention(*HEADS, NONE, NO, tag="no-weights"),
    attention(*HEADS, NONE, constant(True), NONE, NO, tag="weights-of-each-head"),
    attention(*HEADS, bias=False),
    attention(finite(2, 3, 4), finite(2, 5, 4), finite(2, 5, 4), batch_first=True),
    attention(finite(2, 3, 4), finite(2, 5, 4), finite(2, 5, 4), NONE, NO, batch_first=True, tag="no-weights"),
    attention(QUERY, finite(5, 2, 3), finite(5, 2, 6), kdim=3, vdim=6),
    attention(QUERY, finite(5, 2, 3), finite(5, 2, 6), NONE, NO, kdim=3, vdim=6, bias=False, tag="no-weights"),
    attention(*HEADS, HIDDEN, constant(True), UNSEEN, add_bias_kv=True, add_zero_attn=True, tag="masks"),
    attention(*HEADS, HIDDEN, NO, UNSEEN, add_bias_kv=True, add_zero_attn=True, tag="masks-no-weights"),
    attention(*HEADS, HIDDEN, NO, tag="padding"),
    attention(*HEADS, finite(2, 5), NO, tag="added-padding", row=SAME),
    attention(*HEADS, finite(2, 5), constant(True), finite(4, 3, 5), tag="added-masks"),
    attention(*HEADS, finite(2, 5), NO, finite(3, 5), tag="added-masks-no-weights", row=SAME),
    attention(*HEADS, NONE, constant(True), finite(3, 5), tag="added-mask"),
    attention(QUERY, QUERY, QUERY, NONE, NO, LATER, constant(True), constant(True), tag="causal"),
    attention(QUERY, QUERY, QUERY, NONE, constant(True), LATER, constant(True), constant(True), tag="causal-weights"),
    attention(*LINES, constant(torch.tensor([False, True, False, False, False])), tag="unbatched"),
    attention(*LINES, NONE, NO, finite(2, 3, 5), tag="unbatched-mask", row=SAME),
    attention(*HEADS, dropout=0.4),
    attention(*HEADS, NONE, NO, dropout=0.4, tag="no-weights", row=SAME),
    attention(*HEADS, dropout=0.4, train=False),
    projection("self", finite(3, 2, 4), same=lambda x: (x, x, x)),
    projection("self-no-weights", finite(3, 2, 4), same=lambda x: (x, x, x), need_weights=False),
    projection("cross", QUERY, KEY, same=lambda x, y: (x, y, y)),
    projection("static", *HEADS, finite(4, 6, 2), finite(4, 6, 2), row=CUT),
    encoder_layer(normal(3, 2, 4), row={"larger": (finite(7, 3, 4),)}),
    encoder_layer(QUERY, norm_first=True, activation="gelu", bias=False),
    encoder_layer(QUERY, activation=torch.tanh),
    encoder_layer(finite(2, 5, 4), NONE, HIDDEN, batch_first=True, tag="padding", row=NOBODY),
    encoder_layer(finite(2, 5, 4), NONE, HIDDEN, batch_first=True, tag="padding", train=False, row=NOBODY),
    encoder_layer(QUERY, LATER, NONE, constant(True), tag="causal"),
    encoder_layer(finite(3, 4), tag="unbatched"),
    encoder_layer(QUERY, dropout=0.3, row=SAME),
    layer("TransformerDecoderLayer", 4, 2, 1, 0.0, inputs=(finite(2, 1, 4), finite(3, 1, 4)), bias=False),
    layer("TransformerDecoderLayer", 4, 2, 3, 0.0, inputs=(QUERY, KEY)),
    layer("TransformerDecoderLayer", 4, 2, 3, 0.3, inputs=(QUERY, KEY), norm_first=True, row=SAME),
    layer("TransformerDecoderLayer", 4, 2, 3, 0.0, inputs=(QUERY, KEY, LATER, NONE, NONE, HIDDEN), tag="masks"),
    stack("TransformerEncoder", "TransformerEncoderLayer", (finite(3, 1, 3),)),
    stack("TransformerDecoder", "TransformerDecoderLayer", (finite(3, 1, 3), finite(2, 1, 3))),
    layer("Transformer", 4, 2, 1, 1, 3, 0.0, inputs=(finite(2, 5, 4), finite(2, 3, 4)), batch_first=True, row=PARTS),
]
