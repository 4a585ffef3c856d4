"""Multi-head attention, with torch's signature."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .. import rules
from ..engine.torch_private import check_attention_shapes
from ._axes import alike
from ._call import call, expand
from ._errors import check_tensors
from ._masks import additive
from .arithmetic import add, cat, matmul, mean
from .attention import _attention
from .dropout import dropout
from .linear import linear
from .padding import pad
from .shape import permute, reshape
from .softmax import softmax


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Output projection of the heads' attention, and its weights, as torch.nn.functional.multi_head_attention_forward.

    query (L, N, E) or (L, E), key and value (S, N, *) or (S, *)   output as query   weights (N, L, S), for each head
    (N, H, L, S), or None   attn_mask (L, S) or (N H, L, S), key_padding_mask (N, S): bool (True: hidden) or added.
    Rules between the projections: `mb.rules.Heads`, then that of `scaled_dot_product_attention`; with need_weights,
    `mb.rules.AttentionScores` and those of softmax, dropout and matmul.
    Raises AssertionError or RuntimeError, as torch does, for shapes that do not fit and is_causal without attn_mask.
    """
    check_tensors("multi_head_attention_forward", query=query, key=key, value=value)
    batched = check_attention_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = alike(lambda t: reshape(t, (t.shape[0], 1, t.shape[1])), query, key, value)
        if key_padding_mask is not None:
            key_padding_mask = reshape(key_padding_mask, (1, *key_padding_mask.shape))
    rows, batch, features = query.shape
    padding = additive(key_padding_mask, "key_padding_mask", query.dtype, "attn_mask", attn_mask)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = additive(attn_mask, "attn_mask", query.dtype)
        is_causal = False
    _check_features(features, embed_dim_to_check, num_heads)

    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, separate, in_proj_bias, num_heads)
    if attn_mask is not None:
        attn_mask = _for_each_head(attn_mask, batch, num_heads, rows, key.shape[0])
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        k, v = (cat([t, _repeated(bias, t)], 2) for t, bias in ((k, bias_k), (v, bias_v)))
        attn_mask, padding = _seen(attn_mask), _seen(padding)
    elif bias_k is not None or bias_v is not None:
        raise AssertionError("got: only one of bias_k and bias_v. expected: both or none")
    k, v = _static(static_k, k, "static_k"), _static(static_v, v, "static_v")
    if add_zero_attn:
        k, v = (cat([t, t.new_zeros((*t.shape[:2], 1, t.shape[3]))], 2) for t in (k, v))
        attn_mask, padding = _seen(attn_mask), _seen(padding)
    if padding is not None:
        if padding.shape != (batch, k.shape[2]):
            raise AssertionError(
                f"Expected key_padding_mask of shape {(batch, k.shape[2])}, (N, S), but got {tuple(padding.shape)}"
            )
        padding = reshape(padding, (batch, 1, 1, k.shape[2]))
        attn_mask = padding if attn_mask is None else add(attn_mask, padding)

    p, weights = dropout_p if training else 0.0, None
    if need_weights:
        scores = call(rules.AttentionScores, q, k, attn_mask, math.sqrt(1.0 / q.shape[-1]))
        weights = softmax(scores, -1)
        if p > 0:
            weights = dropout(weights, p)
        attended = matmul(weights, v)
        if average_attn_weights:
            weights = mean(weights, 1)
    else:
        seen = static_k is not None or static_v is not None
        attended = _attention(q, k, v, attn_mask, p, is_causal, seen=seen)
    joined = reshape(permute(attended, (2, 0, 1, 3)), (rows, batch, features))
    output = linear(joined, out_proj_weight, out_proj_bias)
    if batched:
        return output, weights
    return reshape(output, (rows, output.shape[2])), None if weights is None else reshape(weights, weights.shape[1:])


def _check_features(features: int, expected: int, heads: int) -> None:
    if features != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {features}")
    if features % heads:
        raise AssertionError(f"embed_dim {features} not divisible by num_heads {heads}")


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None, separate: tuple | None, bias: Tensor | None,
    heads: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The heads of query, key and value; inputs that are the same tensor share one matmul."""
    features = query.shape[-1]
    thirds = features, features, features
    if separate is None:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        if len(weight) != 3 * features:
            raise RuntimeError(
                f"in_proj_weight has the wrong number of rows. got: {len(weight)}. expected: 3 E = {3 * features}, for "
                "q, k and v"
            )
        if query is key and key is value:
            return call(rules.Heads, linear(query, weight, bias), 3, heads)
        if key is value:
            sizes = features, 2 * features
            one, both = zip(_cut(weight, sizes), _cut(bias, sizes), strict=True)
            (q,) = call(rules.Heads, linear(query, *one), 1, heads)
            return q, *call(rules.Heads, linear(key, *both), 2, heads)
        weights = _cut(weight, thirds)
    else:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        _check_weights(separate, query, key, value)
        weights = separate
    inputs = zip((query, key, value), weights, _cut(bias, thirds), strict=True)
    return tuple([call(rules.Heads, linear(*each), 1, heads)[0] for each in inputs])


def _check_weights(weights: tuple, *inputs: Tensor) -> None:
    for letter, name, weight, input in zip("qkv", ("query", "key", "value"), weights, inputs, strict=True):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {letter}_proj_weight is None")
        expected = inputs[0].shape[-1], input.shape[-1]
        if weight.shape != expected:
            raise AssertionError(f"expecting {name} weights shape of {expected}, but got {weight.shape}")


def _cut(tensor: Tensor | None, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    return (None,) * len(sizes) if tensor is None else tensor.split(sizes)


def _for_each_head(mask: Tensor, batch: int, heads: int, rows: int, keys: int) -> Tensor:
    """(L, S) or (N H, L, S) as (1, 1, L, S) or (N, H, L, S)."""
    expected = (rows, keys) if mask.dim() == 2 else (batch * heads, rows, keys)
    if mask.shape != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}: "
            f"{'(L, S)' if mask.dim() == 2 else '(N * num_heads, L, S)'}."
        )
    return reshape(mask, (1, 1, rows, keys) if mask.dim() == 2 else (batch, heads, rows, keys))


def _seen(mask: Tensor | None) -> Tensor | None:
    """The mask with one more key at the end, which every query may attend to."""
    return None if mask is None else pad(mask, [0, 1])


def _repeated(bias: Tensor, heads: Tensor) -> Tensor:
    """One more key or value, (1, 1, H E), for each sample and head: (N, H, 1, E)."""
    (row,) = call(rules.Heads, bias if bias.dim() == 3 else reshape(bias, (1, 1, -1)), 1, heads.shape[1])
    return expand(row, (*heads.shape[:2], 1, heads.shape[3]))


def _static(given: Tensor | None, projected: Tensor, name: str) -> Tensor:
    """The keys or values that the caller gave, (N H, S, E); without them, the projected ones."""
    if given is None:
        return projected
    batch, heads, _, features = projected.shape
    if given.shape[0] != batch * heads or given.shape[2] != features:
        raise AssertionError(
            f"expecting {name} of shape ({batch * heads}, S, {features}), (N * num_heads, S, E), "
            f"but got {tuple(given.shape)}"
        )
    return reshape(given, (batch, heads, given.shape[1], features))
