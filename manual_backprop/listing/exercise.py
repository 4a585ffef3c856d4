"""Writes an exercise: a network's training step as a Python file, with lines of the backward left out. The file needs
torch alone and checks itself: `python exercise.py` names the first line that is wrong."""

from __future__ import annotations

import argparse
import ast
import base64
import inspect
import json
import random
import re
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import nn
from .._files import write_atomically
from .._options import add_model
from ..engine.rule import RULES
from ..errors import BadInput
from .cli import of_model
from .program import Program, write_out


class Asked:
    """The names in the backward that an exercise can ask for: gradients, and deltas of values that the forward names.
    Intermediate values are not among them."""

    def __init__(self, tree: ast.Module) -> None:
        forwards = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name.endswith("forward")]
        nodes = [node for f in forwards for node in ast.walk(f)]
        self.named = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.arg for n in nodes if isinstance(n, ast.arg)}

    def includes(self, name: str) -> bool:
        of = name.removeprefix("delta_")
        known = of != name and (of in self.named or re.sub(r"_\d+$", "", of) in self.named)
        return known or re.fullmatch(r"grad_\w+|grad\[.*\]", name) is not None


HEAD = '''"""Exercise: the backward pass of {network}. {count} lines of it are missing.

Replace each TODO in `backward` by your own formula, without autograd. Then run this file: it compares your values with
the expected ones, in order, and names the first that is wrong.

    python {file}                check
    python {file} --solution     the same, with the solution of the first line that is wrong

p has the parameters by name, `kept` what the forward saves for the backward. z: weighted inputs, a: activations,
delta_v: derivative of the loss by v, grad[w]: derivative of the loss by the parameter w. Comments give the shapes.
You may use several lines for one value, and values of your own.
"""
'''


@dataclass
class Step:
    """A value of the backward, and the statements that compute it and nothing else."""

    function: str
    name: str
    statement: ast.stmt
    own: list[ast.stmt]

    @property
    def key(self) -> str:
        return f"{self.function} {self.name}"


