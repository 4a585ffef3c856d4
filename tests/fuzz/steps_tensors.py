"""Steps: views, arithmetic, writing in place, and functions that only torch has."""

from __future__ import annotations

from .draft import Draft, Reject


def view(d: Draft) -> None:
    value = d.pick()
    shape = d.shape(value)
    if not shape:
        d.add(d.one_of("{0}.view(-1)", "{0}.unsqueeze(0)", "{0}.expand(3)", "{0}.detach()"), value)
        return
    i, j = d.axis(value), d.axis(value)
    size = shape[i]
    few = min(size, d.one_of(1, 2, 3))
    last = shape[-1]
    dot = "..., " if d.chance(0.5) else ""
    codes = [
        "{0}.view(-1)",
        "{0}.reshape(-1)",
        "{0}.flatten()",
        "F.flatten({0}, 1)",
        "{0}.flatten(0, 1)",
        f"F.transpose({{0}}, {i}, {j})",
        f"{{0}}.transpose({i}, {j})",
        f"F.permute({{0}}, {tuple(d.rng.sample(range(len(shape)), len(shape)))})",
        f"{{0}}[{dot}:{few}]",
        f"{{0}}[{dot}1:]",
        f"{{0}}[{dot}::2]",
        f"{{0}}.select({i}, {d.one_of(0, -1)})",
        f"{{0}}.narrow({i}, 0, {few})",
        f"{{0}}.unsqueeze({d.one_of(0, -1, i)})",
        "{0}.squeeze()",
        f"{{0}}.squeeze({i})",
        f"{{0}}.unsqueeze(0).expand({(d.one_of(2, 3), *shape)})",
        f"F.unflatten({{0}}, -1, (-1, {2 if last % 2 == 0 else 1}))",
        f"{{0}}.view({(*shape[:-1], 1, last)})",
        f"F.reshape({{0}}, {(last, -1) if last else shape})",
        "{0}.mT",
        f"{{0}}.movedim({i}, 0)",
        "{0}.view_as({0})",
        "{0}.contiguous()",
        "{0}.clone()",
        "{0}.detach()",
        f"{{0}}.diagonal(0, {i}, {j})",
        f"{{0}}.unfold({i}, {min(2, size)}, 1)",
        f"{{0}}.flip({i})",
        f"{{0}}.roll(1, {i})",
        "{0}[[0, 0]]",
        f"{{0}}.repeat_interleave(2, {i})",
        f"{{0}}.as_strided({shape}, {d.tensor(value).stride()})",
    ]
    code = d.one_of(*codes)
    if "[[0, 0]]" in code and not shape[0]:
        raise Reject
    d.add(code, value)


def parts(d: Draft) -> None:
    """Views of parts, all of them values."""
    value = d.pick(lambda t: t.dim() > 0)
    i = d.axis(value)
    size = d.shape(value)[i]
    if size % 2 == 0 and size:
        makes, code = 2, d.one_of(f"F.chunk({{0}}, 2, {i})", f"{{0}}.split({size // 2}, {i})")
    elif size in (2, 3):
        makes, code = size, f"{{0}}.unbind({i})"
    else:
        raise Reject
    d.add(code, value, makes=makes)


def arithmetic(d: Draft) -> None:
    """Two values, or one and a number; a residual connection where they are the same."""
    value, number = d.pick(), d.number()
    shape = d.shape(value)
    smaller = tuple(1 if d.chance(0.3) else size for size in shape)[d.rng.randint(0, len(shape)) :]
    other = d.other(d.one_of(shape, shape, smaller))
    code = d.one_of(
        "F.add({0}, {1})",
        "{0} + {1}",
        "F.mul({0}, {1})",
        "{0} * {1}",
        "F.sub({0}, {1})",
        "{0} - {1}",
        f"F.add({{0}}, {{1}}, alpha={number})",
        f"F.add({{0}}, {number})",
        f"{{0}} * {number}",
        f"F.mul({{0}}, {number})",
        f"{number} - {{0}}",
        "-{0}",
        f"F.div({{0}}, {number or 1.5})",
        "F.div({0}, F.add(F.mul({1}, {1}), 1.0))",
        "{0} / (1 + {1} * {1})",
        f"{number} / (1 + {{0}} * {{0}})",
        "F.mul({0}, {0})",
        "{0}.sub({1}, alpha=2)",
        "torch.multiply({0}, {1})",
        "{0}.div(3.0)",
        "torch.rsub({0}, {1})",
        "{0}.__rsub__(1.0)",
        "torch.true_divide({0}, 2)",
        "F.add(2.0, {0})",
        "F.sub(1, {0})",
        "{0} + {0}",
        "F.cat([{0}, {0}], -1)",
        "torch.stack([{0}, {0}])",
    )
    d.add(code, value, other)


