"""The first and last part of a written file: its docstring, and `main`, which checks gradients by finite differences.

The file needs torch alone, so it cannot import the network to compare with. Stored results would fit one machine only.
So `main` draws parameters and data, and compares along a random direction for each parameter.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from .layout import broken
from .recording import Recording
from .tape import literal

CHECKED = 8
"""About how many parameters `main` checks, spread over the network."""


def kind_of(tensor: Tensor) -> str:
    """An expression that draws a tensor like this one. The shape is written as `shape`."""
    if tensor.dtype == torch.bool:
        return "torch.ones(shape, dtype=torch.bool)" + ("" if tensor.all() else ".tril()")
    if not tensor.is_floating_point() and not tensor.is_complex():
        if tensor.dim() and tensor.numel() == tensor.shape[-1] and tensor.flatten().equal(torch.arange(tensor.numel())):
            return f"torch.arange({tensor.numel()}).reshape(shape)"
        top = int(tensor.max()) + 1 if tensor.numel() else 1
        return f"torch.randint({max(top, 1)}, shape)"
    if tensor.numel() and not tensor.is_complex() and tensor.min() > 0:
        return "torch.rand(shape) + 0.5"
    if tensor.is_complex():
        return f"torch.randn(shape, dtype={tensor.dtype})"
    if tensor.dim() > 1:
        return "torch.randn(shape) / math.prod(shape[1:]) ** 0.5" if tensor.numel() else "torch.randn(shape)"
    return "0.5 * torch.randn(shape)"


def draws(tensors: dict[str, Tensor]) -> list[str]:
    """Lines that draw tensors. Modules whose parameters have the same names and are drawn alike share a loop."""
    modules: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        path, _, own = name.rpartition(".")
        modules[f"{path}." if path else ""][own] = tensor
    groups: dict[tuple, list[tuple[str, dict[str, Tensor]]]] = defaultdict(list)
    for at, module in sorted(modules.items(), key=lambda item: square(item[1])):
        kinds = tuple((n, kind_of(t), relation(t, module)) for n, t in module.items())
        other = tuple((n, kind, related.replace("[:1]", "[-1:]")) for n, kind, related in kinds)
        groups[other if square(module) and other in groups else kinds].append((at, module))
    lines = []
    for rows, members in groups.items():
        listed = members[0][1]
        if len(members) == 1 or not next(iter(listed.values())).dim():
            lines += [one(at + n, kind_of(t), t) for at, found in members for n, t in found.items()]
            continue
        shapes = {at: tuple(next(iter(own.values())).shape) for at, own in members}
        lines.append(f"    for at, shape in {over(shapes)}.items():")
        for name, kind, related in rows:
            drawn = kind.replace("(shape)", f"({related})").replace(", shape", f", {related}")
            lines.append(f"        p[at + {literal(name)}] = {drawn}")
    return lines


def square(own: dict[str, Tensor]) -> bool:
    """Whether the first tensor of a module has the same size in its first and last axis."""
    shape = next(iter(own.values())).shape
    return len(shape) > 1 and shape[0] == shape[-1]


def relation(tensor: Tensor, own: dict[str, Tensor]) -> str:
    """A shape as source, by `shape`, that of the module's first tensor, where it can be."""
    first, shape = tuple(next(iter(own.values())).shape), tuple(tensor.shape)
    if shape == first:
        return "shape"
    if first and shape == first[:1]:
        return "shape[:1]"
    if first and shape == first[-1:]:
        return "shape[-1:]"
    return literal(shape)


def one(name: str, kind: str, tensor: Tensor) -> str:
    """The line that draws one tensor."""
    shape = tuple(tensor.shape)
    if "math.prod" in kind:
        return f"    p[{literal(name)}] = torch.randn({shape}) / {torch.Size(shape[1:]).numel()} ** 0.5"
    return f"    p[{literal(name)}] = {kind.replace('(shape', f'({shape}').replace(', shape', f', {shape}')}"


