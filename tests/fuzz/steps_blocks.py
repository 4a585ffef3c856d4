"""Steps: embeddings, attention, several layers together, shared and wrapped weights."""

from __future__ import annotations

import math

from torch import Tensor

from .draft import Draft, Reject, overlapping
from .steps_layers import joined


def embedding(d: Draft) -> None:
    count, width = d.size() + 2, d.size()
    value = d.new(d.one_of((5,), (2, 3), (4, 4), (0,)), "integers", high=count)
    options = d.one_of("", "scale_grad_by_freq=True", "padding_idx=0", "padding_idx=-1", "max_norm=0.5", "sparse=True")
    if d.limit > 20_000 and d.chance(0.5):
        value = d.new((128, 32), "integers", high=count)
        width = 8
    if d.chance(0.6):
        d.layer(f"nn.Embedding({joined(f'{count}, {width}', options)})", value)
    else:
        d.add(f"F.embedding({joined('{0}, {1}', options)})", value, d.other((count, width)))


def few_tokens(value: Tensor) -> bool:
    """Whether the scores of attention over any axis but the last would be small."""
    return 2 <= value.dim() <= 4 and max(value.shape[:-1]) <= 512


def attention(d: Draft) -> None:
    if d.chance(0.4):
        value = d.pick(few_tokens)
        *rest, width = d.shape(value)
        tokens = d.one_of(rest[-1], d.size())
        key = d.other((*rest[:-1], tokens, width))
        v = d.other((*rest[:-1], tokens, width))
        dropped = d.one_of("", "", "dropout_p=0.3")
        d.random_numbers |= bool(dropped)
        masks = ["", "is_causal=True", "attn_mask={3}"]
        options = joined(d.one_of(*masks), dropped, d.one_of("", "scale=0.3"))
        mask = d.new((rest[-1], tokens), d.one_of("normal", "mask")) if "{3}" in options else value
        d.add(f"F.scaled_dot_product_attention({joined('{0}, {1}, {2}', options)})", value, key, v, mask)
        return
    value = d.pick(lambda t: few_tokens(t) and t.dim() < 4)
    width = d.shape(value)[-1]
    heads = math.gcd(width, d.one_of(1, 2, 4)) or 1
    dropped = d.one_of("0.0", "0.0", "0.2")
    d.random_numbers |= dropped != "0.0"
    batch_first = d.one_of("", "batch_first=True")
    kind = d.one_of("MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer")
    if kind == "MultiheadAttention":
        code = f"nn.MultiheadAttention({joined(f'{width}, {heads}', f'dropout={dropped}', batch_first)})"
        weights = d.one_of("", ", need_weights=False")
        if d.chance(0.3):
            mask = d.new(2 * (d.shape(value)[-2 if batch_first or len(d.shape(value)) == 2 else 0],), "mask")
            d.layer(code, value, mask, call=f"{{m}}({{0}}, {{0}}, {{0}}, attn_mask=~{{1}}{weights})[0]")
            return
        other = d.one_of(value, d.other(d.shape(value)))
        result = d.one_of("[0]", "[0]", "[1]") if not weights else "[0]"
        d.layer(code, value, other, call=f"{{m}}({{0}}, {{1}}, {{1}}{weights}){result}")
        return
    options = joined(
        f"{width}, {heads}, {d.one_of(4, 8)}, {dropped}",
        d.one_of("", "activation='gelu'"),
        batch_first,
        d.one_of("", "norm_first=True"),
        d.one_of("", "", "bias=False"),
    )
    if kind.endswith("EncoderLayer"):
        code = f"nn.{kind}({options})"
        code = d.one_of(code, code, f"nn.TransformerEncoder({code}, 2)")
        if batch_first and len(d.shape(value)) == 3 and d.chance(0.3):
            mask = d.new(d.shape(value)[:2], "mask")
            d.layer(code, value, mask, call="{m}({0}, src_key_padding_mask=~{1})")
        else:
            d.layer(code, value)
    else:
        d.layer(f"nn.{kind}({options})", value, d.other(d.shape(value)), call="{m}({0}, {1})")


