"""How a program is run: what is differentiated, how, and in which contexts; written as the function `run`."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True)
class Modes:
    """The defaults are the plainest way to run a program."""

    dtype: str = "float64"
    route: str = "functional"  # modules converted and mb.functional; "modules": and torch's functions; or "explicit"
    ask: str = "backward"
    loss: str = "sum"
    saving: str | None = None
    formula: bool = False
    checkpoint: str | None = None
    span: tuple[int, int] = (0, 100)  # the steps under the checkpoint, in percent
    hooks: str | None = None
    autocast: str | None = None
    watch: str | None = None
    between: str | None = None
    training: bool = True
    frozen: tuple[int, ...] = ()
    threads: int = 1
    tied: bool = False

    @property
    def lossy(self) -> bool:
        return self.saving in ("bf16", "int8", "int4")

    def checkpointed(self, steps: int) -> tuple[int, int] | None:
        first, last = self.span[0] * steps // 100, -(-self.span[1] * steps // 100)
        return (first, last) if self.checkpoint and first < last else None


# What is asked of the outputs y; leaves: inputs and parameters that are differentiated, by name.
GRADS = "found |= {f'gradient of {n}': p.grad for n, p in leaves.items()}"
ASK = {
    "forward": "",
    "backward": f"loss(y).backward()\n{GRADS}",
    "twice": f"value = loss(y)\nvalue.backward(retain_graph=True)\nvalue.backward()\n{GRADS}",
    "twice_freed": f"value = loss(y)\nvalue.backward()\n{GRADS}\nvalue.backward()",
    "accumulate": f"""for v in y:  # one output after the other, over shared parts of the graph
    if v.requires_grad:
        loss([v]).backward(retain_graph=True)
{GRADS}""",
    "one_by_one": """value = loss(y)
for n, p in leaves.items():
    found[f'gradient of {n}'], = torch.autograd.grad(value, p, retain_graph=True, allow_unused=True)""",
    "one_by_one_freed": """value = loss(y)
for n, p in leaves.items():  # torch raises where this needs a node that is freed
    found[f'gradient of {n}'], = torch.autograd.grad(value, p, allow_unused=True)""",
    "batched": """y = [v for v in y if v.requires_grad]
gs = torch.autograd.grad(y, list(leaves.values()), [torch.stack([noise(v), torch.ones_like(v)]) for v in y],
                         is_grads_batched=True, allow_unused=True)
found |= {f'gradient of {n}': g for n, g in zip(leaves, gs)}""",
    "edited": f"""value = loss(y)
value.backward(retain_graph=True)
{GRADS.replace("p.grad", "p.grad if p.grad is None else p.grad.clone()")}
with torch.no_grad():  # as an optimizer does
    _ = [p.mul_(1.25) for p in m.parameters()]
value.backward()
{GRADS.replace("gradient of", "gradient again of")}""",
    "some": """some = dict(list(leaves.items())[::2])
gs = torch.autograd.grad(loss(y), list(some.values()), allow_unused=True)
found |= {f'gradient of {n}': g for n, g in zip(some, gs)}""",
    "double": """gs = torch.autograd.grad(loss(y), list(leaves.values()), create_graph=True, allow_unused=True)
found |= {f'gradient of {n}': None if g is None else g.detach() for n, g in zip(leaves, gs)}
second = sum((g * noise(g)).sum() for g in gs if g is not None)
hs = [None] * len(gs)
if second.requires_grad:
    hs = torch.autograd.grad(second, list(leaves.values()), allow_unused=True)
found |= {f'second of {n}': h for n, h in zip(leaves, hs)}""",
    "double_backward": f"""loss(y).backward(create_graph=True)
second = sum(p.grad.square().sum() for p in leaves.values() if p.grad is not None)
if second.requires_grad:
    second.backward()
{GRADS.replace("p.grad", "p.grad if p.grad is None else p.grad.detach()")}""",
}

SECOND = ("double", "double_backward", "hessian", "hvp", "double_trick")
"""What differentiates a backward."""

# These call the program themselves; f: the program as a function of the inputs that are differentiated.
TRANSFORM = {
    "func_grad": "found['grad'] = torch.func.grad(lambda *a: loss(f(*a)), argnums=tuple(range(len(floats))))(*floats)",
    "func_vjp": "y, back = torch.func.vjp(f, *floats)\nfound['vjp'] = back([noise(v) for v in y])",
    "jvp": "found['jvp'] = torch.func.jvp(f, tuple(floats), tuple(noise(v) for v in floats))",
    "vmap": "found['vmap'] = torch.func.vmap(f, randomness='different')(*[torch.stack([v, v * 0.5]) for v in floats])",
    "vmap_grad": """g = torch.func.grad(lambda *a: loss(f(*a)))
