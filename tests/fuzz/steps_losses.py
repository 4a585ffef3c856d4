"""Steps: losses, with every reduction."""

from __future__ import annotations

from .draft import Draft
from .steps_layers import joined

PAIRS = {
    "mse_loss": ("MSELoss", ("",)),
    "l1_loss": ("L1Loss", ("",)),
    "smooth_l1_loss": ("SmoothL1Loss", ("", "beta=0.3", "beta=0.0")),
    "huber_loss": ("HuberLoss", ("", "delta=0.4")),
    "hinge_embedding_loss": ("HingeEmbeddingLoss", ("", "margin=0.3")),
    "poisson_nll_loss": ("PoissonNLLLoss", ("", "log_input=True")),
    "kl_div": ("KLDivLoss", ("", "log_target=True")),
}


def reduced(d: Draft) -> str:
    return str(d.one_of("reduction='mean'", "reduction='sum'", "reduction='none'", "reduction='none'"))


def pair_loss(d: Draft) -> None:
    value = d.pick()
    name = d.one_of(*PAIRS)
    module, options = PAIRS[name]
    options = d.one_of(*options)
    kind = "uniform" if name == "kl_div" and not options else "normal"
    valued = kind == "uniform" or d.chance(0.7)  # a negative target has no logarithm
    target = d.new(d.shape(value), kind) if valued else d.other(d.shape(value))
    how = d.one_of("reduction='batchmean'", reduced(d)) if name == "kl_div" else reduced(d)
    if d.chance(0.4):
        d.layer(f"nn.{module}({joined(how, options)})", value, target, call="{m}({0}, {1})")
        return
    weighted = name in ("mse_loss", "l1_loss", "huber_loss") and d.chance(0.3)
    at = (value, target, d.new(d.shape(value), "uniform", grad=False)) if weighted else (value, target)
    d.add(f"F.{name}({joined('{0}, {1}', 'weight={2}' if weighted else '', how, options)})", *at)


def binary(d: Draft) -> None:
    value = d.pick()
    shape = d.shape(value)
    target = d.new(shape, "uniform")
    weight = d.new(d.one_of(shape, shape[-1:]), "uniform", grad=False)
    options = d.one_of("", "", "weight={2}")
    if d.chance(0.5) and not d.smooth:  # in the second derivative torch adds 1e-12
        # a probability that rounds to 1 has no digits left in 1 - p
        code = "F.binary_cross_entropy(F.sigmoid({0}.clamp(-4, 4)), {1}, "
    else:
        code, options = "F.binary_cross_entropy_with_logits({0}, {1}, ", d.one_of(options, "pos_weight={2}")
    d.add(f"{code}{joined(reduced(d), options)})", value, target, weight)


def classes(d: Draft) -> None:
    value = d.with_axes(1, 4)
    shape = d.shape(value)
    axis = 1 if len(shape) > 1 else 0
    count = shape[axis]
    rest = shape[:axis] + shape[axis + 1 :]
    weight = d.new((count,), "uniform", grad=False)
    options = joined(d.one_of("", "weight={2}"), d.one_of("", "ignore_index=0"), reduced(d))
    smoothing = d.one_of("", "label_smoothing=0.2")
    if d.chance(0.2):
        target = d.new(shape, "uniform")
        options = options.replace("ignore_index=0, ", "")
        d.add(f"F.cross_entropy({joined('{0}, {1}', options, smoothing)})", value, target, weight)
        return
    target = d.new(rest, "integers", high=count)
    if d.chance(0.3):
        d.add(f"F.nll_loss({joined(f'F.log_softmax({{0}}, {axis}), {{1}}', options)})", value, target, weight)
    elif len(shape) == 2 and d.chance(0.2):
        linear = d.other((d.size(), count))
        target = d.new(rest, "integers", high=d.shape(linear)[0])
        d.add(f"F.linear_cross_entropy({joined('{0}, {1}, {2}', reduced(d), smoothing)})", value, linear, target)
    elif "{2}" not in options and d.chance(0.5):
        d.layer(f"nn.CrossEntropyLoss({joined(options, smoothing)})", value, target, call="{m}({0}, {1})")
    else:
        d.add(f"F.cross_entropy({joined('{0}, {1}', options, smoothing)})", value, target, weight)