def two_as_one(d: Draft) -> None:
    """Rules that are two layers together; torch's side has them as two calls."""
    value = d.with_axes(1, 4)
    width = d.shape(value)[-1:]
    kind = d.one_of("bias_activation", *(() if d.smooth and width[0] < 4 else ("add_layer_norm", "add_rms_norm")))
    if kind == "bias_activation":
        name = d.one_of("relu", "gelu", "silu")
        # of a copy: torch keeps input + bias where ours keeps input
        d.add(f"F.bias_activation({{0}} * 1.0, {{1}} * 1.0, '{name}')", value, d.other(width))
        return
    at = value, d.other(d.shape(value)), d.other(width), d.other(width)
    code = f"F.add_layer_norm({{0}}, {{1}}, {width}, {{2}}, {{3}})"
    if kind == "add_rms_norm":
        code = f"F.add_rms_norm({{0}}, {{1}}, {width}, {{2}}, 1e-5)"
    d.add(d.one_of(f"F.mul(*{code})", f"{code}[0]"), *at)  # both results are of one node


def again(d: Draft) -> None:
    """A module that was called before: shared weights, statistics that go on."""
    called = [step for step in d.steps if step.module is not None and step.at]
    if not called:
        raise Reject
    step = d.rng.choice(called)
    value = d.pick(lambda t: tuple(t.shape) == d.shape(step.at[0]) and not overlapping(t))  # it may write into it
    d.add(step.code, value, *step.at[1:], module=step.module)


def block(d: Draft) -> None:
    """Several layers in a Sequential, as people write them; the first may be in place."""
    value = d.pick(lambda t: 1 <= t.dim() <= 4 and not overlapping(t))
    shape = d.shape(value)
    width = shape[-1]
    d.random_numbers = True
    activation = d.one_of(
        *("nn.ReLU()", "nn.ReLU(inplace=True)", "nn.GELU()", "nn.SiLU(inplace=True)", "nn.Tanh()"),
        *("nn.ELU(inplace=True)", "nn.LeakyReLU(0.1, inplace=True)", "nn.Hardswish(inplace=True)"),
    )
    drop = d.one_of("nn.Dropout(0.2)", "nn.Dropout(0.2, inplace=True)", "nn.AlphaDropout(0.1, inplace=True)")
    if len(shape) == 4 and d.chance(0.6):
        c = shape[1]
        layers = [f"nn.Conv2d({c}, {c}, 3, padding=1)", f"nn.BatchNorm2d({c})", activation, "nn.MaxPool2d(2)"]
        layers += [
            "nn.Dropout2d(0.2, inplace=True)",
            f"nn.Conv2d({c}, 2, 1)",
            "nn.AdaptiveAvgPool2d(1)",
            "nn.Flatten()",
        ]
    else:
        layers = [f"nn.Linear({width}, {width})", f"nn.LayerNorm({width})", activation, drop]
        layers += [f"nn.Linear({width}, 4)", activation, "nn.Flatten(0)"]
    d.layer(f"nn.Sequential({joined(*(layer if d.chance(0.75) else '' for layer in layers))})", value)


def wrapped(d: Draft) -> None:
    """Weights that are no plain parameters."""
    value = d.with_axes(1, 4)
    if max(d.shape(value)[-1], 1) > 64:
        raise Reject
    layer = f"nn.Linear({d.shape(value)[-1]}, {d.size()})"
    d.layer(
        d.one_of(
            f"nn.utils.parametrizations.weight_norm({layer})",
            f"nn.utils.parametrizations.spectral_norm({layer})",
            f"nn.utils.parametrizations.orthogonal({layer})",
            f"nn.utils.prune.l1_unstructured({layer}, 'weight', 2)",
        ),
        value,
    )


def recurrent(d: Draft) -> None:
    """A layer that stays torch's own."""
    value = d.pick(lambda t: t.dim() == 3 and t.shape[1] <= 16 and t.shape[2] <= 64)
    d.layer(
        f"nn.{d.one_of('GRU', 'LSTM')}({d.shape(value)[-1]}, {d.size()}, batch_first=True)", value, call="{m}({0})[0]"
    )