found['vmap'] = torch.func.vmap(g, randomness='different')(*[torch.stack([v, v * 0.5]) for v in floats])""",
    "jacrev": "found['jacobian'] = torch.func.jacrev(f)(*floats)",
    "jacfwd": "found['jacobian'] = torch.func.jacfwd(f, randomness='different')(*floats)",
    "jacobian": """g = lambda *a: tuple(f(*a))
found['jacobian'] = torch.autograd.functional.jacobian(g, tuple(floats), vectorize=True)""",
    "hessian": "found['hessian'] = torch.func.hessian(lambda v: loss(f(v, *floats[1:])))(floats[0])",
    "functional_call": """whole = nn.Module()
whole.m, whole.forward = m, f
values = {f'm.{n}': p.detach() for n, p in m.named_parameters()}
g = torch.func.grad(lambda p: loss(torch.func.functional_call(whole, p, tuple(floats))))
found['grad'] = g(values)""",
    "double_trick": """g = lambda *a: tuple(f(*a))  # differentiates the backward by its delta
found['jvp'] = torch.autograd.functional.jvp(g, tuple(floats), tuple(noise(v) for v in floats))""",
    "hvp": """g = lambda *a: loss(f(*a))
found['hvp'] = torch.autograd.functional.hvp(g, tuple(floats), tuple(noise(v) for v in floats))""",
    "dual": """with forward_ad.dual_level():
    y = f(*[forward_ad.make_dual(v, noise(v)) for v in floats])
    found['tangents'] = [forward_ad.unpack_dual(v).tangent for v in y]""",
    "train": """params = [*m.parameters(), *[v for v in x if v.requires_grad]]
optimizer = torch.optim.SGD(params, 0.001, momentum=0.9)
for _ in range(3):
    optimizer.zero_grad()
    loss(program(F, m, *x)).backward()
    optimizer.step()
found |= {f'trained {k}': p for k, p in enumerate(params)}""",
    "no_grad": "with torch.no_grad():\n    found |= {f'y{k}': v for k, v in enumerate(program(F, m, *x))}",
    "inference": """with torch.inference_mode():
    found |= {f'y{k}': v.clone() for k, v in enumerate(program(F, m, *x))}""",
    "compile": """torch._dynamo.reset()
