"""The ends of a written file: what it is, and `main`, which checks its gradients by finite differences.

A file that needs torch alone cannot hold the network as torch has it; and stored numbers would be those of one machine.
So `main` draws parameters and data, and compares along a random direction for each parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .record import Recording
from .structure import Pair
from .tape import literal

CHECKED = 8
"""Parameters that `main` checks, spread over the network."""


def kind_of(tensor: Tensor) -> str:
    """How numbers like those of a tensor are drawn."""
    shape = tuple(tensor.shape)
    if tensor.dtype == torch.bool:
        return f"torch.ones({shape}, dtype=torch.bool)" if tensor.all() else f"torch.ones({shape}, dtype=torch.bool).tril()"
    if not tensor.is_floating_point() and not tensor.is_complex():
        if tensor.dim() and tensor.numel() == tensor.shape[-1] and tensor.flatten().equal(torch.arange(tensor.numel())):
            return f"torch.arange({tensor.numel()}).reshape({shape})"
        top = int(tensor.max()) + 1 if tensor.numel() else 1
        return f"torch.randint({max(top, 1)}, {shape})"
    if tensor.numel() and not tensor.is_complex() and tensor.min() > 0:
        return f"torch.rand({shape}) + 0.5"
    if tensor.numel() and not tensor.any():
        return f"0.1 * torch.randn({shape})"
    scale = tensor[0].numel() ** -0.5 if tensor.dim() > 1 and tensor.numel() else 1.0
    return f"{scale:.3g} * torch.randn({shape})" if scale != 1 else f"torch.randn({shape})"


def trial(model: torch.nn.Module, signature: object, recording: Recording, pairs: list[Pair], constants: dict) -> tuple[str, str]:
    """The docstring at the top, and `main`."""
    shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in zip(signature.names, signature.given, strict=True))  # type: ignore[attr-defined]
    lines = [
        f'"""One training step of {type(model).__name__}, written out: {shapes}; torch {torch.__version__.split("+")[0]}.',
        "",
        "forward(p, ...) returns the loss and what the backward reads; backward(p, kept) the gradient of each parameter.",
        "z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.",
    ]
    if recording.branched:
        where = ", ".join(sorted({name or "the model itself" for name in recording.branched}))
        lines.append(f"Python read numbers in {where}: what depends on them is written as it went with this batch.")
    lines += ['"""', ""]
    floats = {t.dtype for t in model.parameters() if t.is_floating_point()}
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **constants}
    wanted = [name for name in recording.gradients if name in tensors]
    chosen = wanted if len(wanted) <= CHECKED else [wanted[k * (len(wanted) - 1) // (CHECKED - 1)] for k in range(CHECKED)]
    rows, left = [], dict(tensors)
    for pair in pairs:
        first = {n[len(pair.parts[0].path) + 1 :]: kind_of(t) for n, t in tensors.items() if n.startswith(pair.parts[0].path + ".")}
        alike = [
            part.path for part in pair.parts
            if {n[len(part.path) + 1 :]: kind_of(t) for n, t in tensors.items() if n.startswith(part.path + ".")} == first
        ]  # fmt: skip
        if len(alike) > 1 and first:
            from .text import paths

            parts = [part for part in pair.parts if part.path in alike]
            rows.append(f"    for at in {paths(parts)}:")
            rows += [f"        p[at + {literal(name)}] = {kind}" for name, kind in first.items()]
            for path in alike:
                left = {n: t for n, t in left.items() if not n.startswith(path + ".")}
    rows = [f"    p[{literal(name)}] = {kind_of(t)}" for name, t in left.items()] + rows
    inputs = [f"    {n} = {kind_of(t)}" for n, t in zip(signature.names, signature.given, strict=True)]  # type: ignore[attr-defined]
    names = ", ".join(signature.names)  # type: ignore[attr-defined]
    comma = f", {names}" if names else ""
    wide = ", ".join(sorted(str(d) for d in floats if d != torch.float64))
    tail = [
        "def main():",
        '    """Gradients beside finite differences, each along a random direction."""',
        "    torch.manual_seed(0)",
        "    torch.set_default_dtype(torch.float64)",
        "    p = {}",
        *rows,
        *inputs,
        "",
        "    def loss_of(p):",
        "        torch.manual_seed(1)   # masks of dropout are the same each time",
        f"        return forward(p{comma})[0]",
        "",
        "    torch.manual_seed(1)",
        f"    loss, kept = forward(p{comma})",
        "    grad = backward(p, kept)",
        '    print(f"loss {loss.item():.6f}")',
        f"    for name in {literal(chosen)}:",
        "        v = torch.randn_like(p[name])",
        "        step = 1e-5 * v / v.norm()",
        "        difference = (loss_of({**p, name: p[name] + step}) - loss_of({**p, name: p[name] - step})) / 2",
        '        print(f"{name:40} gradient {(grad[name] * step).sum().item():+.6e}   difference {difference.item():+.6e}")',
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
        "",
    ]
    del wide
    return "\n".join(lines), "\n".join(tail)
