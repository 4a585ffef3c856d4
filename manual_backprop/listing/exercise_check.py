"""The part of an exercise that checks it. This source is copied to the end of the file that the student gets.

Checks are inserted into the student's backward functions, one for each value of the solution. Each compares the
student's value with the solution's before the next such value is computed. So a value may be computed in several lines,
also in place, and the student may add lines anywhere.
"""

from __future__ import annotations

import ast
import base64
import json
import sys
import traceback
from typing import Any

import torch

TODO: Any = object()
ANSWERS = ""
"""The solution, encoded so that nobody reads it by accident."""

# ---- the check ----

CLOSE = 1e-8  # relative to the largest element, in float64: sums may have another order


class Wrong(Exception):
    """A line that is wrong, and the name that it assigns to."""

    def __init__(self, key: str, line: int, why: str) -> None:
        self.key, self.line, self.why = key, line, why


def target(statement: ast.stmt) -> str:
    """The target of a statement, as text: a name, `grad["..."]`, or an element of either."""
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    if isinstance(statement, ast.AugAssign):
        return ast.unparse(statement.target)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        function = statement.value.func
        return ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    return ""


def backward_functions(source: str) -> dict[str, ast.FunctionDef]:
    found = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)}
    return {name: node for name, node in found.items() if name.endswith("backward")}


def with_checks(function: ast.FunctionDef, keys: list[str]) -> dict[int, str]:
    """Insert `_seen(key, line, value)` after the lines of each key, and `_todo(key, line)` before a line still TODO.

    Returns the key to which each line belongs.
    """
    body: list[ast.stmt] = []
    works: dict[int, str] = {}
    pending, begun = "", 0
    free: list[int] = []

    def put(name: str, key: str, line: int, value: str = "") -> None:
        call = ast.parse(f"{name}({function.name + ' ' + key!r}, {line}{value})").body[0]
        body.append(ast.copy_location(call, statement))

    for statement in function.body:
        goal, line = target(statement), statement.lineno
        fresh = isinstance(statement, ast.Assign) and goal in keys and goal != pending
        whole = isinstance(statement, ast.Return | ast.For) or "_backward(" in ast.unparse(statement)
        if pending and (fresh or whole):
            put("_seen", pending, begun, f", {pending}")
            pending = ""
        if fresh:
            if ast.unparse(statement).endswith(" = TODO"):
                put("_todo", goal, line)
            pending, begun = goal, line
            works |= dict.fromkeys([*free, line], f"{function.name} {goal}")
            free = []
        elif pending and (goal == pending or goal.startswith((f"{pending}[", f"{pending}."))):
            works[line] = f"{function.name} {pending}"
        else:
            free.append(line)
        body.append(statement)
    statement = function.body[-1]
    if pending:
        put("_seen", pending, begun, f", {pending}")
    function.body = body
    return works


def difference(got: Any, expected: torch.Tensor) -> str:
    """What is wrong with a value; "" if it is right."""
    if not isinstance(got, torch.Tensor):
        return f"wrong kind of value. got: {type(got).__name__}. expected: a tensor of shape {tuple(expected.shape)}"
    if got.shape != expected.shape:
        return f"wrong shape. got: {tuple(got.shape)}. expected: {tuple(expected.shape)}"
    if not got.isfinite().all() and expected.isfinite().all():
        return f"{int((~got.isfinite()).sum())} of {got.numel()} numbers are NaN or infinite. expected: finite ones"
    off = (got.double() - expected.double()).abs()
    size = expected.double().abs().max().item() if expected.numel() else 0.0
    if not expected.numel() or off.max().item() <= CLOSE * size + 1e-12:
        return ""
    at = [int(k) for k in torch.unravel_index(off.argmax(), off.shape)]
    place = f" at {at}" if at else ""
    why = f"wrong value{place}. got: {got[tuple(at)].item():.6g}. expected: {expected[tuple(at)].item():.6g}"
    times = (got.double() * expected.double()).sum().item() / expected.double().square().sum().clamp(min=1e-300).item()
    if times and (got.double() - times * expected.double()).abs().max().item() <= 1e-6 * abs(times) * size:
        return f"{why}. All of it is {times:.6g} times what is expected"
    return why