def chain(d: Draft) -> None:
    """One cheap operation several times: what is recomputed from what is recomputed."""
    value = d.pick()
    code = d.one_of(
        "F.add({0}, 0.1)", "F.mul({0}, 0.9)", "F.tanh({0})", "F.add({0}, {1})", "F.relu({0})", "F.silu({0})"
    )
    other = d.other(d.shape(value)[-1:])
    for _ in range(d.rng.randint(2, 5)):
        value = d.add(code, value, other)


def around(d: Draft) -> None:
    """What stands around a call: hooks, values without a graph, new leaves."""
    value = d.pick(lambda t: not t._is_view())  # whether a hook stays on a view that is written to is chance
    code, makes = d.one_of(
        ("{0}.requires_grad and ({0}.grad_fn, {0}.register_hook(lambda g: g * 2))", 0),
        ("{0}.requires_grad and ({0}.grad_fn, {0}.retain_grad())", 0),
        ("{0}.detach().requires_grad_()", 1),
        ("torch.no_grad()(lambda: F.tanh({0}))()", 1),
        ("torch.no_grad()(lambda: F.reshape({0}, (-1,)))()", 1),
        ("torch.enable_grad()(lambda: F.mul({0}, 2.0))()", 1),
        ("torch.autocast('cpu', torch.bfloat16, enabled=False)(lambda: F.tanh({0}))()", 1),
        ("(lambda v: F.mul(v, 2.0))({0}.data)", 1),
        ("F.mul({0}, {0}.detach())", 1),
    )
    d.add(code, value, makes=makes)


def product(d: Draft) -> None:
    value = d.with_axes(1, 4)
    width = d.shape(value)[-1]
    other = d.other(d.one_of((width, d.size()), (width,), (*d.shape(value)[:-2], width, d.size())))
    form = d.one_of("F.matmul({0}, {1})", "{0} @ {1}")
    if d.chance(0.3):
        form = {(2, 2): "{0}.mm({1})", (3, 3): "torch.bmm({0}, {1})", (2, 1): "torch.mv({0}, {1})"}.get(
            (len(d.shape(value)), len(d.shape(other))), form
        )
    d.add(form, value, other)


def reduction(d: Draft) -> None:
    value = d.pick()
    i = d.axis(value) if d.shape(value) else None
    name = d.one_of("sum", "mean")
    if i is not None and d.chance(0.3):
        d.add(f"{{0}}.{name}({i}, keepdim=True)", value)
        return
    code = d.one_of(f"F.{name}({{0}}, {i})", f"F.{name}({{0}}, {i}, True)", f"{{0}}.{name}()", f"F.{name}({{0}})")
    d.add(code, value)


def joined_values(d: Draft) -> None:
    value = d.with_axes(1, 4)
    other = d.other(d.shape(value))
    i = d.axis(value)
    d.add(d.one_of(f"F.cat([{{0}}, {{1}}], {i})", f"torch.stack([{{1}}, {{0}}], {i})"), value, other)


def padded(d: Draft) -> None:
    value = d.with_axes(1, 5)
    pads = d.one_of("(1, 1)", "(0, 2)", "(1, 0, 0, 1)", "(-1, 1)")
    mode = d.one_of("", ", value=0.5", ", mode='reflect'", ", mode='replicate'", ", mode='circular'")
    if "circular" in mode and "-1" in pads and d.shape(value)[-1] <= 1:  # nothing is left to repeat: torch gives
        raise Reject  # what happened to lie in memory
    d.add(f"F.pad({{0}}, {pads}{mode})", value)


