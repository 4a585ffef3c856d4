"""Steps: layers, as modules and as functions."""

from __future__ import annotations

import math

import torch

from .draft import Draft, Reject, overlapping

# name of the function: the arguments of function and module, by name
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": ("",),
    "tanh": ("",),
    "elu": ("", "alpha=0.7", "alpha=-0.5"),
    "celu": ("", "alpha=0.75"),  # torch's backward rounds alpha to float32
    "selu": ("",),
    "silu": ("",),
    "mish": ("",),
    "hardswish": ("",),
    "leaky_relu": ("", "negative_slope=0.2", "negative_slope=-0.2"),
    "threshold": ("threshold=0.1, value=-1.0", "threshold=0.0, value=0.0"),
    "hardtanh": ("", "min_val=-0.5, max_val=2.0"),
    "rrelu": ("", "lower=0.1, upper=0.9", "lower=0.2, upper=0.2"),
    "relu6": ("",),
    "hardsigmoid": ("",),
    "sigmoid": ("",),
    "gelu": ("", "approximate='tanh'"),
    "softplus": ("", "beta=2.0, threshold=1.0"),
    "softsign": ("",),
    "tanhshrink": ("",),
    "logsigmoid": ("",),
    "hardshrink": ("", "lambd=0.1"),
    "softshrink": ("", "lambd=0.1"),
    "softmax": ("dim=-1", "dim=0"),
    "log_softmax": ("dim=-1", "dim=0"),
    "softmin": ("dim=-1",),
    "glu": ("", "dim=0"),
}
IN_PLACE = ("relu", "elu", "celu", "selu", "silu", "mish", "hardswish", "leaky_relu", "threshold", "hardtanh", "rrelu",
            "relu6", "hardsigmoid")  # fmt: skip
UNDERSCORE = ("relu", "elu", "celu", "selu", "leaky_relu", "threshold", "hardtanh", "rrelu")
METHODS = ("relu", "sigmoid", "tanh")
CLASSES = {
    "relu": "ReLU", "tanh": "Tanh", "elu": "ELU", "celu": "CELU", "selu": "SELU", "silu": "SiLU", "mish": "Mish",
    "hardswish": "Hardswish", "leaky_relu": "LeakyReLU", "threshold": "Threshold", "hardtanh": "Hardtanh",
    "rrelu": "RReLU", "relu6": "ReLU6", "hardsigmoid": "Hardsigmoid", "sigmoid": "Sigmoid", "gelu": "GELU",
    "softplus": "Softplus", "softsign": "Softsign", "tanhshrink": "Tanhshrink", "logsigmoid": "LogSigmoid",
    "hardshrink": "Hardshrink", "softshrink": "Softshrink", "softmax": "Softmax", "log_softmax": "LogSoftmax",
    "softmin": "Softmin", "glu": "GLU",
}  # fmt: skip


def joined(*arguments: str) -> str:
    return ", ".join(a for a in arguments if a)


def activation(d: Draft) -> None:
    name = d.one_of(*ACTIVATIONS)
    options = d.rng.choice(ACTIVATIONS[name])
    if name == "hardsigmoid" and d.dtype == torch.float64:  # torch's backward has 1 / 6 in float32
        raise Reject
    value = d.pick()
    d.random_numbers |= name == "rrelu"
    if d.chance(0.5):
        d.layer(f"nn.{CLASSES[name]}({options})", value)
    elif name in (*METHODS, "softmax", "log_softmax") and d.chance(0.5):
        d.add(d.one_of(f"{{0}}.{name}({options})", f"torch.{name}({joined('{0}', options)})"), value)
    else:
        options = joined(options, d.one_of("training=True", "") if name == "rrelu" else "")
        d.add(f"F.{name}({joined('{0}', options)})", value)