floats = [v.requires_grad_() for v in floats]
y = torch.compile(f, backend='aot_eager')(*floats)
loss(y).backward()
found |= {f'gradient of {n}': p.grad for n, p in m.named_parameters()}
found |= {f'gradient of x{k}': v.grad for k, v in enumerate(floats)}""",
}

HOOKS = {
    "identity": "torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)",
    "copy": "torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)",
    "copy_back": "torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t.clone())",
    "save_on_cpu": "torch.autograd.graph.save_on_cpu()",
}
MUTATION = "torch.autograd.graph.allow_mutation_on_saved_tensors()"  # around the backward, too

# What watches: lines before the forward, and behind it.
WATCH = {
    "anomaly": ("", ""),
    # the node is asked for first: of a view whose base was written to torch crashes otherwise
    "tensor_hooks": (
        "",
        """for v in y:
    if v.requires_grad:
        v.grad_fn, v.register_hook(lambda g: g * 2)""",
    ),
    "module_hooks": (
        """for c in m:
    c.register_forward_hook(lambda c, i, o: None)
    c.register_full_backward_hook(lambda c, i, o: None)""",
        "",
    ),
    "backward_hooks": (
        """for c in m:
    c.register_full_backward_hook(lambda c, i, o: tuple(v if v is None else v * 2 for v in i))""",
        "",
    ),
    "forward_hooks": (
        """for c in m:
    c.register_forward_hook(lambda c, i, o: o * 2 if isinstance(o, torch.Tensor) else o)""",
        "",
    ),
}

# What happens between forward and backward.
BETWEEN = {
    "data": "for p in m.parameters():\n    p.data.mul_(1.25)",
    "no_grad": "with torch.no_grad():\n    _ = [p.mul_(1.25) for p in m.parameters()]",
    "no_grad_bias": "with torch.no_grad():\n"
    "    _ = [p.add_(0.25) for n, p in m.named_parameters() if n.endswith('bias')]",
    "outputs": "with torch.no_grad():\n    _ = [v.mul_(2) for v in y]",
    "free": "del m",
}

LOSS = {
    "sum": "v.sum()",
    "square": "v.square().sum()",
    "random": "(v * noise(v)).sum()",
    "mean": "v.mean()",
    "transposed": "(v.mT * noise(v.mT)).sum() if v.dim() > 1 else v.sum()",
    "flipped": "(v.flatten().flip(0) * noise(v.flatten())).sum()",
}


def run_function(program: Program) -> str:
    """`run(ours, found)`, as code."""
    modes = program.modes
    before, behind = WATCH[modes.watch] if modes.watch else ("", "")
    ours = "OURS if ours else THEIRS" if modes.route == "functional" else "THEIRS"
    prepare = "m, x = modules(), inputs()"
    body = [f"with lock:\n    {prepare}" if modes.threads > 1 else prepare]
    if modes.route != "explicit":
        body.append("if ours:\n    mb.convert(m)")
    body += [f"F = types.SimpleNamespace(**({ours}))", before]
    body += ["F.explicit = mb.explicit if ours else nullcontext"] if modes.route == "explicit" else []
    body += ["torch.manual_seed(SEED + 2)"] if modes.threads == 1 else []
    body.append(f"with {forward_contexts(modes)}:")
    if modes.ask in TRANSFORM:
        floats = ", ".join(i.name for i in program.inputs if i.grad)
        given = ", ".join(i.name if i.grad else f"x[{k}]" for k, i in enumerate(program.inputs))
        body += [
            "    floats = [v.detach() for v in x if v.requires_grad]",
            f"    f = lambda {floats}: program(F, m, {given})",
            indent(TRANSFORM[modes.ask], "    "),
        ]
    else:
        body += [
            "    y = program(F, m, *x)",
            "found |= {f'output {k}': v.detach().clone() for k, v in enumerate(y)}",
            "found |= {f'output {k} differentiable': v.requires_grad for k, v in enumerate(y)}",
            behind,
            "leaves = {i: v for i, v in zip(NAMES, x) if v.requires_grad}",
            "leaves |= {n: p for n, p in m.named_parameters() if p.requires_grad}",
            BETWEEN[modes.between] if modes.between else "",
            f"if any(v.requires_grad for v in y):\n{indent(ASK[modes.ask], '    ')}" if ASK[modes.ask] else "",
        ]
    if modes.between != "free":
        body.append("found |= {f'buffer {n}': b for n, b in m.named_buffers()}")
    body.append("found |= {f'{n} afterwards': v.detach() for n, v in zip(NAMES, x)}")
    if not modes.lossy and modes.threads == 1:
        body.append("found['random state'] = torch.get_rng_state()")
    text = indent("\n".join(line for line in body if line), "    ")
    outer = ["mb.backend('formula')"] if modes.formula else []
    outer += [MUTATION] if modes.hooks == "mutation" else []
    outer += ["torch.autograd.set_detect_anomaly(True)"] if modes.watch == "anomaly" else []
    if outer:
        text = f"    with {', '.join(outer)}:\n{indent(text, '    ')}"
    lines = [
        *([NOISE] if "noise(" in text or "noise(" in LOSS[modes.loss] else []),
        "def loss(y):",
        f"    return sum({LOSS[modes.loss]} for v in y if v.requires_grad)"
        if modes.ask not in TRANSFORM
        else f"    return sum({LOSS[modes.loss]} for v in y)",
        "",
    ]
    if modes.threads == 1:
        return "\n".join([*lines, "def run(ours, found):", text])
    return "\n".join(
        [*lines, "lock = threading.Lock()", "", "def alone(ours, found):", text, "", THREADS % modes.threads]
    )


THREADS = """def run(ours, found):
    def body(own):
        try:
            alone(ours, own)
        except Exception as error:
            own['error'] = error
    results = [{} for _ in range(%d)]
    threads = [threading.Thread(target=body, args=(own,)) for own in results]
    _ = [t.start() for t in threads], [t.join() for t in threads]
    for k, own in enumerate(results):
        if 'error' in own:
            raise own['error']
        found |= {f'{name} in thread {k}': value for name, value in own.items()}"""


NOISE = """def noise(v):
    g = torch.Generator().manual_seed(SEED + 3)
    return torch.randn(v.shape, generator=g).to(v.dtype)
"""


def forward_contexts(modes: Modes) -> str:
    """What the forward runs in."""
    found = ["F.explicit()"] if modes.route == "explicit" else []
    if modes.saving:
        found.append(f"mb.saving({modes.saving!r})")
    if modes.hooks in HOOKS:
        found.append(HOOKS[modes.hooks])
    if modes.autocast:
        found.append(f"torch.autocast('cpu', torch.{modes.autocast})")
    return ", ".join(found) or "nullcontext()"