def over(shapes: dict[str, tuple]) -> str:
    """A dictionary of shapes by path; numbered paths with the same shapes are one comprehension."""
    numbered: dict[tuple, list[tuple[int, tuple]]] = defaultdict(list)
    for at, shape in shapes.items():
        parts = re.split(r"(?<=\.)(\d+)(?=\.)", at, maxsplit=1)
        if len(parts) == 3:
            numbered[parts[0], parts[2], shape].append((int(parts[1]), shape))
    loops, done = [], set()
    for (head, tail, shape), found in numbered.items():
        numbers = [n for n, _ in found]
        if len(numbers) > 3 and numbers == list(range(len(numbers))):
            done |= {f"{head}{n}{tail}" for n in numbers}
            loops.append(((head, len(numbers)), tail, shape))
    rest = {at: shape for at, shape in shapes.items() if at not in done}
    inner = [f"{literal(at)}: {literal(shape)}" for at, shape in rest.items()]
    for (head, count), tail, shape in loops:
        inner.append(f'**{{f"{head}{{i}}{tail}": {literal(shape)} for i in range({count})}}')
    if len(inner) == 1 and inner[0].startswith("**"):
        return inner[0][2:]
    return "{" + ", ".join(inner) + "}"


def every(count: int) -> int:
    """A step through `count` gradients that reaches about CHECKED of them, among them weights and biases."""
    least = -(-count // CHECKED)
    return next(step for step in range(max(least, 1), 2 * least + 3) if step in (1, 3) or (step % 2 and step % 3))


def trial(
    model: torch.nn.Module,
    signature: object,
    recording: Recording,
    read: Iterable[str],
    constants: dict,
    random: bool,
    written: Iterable[str],
) -> tuple[str, str]:
    """The docstring at the top, and `main`. `read`: the tensors that the program reads; `random`: whether it draws
    random numbers; `written`: the tensors that it writes into."""
    shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in zip(signature.names, signature.given, strict=True))  # type: ignore[attr-defined]
    version = torch.__version__.partition("+")[0]
    lines = [
        f'"""One training step of {type(model).__name__}, written out: {shapes}; torch {version}.',
        "",
        "forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.",
        "z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.",
    ]
    if recording.branched:
        where = ", ".join(sorted({name or "the model itself" for name in recording.branched}))
        lines.append(f"Python read numbers in {where}: what depends on them is written as it went with this batch.")
    lines += ['"""', ""]
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **constants}
    wanted = [name for name in recording.gradients if name in tensors]
    asked = {*read, *wanted}
    own = list(zip(signature.names, signature.given, strict=True))  # type: ignore[attr-defined]
    step = every(len(wanted))
    checked = "grad" if len(wanted) == len(recording.gradients) else "[n for n in grad if n in p]"
    chosen = f"list({checked})[::{step}]".replace("list([", "[").replace("])[", "][") if step > 1 else checked
    given, written = [n for n, _ in own], {*written}
    called = f"forward({', '.join(['p', *given])})"
    tail = [
        "def main():",
        '    """Gradients beside finite differences, each along a random direction."""',
        "    torch.manual_seed(0)",
        "    torch.set_default_dtype(torch.float64)",
        "    p = {}",
        *draws({n: t for n, t in tensors.items() if n in asked}),
        *[one("", kind_of(t), t).replace('p[""]', n) for n, t in own],
        "",
    ]
    if random or written:
        p = "{n: v.clone() for n, v in p.items()}" if written - {*given} else "p"
        copied = [f"{n}.clone()" if n in written else n for n in given]
        tail += [
            "    def run(p):",
            *(["        torch.manual_seed(1)   # the same masks each time"] if random else []),
            f"        return forward({', '.join([p, *copied])})"
            + ("   # copies: the forward writes into them" if written else ""),
            "",
        ]
        called = "run(p)"
    moved = called.replace("(p", "({**p, name: p[name] + change}", 1)
    tail += [
        f"    loss, kept = {called}",
        "    grad = backward(p, kept)",
        '    print(f"loss {loss.item():.6f}")',
        f"    for name in {chosen}:",
        "        step = torch.randn_like(p[name])",
        "        step *= 1e-5 / step.norm()",
        f"        ahead, behind = ({moved}[0] for change in (step, -step))",
        "        gradient, difference = (grad[name] * step).sum(), (ahead - behind) / 2",
        '        print(f"{name:40} gradient {gradient.item():+.6e}   difference {difference.item():+.6e}")',
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
        "",
    ]
    wide = [
        row
        for line in tail
        for row in (broken(line.strip(), len(line) - len(line.lstrip()), "") if len(line) > 120 else [line])
    ]
    return "\n".join(lines), "\n".join(wide)