def only_torchs(d: Draft) -> None:
    """Functions without a rule, between rules."""
    value = d.pick()
    codes = ["torch.exp(-{0} * {0})", "torch.sin({0})", "{0}.abs()", "{0}.clamp(-1, 1)", "{0}.square()"]
    codes += ["{0}.float()", "{0}.double()", "{0}.bfloat16()", "Square.apply({0})", "Square.apply({0})"]
    codes += ["torch.where({0} > 0, {0}, 0.5)", "{0}.double().to({0}.dtype)", "{0}.masked_fill({0} > 1, 0.0)"]
    if d.shape(value):
        i = d.axis(value)
        codes += [f"{{0}}.cumsum({i})", f"{{0}}.sort({i})[0]", f"F.normalize({{0}}, dim={i})", f"{{0}}.amax({i})"]
        codes += ["torch.einsum('...i,...i->...', {0}, {0})", f"{{0}}.std({i})"]
    code = d.one_of(*codes)
    d.add(code, value)


def write(d: Draft) -> None:
    """In place, over the whole of a value."""
    value, number = d.writable(), d.number()
    shape = d.shape(value)
    other = d.other(d.one_of(shape, shape[-1:]))
    memory = [d.tensor(name).untyped_storage()._cdata for name in (value, other)]
    if memory[0] == memory[1]:  # torch's forward mode is wrong about x.mul_(x), also where they are two views of one
        other = d.new(shape)
    code = d.one_of(
        "{0} += {1}",
        f"{{0}}.mul_({number})",
        "{0}.add_({1})",
        "{0} *= {1}",
        "{0} -= {1}",
        f"{{0}}.add_({{1}}, alpha={number})",
        f"{{0}} += {number}",
        f"{{0}}.div_({number or 1.5})",
        "{0}.sub_({1})",
        "{0}.mul_({1})",
        "{0}.copy_({1})",
        "{0}.zero_()",
        "{0}.clamp_(-1, 1)",
        "{0}.neg_()",
        "{0}.masked_fill_({0} > 0.5, 0.1)",
        "{0}.addcmul_({1}, {1})",
        "{0}.exp_().clamp_(0, 2)",
    )
    if d.chance(0.15):
        code = "with torch.no_grad(): " + code
    d.add(code, value, other, makes=0)


def write_into_view(d: Draft) -> None:
    """In place, through a view that has no name."""
    value, number = d.writable(1), d.number()
    shape = d.shape(value)
    i = d.axis(value)
    seen = d.one_of(
        "{0}[..., :1]", "{0}.view(-1)", "{0}[0]", "{0}.detach()", "{0}[:1]", f"{{0}}.select({i}, 0)", "{0}[..., ::2]",
        "{0}.mT", f"{{0}}.narrow({i}, 0, {min(1, shape[i])})", f"F.chunk({{0}}, 2, {i})[0]", "F.flatten({0})",
        f"F.transpose({{0}}, 0, {i})", "F.reshape({0}, (-1,))", "{0}.unsqueeze(0)", "{0}.squeeze()",
    )  # fmt: skip
    done = d.one_of(f".mul_({number})", f".add_({number})", ".relu_()", ".zero_()", ".tanh_()", f".fill_({number})")
    code = f"{seen}{done}"
    if d.chance(0.3):
        name = d.one_of("relu", "elu", "celu", "silu", "hardswish", "leaky_relu")
        code = f"F.{name}({seen}, inplace=True)"
    if d.chance(0.1):
        code = d.one_of("{0}[0] = 0.5", "{0}[..., 0] = {0}[..., -1].clone()", "{0}[{0} > 0] = 0.0", "{0}[[0]] += 1.0")
    if d.chance(0.15):
        code = "with torch.no_grad(): " + code
    d.add(code, value, makes=0)


def reshaped_in_place(d: Draft) -> None:
    value = d.writable(2)
    code = d.one_of("{0}.unsqueeze_(0)", "{0}.squeeze_()", "{0}.transpose_(0, 1)", "{0}.detach_()")
    d.add(code, value, makes=0)