def activation_in_place(d: Draft) -> None:
    name = d.one_of(*IN_PLACE, "sigmoid", "tanh")
    if name == "hardsigmoid" and d.dtype == torch.float64:
        raise Reject
    value = d.writable()
    options = d.one_of(*ACTIVATIONS[name])
    d.random_numbers |= name == "rrelu"
    form = d.one_of("function", "module", "underscore", "method", "no_grad")
    if form == "module" and name in IN_PLACE:
        d.layer(f"nn.{CLASSES[name]}({joined(options, 'inplace=True')})", value)
        return
    options = joined(options, d.one_of("training=True", "") if name == "rrelu" else "")
    code = f"F.{name}({joined('{0}', options, 'inplace=True')})"
    if name in ("sigmoid", "tanh") or (form == "method" and name in METHODS):
        code = f"{{0}}.{name}_()"
    elif form in ("underscore", "no_grad") and name in UNDERSCORE:
        code = f"F.{name}_({joined('{0}', options)})"
    if form == "no_grad":
        d.add(f"with torch.no_grad(): {code}", value, makes=0)
    elif d.chance(0.5):
        d.add(code, value, makes=0)  # its result by the old name
    else:
        d.add(code, value)


def dropout(d: Draft) -> None:
    d.random_numbers = True
    p = d.one_of(0.5, 0.2, 0.0, 1.0)
    name = d.one_of("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
    least, most = {"Dropout1d": (2, 3), "Dropout2d": (3, 4), "Dropout3d": (4, 5), "FeatureAlphaDropout": (2, 5)}.get(
        name, (0, 5)
    )
    value = d.with_axes(least, most)
    inplace = d.one_of("", "inplace=True")
    if inplace and overlapping(d.tensor(value)):
        raise Reject
    if d.chance(0.5):
        d.layer(f"nn.{name}({joined(str(p), inplace)})", value)
    else:
        function = {"AlphaDropout": "alpha_dropout", "FeatureAlphaDropout": "feature_alpha_dropout"}.get(
            name, name.lower()
        )
        d.add(f"F.{function}({joined('{0}', str(p), 'training=True', inplace)})", value)


def linear(d: Draft) -> None:
    value = d.with_axes(1, 4)
    features, out = d.shape(value)[-1], d.size()
    if d.chance(0.5):
        d.layer(f"nn.Linear({features}, {out}{d.one_of('', ', bias=False')})", value)
        return
    weight, bias = d.other((out, features)), d.other((out,))
    d.add(d.one_of("F.linear({0}, {1}, {2})", "F.linear({0}, {1})"), value, weight, bias)


def bilinear(d: Draft) -> None:
    value = d.with_axes(1, 4)
    *rows, features = d.shape(value)
    second = d.other((*rows, d.size()))
    sizes = f"{features}, {d.shape(second)[-1]}, {d.size()}"
    d.layer(f"nn.Bilinear({sizes}{d.one_of('', ', bias=False')})", value, second, call="{m}({0}, {1})")


def prelu(d: Draft) -> None:
    if d.smooth and d.steps:
        raise Reject  # behind a ReLU its input has zeros
    value = d.pick()
    channels = d.shape(value)[1] if len(d.shape(value)) > 1 else 1
    if d.chance(0.5):
        d.layer(f"nn.PReLU({d.one_of(1, channels)})", value)
    else:
        d.add("F.prelu({0}, {1})", value, d.other((d.one_of(1, channels),)))


def convolution(d: Draft) -> None:
    value = d.with_axes(3, 5)
    axes = len(d.shape(value)) - 2
    if axes > 1 and d.chance(0.1):
        axes += 1  # unbatched
    channels = d.shape(value)[-axes - 1]
    transposed = d.one_of("", "", "Transpose")
    groups = d.one_of(1, 1, channels or 1)
    out = groups * d.one_of(1, 2, 3) if groups < 9 else groups
    options = joined(
        f"{channels}, {out}, {d.one_of(1, 3, 2)}",
        d.one_of("", "stride=2", "stride=3"),
        d.one_of("", "padding=1", "" if transposed else "padding='same'"),
        d.one_of("", "", "dilation=2"),
        f"groups={groups}" if groups > 1 else "",
        d.one_of("", "bias=False"),
        "" if transposed else d.one_of("", "", "padding_mode='circular'", "padding_mode='reflect'"),
    )
    if options.count("padding=") and options.count("stride") and "same" in options:
        raise Reject
    if d.chance(0.75) or groups > 1:
        d.layer(f"nn.Conv{transposed}{axes}d({options})", value)
        return
    kernel = (2,) * axes
    shape = (channels, out, *kernel) if transposed else (out, channels, *kernel)
    name = f"F.conv_transpose{axes}d" if transposed else f"F.conv{axes}d"
    d.add(name + "({0}, {1}, {2})", value, d.other(shape), d.other((out,)))


def norm(d: Draft) -> None:
    kind = d.one_of("layer", "batch", "group", "rms", "instance")
    if kind in ("layer", "rms"):
        value = d.with_axes(1, 5)
        shape = d.shape(value)
        normalized = shape[-d.one_of(1, 1, len(shape)) :]
        if d.smooth and math.prod(normalized) < 4:  # torch's second derivatives there are of rounding alone
            raise Reject
        if d.chance(0.6):
            name, options = ("LayerNorm", ("", "elementwise_affine=False", "bias=False"))
            if kind == "rms":
                name, options = "RMSNorm", ("", "eps=0.1", "elementwise_affine=False")
            d.layer(f"nn.{name}({joined(str(normalized), d.one_of(*options))})", value)
        elif kind == "rms":
            d.add(f"F.rms_norm({{0}}, {normalized}, {{1}}, 1e-5)", value, d.other(normalized))
        else:
            # differentiated twice, torch forgets a bias without a weight
            code = d.one_of("{1}, {2}", "{1}, None" if d.smooth else "None, {2}", "{1}, None")
            d.add(f"F.layer_norm({{0}}, {normalized}, {code})", value, d.other(normalized), d.other(normalized))
        return
    value = d.with_axes(2, 5)
    shape = d.shape(value)
    axes = max(1, len(shape) - 2)
    if 0 < math.prod(shape) < 4 * shape[1]:  # as few values have hardly a variance
        raise Reject
    if kind == "batch":
        options = d.one_of("", "affine=False", "track_running_stats=False", "momentum=None", "eps=0.1")
        d.layer(f"nn.BatchNorm{axes}d({joined(str(shape[1]), options)})", value)
    elif kind == "group":
        groups = math.gcd(shape[1], d.one_of(1, 2, 3, shape[1])) or 1
        d.layer(f"nn.GroupNorm({joined(f'{groups}, {shape[1]}', d.one_of('', 'affine=False'))})", value)
    else:
        d.layer(f"nn.InstanceNorm{axes}d({joined(str(shape[1]), d.one_of('', 'affine=True'))})", value)


def pool(d: Draft) -> None:
    value = d.with_axes(2, 5)
    axes = max(1, len(d.shape(value)) - d.one_of(2, 2, 1))
    if axes > 3:
        raise Reject
    kind = d.one_of("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
    if kind.startswith("Adaptive"):
        options = str(d.one_of(1, 2, 3))
    else:
        options = joined(
            str(d.one_of(2, 3, 1)),
            d.one_of("", "stride=1", "stride=2"),
            d.one_of("", "padding=1"),
            d.one_of("", "ceil_mode=True"),
            d.one_of("", "dilation=2") if kind == "MaxPool" else d.one_of("", "count_include_pad=False"),
        )
    if "dilation" in options and min(d.shape(value)[-axes:]) < 4:  # torch writes beyond its memory for an empty window
        raise Reject
    if d.chance(0.5):
        d.layer(f"nn.{kind}{axes}d({options})", value)
        return
    name = {"MaxPool": "max_pool", "AvgPool": "avg_pool"}.get(kind)
    name = name or ("adaptive_avg_pool" if "Avg" in kind else "adaptive_max_pool")
    d.add(f"F.{name}{axes}d({{0}}, {options})", value)