def instrumented(source: str, keys: dict[str, list[str]], seen: Any) -> tuple[dict[int, str], Any]:
    """The key of each line, and the backward, which calls `seen(key, line, value)` for each value of the solution."""
    functions = backward_functions(source)
    works: dict[int, str] = {}
    for name, function in functions.items():
        works |= with_checks(function, keys.get(name, []))

    def todo(key: str, line: int) -> None:
        raise Wrong(key, line, "still TODO")

    tree = ast.fix_missing_locations(ast.Module(list(functions.values()), []))
    names: dict[str, Any] = {**globals(), "_seen": seen, "_todo": todo}
    exec(compile(tree, "<backward>", "exec"), names)

    def go(p: Any, kept: Any) -> None:
        with torch.no_grad():
            names["backward"](p, kept)

    return works, go


def raised(error: Exception, works: dict[int, str], left: list[tuple[str, torch.Tensor]], compare: Any) -> None:
    """Raise Wrong for the line that raised an error, or for the line before, if its value was not compared yet."""
    frames = [f for f, _ in traceback.walk_tb(error.__traceback__) if f.f_code.co_filename == "<backward>"]
    line = [n for f, n in traceback.walk_tb(error.__traceback__) if f in frames][-1]
    key, next_key = works.get(line, ""), left[0][0] if left else ""
    if key != next_key and next_key.startswith(frames[-1].f_code.co_name + " "):
        try:
            value = eval(next_key.partition(" ")[2], frames[-1].f_globals, frames[-1].f_locals)
        except (NameError, KeyError):  # not computed yet
            pass
        else:
            compare(next_key, next(k for k, v in works.items() if v == next_key), value)
    message = str(error).partition("\n")[0]
    raise Wrong(key or next_key, line, f"raises {type(error).__name__}: {message}")


def checked(source: str) -> tuple[Wrong | None, int, dict[str, Any]]:
    """The first line that is wrong or None, how many values were right before it, and the decoded solution."""
    answers = json.loads(base64.b64decode(ANSWERS))
    p, given = data()  # type: ignore[name-defined]  # noqa: F821
    torch.manual_seed(1)
    _, kept = forward(p, *given)  # type: ignore[name-defined]  # noqa: F821
    expected: list[tuple[str, torch.Tensor]] = []
    _, solve = instrumented(
        answers["backward"], answers["keys"], lambda key, _, value: expected.append((key, value.clone()))
    )
    solve(p, kept)
    right = 0

    def compare(key: str, line: int, value: Any) -> None:
        nonlocal right
        wanted, number = expected[right] if right < len(expected) else ("", torch.zeros(()))
        if key != wanted:
            raise Wrong(wanted, line, f"no value before {key.split(' ', 1)[1]} is computed. expected: this value first")
        if why := difference(value, number):
            raise Wrong(key, line, why)
        right += 1

    works, student = instrumented(source, answers["keys"], compare)
    try:
        student(p, kept)
    except Wrong as wrong:
        return wrong, right, answers
    except Exception as error:
        try:
            raised(error, works, expected[right:], compare)
        except Wrong as wrong:
            return wrong, right, answers
    if right < len(expected):
        return Wrong(expected[right][0], 0, "no value. expected: an assignment to it"), right, answers
    return None, right, answers


def main() -> int:
    with open(__file__) as file:
        source = file.read()
    torch.set_default_dtype(torch.float64)
    wrong, right, answers = checked(source)
    if wrong is None:
        print(f"All right: {right} values, each as expected.")
        return 0
    function, _, name = wrong.key.replace("'", '"').partition(" ")
    print(f"{right} values are right. The first that is not, in line {wrong.line}:")
    print(f"  {name}: {wrong.why}")
    formula = answers["formulas"].get(wrong.key, "as the forward has it")
    print("  formula:", formula.replace("\n", "\n           "))
    if "--solution" in sys.argv:
        print(f"  solution, in {function}:")
        print(answers["lines"].get(wrong.key, "    this line was given"))
    else:
        print("  its solution: python exercise.py --solution".replace("exercise.py", sys.argv[0]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