def perceptron() -> torch.nn.Module:
    """A small network whose whole program fits on a page."""
    layers = (nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    return nn.Sequential(OrderedDict(zip(("fc1", "tanh1", "fc2", "relu2", "fc3"), layers, strict=True)))


def small(level: str) -> Program:
    """The program of that network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = torch.tensor([0, 2, 1, 1, 2, 0, 2])
        model = perceptron()
        return write_out(model, torch.randn(7, 6), targets=labels, loss=nn.CrossEntropyLoss(), level=level)


def backwards(tree: ast.Module) -> list[ast.FunctionDef]:
    """`backward`, and the backward functions of modules that are alike."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.endswith("backward")]
    return [f for f in functions if f.name == "backward" or [a.arg for a in f.args.args[:2]] == ["p", "kept"]]


def steps(function: ast.FunctionDef, asked: Asked) -> list[Step]:
    """The values of one function that an exercise can ask for."""
    statements = function.body
    reads = [{n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} for s in statements]
    found = []
    for k, statement in enumerate(statements):
        name = ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""
        if not asked.includes(name) or len(statement.targets) > 1 or "_backward(" in ast.unparse(statement):  # type: ignore[attr-defined]
            continue
        own = {k}
        for j in range(k + 1, len(statements)):  # edits in place, up to the first other reader
            text = ast.unparse(statements[j])
            if isinstance(statements[j], ast.Expr | ast.AugAssign) and re.match(rf"{re.escape(name)}[.\[ ]", text):
                own.add(j)
            elif name.split("[")[0] in reads[j] and name in text:
                break
        before = set[int]()
        while before != own:
            before = set(own)
            for j, other in enumerate(statements[: max(own)]):
                value = ast.unparse(other.targets[0]) if isinstance(other, ast.Assign) else ""
                readers = {i for i in range(len(statements)) if i != j and value in reads[i]}
                if value.isidentifier() and not asked.includes(value) and readers and readers <= own:
                    own.add(j)
        if "ones_like" not in ast.unparse(statement):  # the backward begins here: this line is always given
            found.append(Step(function.name, name, statement, [statements[j] for j in sorted(own)]))
    return found


def lines_of(text: str, statement: ast.stmt) -> range:
    """The lines of a statement, counted from 0, together with a comment above it that has the shape."""
    first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
    lines = text.splitlines()
    wrapped = last - first > 1 or "   # " not in lines[first]
    return range(first - (wrapped and lines[first - 1].strip().startswith("# (")), last)


def shape_of(text: str, statement: ast.stmt) -> str:
    """The comment with the shape of a statement's value."""
    lines = text.splitlines()
    found = [re.search(r"# (\(.*)", lines[k]) for k in lines_of(text, statement)]
    return next((f"   # {match[1]}" for match in found if match), "")


def formulas(program: Program) -> dict[str, str]:
    """The backward formula of each value, from the docstrings of a program at level "formulas"."""
    tree = ast.parse(program.text)
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    docs = {name: inspect.cleandoc(RULES[name].__doc__ or "") for name in classes if name in RULES}
    found: dict[str, str] = {}
    for function in backwards(tree):
        for statement in function.body:
            if not isinstance(statement, ast.Assign):
                continue
            text = ast.unparse(statement.value)
            call = re.match(r"(\w+)\.(\w+)\(", text)
            if call and call[1] in docs:
                said = f"{call[1]}, {of_docstring(docs[call[1]], call[2])}"
            elif "ones_like" in text:
                said = "the derivative of the loss by itself is 1"
            elif re.fullmatch(r"\w+( \+ \w+)+", text):
                said = "the sum of the deltas from every place that reads this value"
            else:
                said = "the same elements, in the shape and order that they had in the forward"
            found |= {f"{function.name} {ast.unparse(goal)}": said for goal in statement.targets}
    return found


def of_docstring(doc: str, name: str) -> str:
    """The forward formula of a rule, and the formula that this function of it computes."""
    forward, *rest = doc.split("\n\n")
    blocks = [re.split(r"\n(?=\w+ +=)", block) for block in rest]
    formula = [line for block in blocks for line in block if re.match(rf"{name} +=", line)]
    shown = formula[0] if formula else rest[1] if len(rest) > 1 else ""
    return f"{forward}\n{shown}"


def exercise(program: Program, of: Program, blank: int | None, seed: int, network: str, file: str) -> str:
    """The text of an exercise. `program`: at level "torch"; `of`: the same at level "formulas"; `blank`: how many lines
    are left out, None for all. Raises BadInput if there are fewer lines."""
    text = program.text
    tree = ast.parse(text)
    every = [step for function in backwards(tree) for step in steps(function, Asked(tree))]
    if blank is not None and not 1 <= blank <= len(every):
        raise BadInput(f"--blank {blank}: so many lines cannot be left out. expected: 1 to {len(every)}, or all")
    chosen = random.Random(seed).sample(every, len(every) if blank is None else blank)
    lines: list[str | None] = list(text.splitlines())
    solutions = {}
    for step in every:
        places = [k for statement in step.own for k in range(statement.lineno - 1, statement.end_lineno or 0)]
        solutions[step.key] = "\n".join(text.splitlines()[k] for k in places)
    for step in chosen:
        for statement in step.own:
            for k in lines_of(text, statement):
                lines[k] = None
        shape = shape_of(text, step.statement)
        name = ast.get_source_segment(text, step.statement).partition(" = ")[0]  # type: ignore[union-attr]
        lines[step.statement.lineno - 1] = f"    {name} = TODO{shape}"
    left = "\n".join(line for line in lines if line is not None)
    answers = {
        "backward": "\n\n\n".join(ast.get_source_segment(text, function) or "" for function in backwards(tree)),
        "keys": {f.name: [step.name for step in every if step.function == f.name] for f in backwards(tree)},
        "lines": {step.key: solutions[step.key] for step in chosen},
        "formulas": {key: said for key, said in formulas(of).items() if key in solutions},
    }
    return assembled(left, answers, HEAD.format(network=network, count=len(chosen), file=file))


def assembled(text: str, answers: dict, head: str) -> str:
    """The exercise: a program with lines left out, the random data from `main`, and the check."""
    body = text[text.index('"""', 3) + 3 :]
    imports = re.findall(r"^(?:import|from) .*$", body, re.MULTILINE)
    body = re.sub(r"^(?:import|from) .*\n", "", body, flags=re.MULTILINE)
    program, _, rest = body.partition("def main():\n")
    drawn = rest[rest.index("    torch.manual_seed(0)") :].partition("\n\n")[0]
    drawn = drawn.replace("    torch.set_default_dtype(torch.float64)\n", "").rstrip()
    names = re.search(r"def forward\(p(?:, )?(.*?)\):", text)[1]  # type: ignore[index]
    check = Path(__file__).with_name("exercise_check.py").read_text(encoding="utf-8")
    start, check = check.split("# ---- the check ----\n")
    check = re.sub(r"  # (?:noqa|type: ignore).*", "", check)
    every = {*imports, *re.findall(r"^(?:import|from) .*$", start, re.MULTILINE)} - {FUTURE}
    imports = sorted(every, key=lambda line: (line.startswith("from"), line))
    encoded = textwrap.fill(base64.b64encode(json.dumps(answers).encode()).decode(), 112)
    check, main = check.rsplit("\n\n\nif __name__", 1)
    return "\n".join(
        [
            head, FUTURE, "", *imports, "", "TODO = object()", "", "", program.strip(), "", "",
            "def data():", '    """Random parameters and a random batch."""', f"{drawn}",
            f"    return p, ({names}{',' * (names.count(',') == 0)})", "", "",
            "# The code from here on checks your lines. You need not change it.", "", check.strip(), "", "",
            "# The solution, encoded so that nobody reads it by accident.", f'ANSWERS = """\n{encoded}\n"""', "", "",
            f"if __name__{main}",
        ]
    )  # fmt: skip


FUTURE = "from __future__ import annotations"


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop exercise`. Raises BadInput as `write` does, and if --blank is more than there are lines."""
    parser = argparse.ArgumentParser("manual-backprop exercise", description=__doc__)
    add_model(parser, required=True)
    parser.set_defaults(input="")
    parser.add_argument("--blank", default="5", metavar="N", help="how many lines are left out, or all (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="chooses which lines are left out (default 0)")
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of standard output")
    options = parser.parse_args(argv)
    if options.blank != "all" and not re.fullmatch(r"-?\d{1,9}", options.blank):
        raise BadInput(f"--blank {options.blank!r}: expected a number of lines, or all")
    own = options.model == "mlp" and not options.input and options.model_args == "{}"
    options.input = options.input or "2,1,28,28"
    programs = []
    for options.level in ("torch", "formulas"):
        programs.append(small(options.level) if own else of_model(options))
    blank = None if options.blank == "all" else int(options.blank)
    name = Path(options.out or "exercise.py").name
    network = "a perceptron with three layers" if own else options.model
    text = exercise(programs[0], programs[1], blank, options.seed, network, name)
    if options.out:
        write_atomically(Path(options.out), text.encode())
        print(f"{options.out}: {text.count(' = TODO   #')} lines to write")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
