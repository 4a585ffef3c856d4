"""`make mutants`: run the checks against wrong versions of every formula; a survivor must be explained.

A mutant meets the checks that pass without it, on the rows that run its rule, until one catches it: cheap ones first,
those of `make test` before those of `make test-all`, so that the page can say how many each of the two catches.
Rows of many rules (whole transformers) serve those rules alone that no smaller row runs: they ask how rules are put
together, not what is in one. Kernels are off: a mutant is a wrong formula. Survivors that are equivalent mathematics
stand in `equivalent.txt`, each with its reason. Any other fails the run, and so does a reason that no survivor needs.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from manual_backprop.rules import RULES, backend
from manual_backprop.testing import Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.checks.values import outcome
from manual_backprop.testing.nodes import graph, is_rule
from manual_backprop.testing.report import run_check
from manual_backprop.testing.subject import differentiable

from .mutation import Mutant, calls_helpers_of, helper_mutants, mutants, rule_modules
from .tiers import in_make_test

# the others look at other things than a formula's values
CHECKS = (
    "forward", "float32", "specials", "deltas", "gradcheck", "forward_mode", "empty", "frozen", "gradgradcheck",
    "transforms", "autocast", "bfloat16",
)  # fmt: skip
SECONDS_PER_CHECK = 60  # none takes 5 without a mutant
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


NODES = 12
"""A row whose graph has more of them is one of many rules; it serves rules whose smallest row has half as many."""


MANY, FEW = 400, 4
"""Helpers that rules of more than so many rows call meet so many rows of each rule."""


def rules_of_rows() -> dict[str, list[int]]:
    """Rule name -> the rows whose graph it is part of, with or without autocast; large ones for lack of others."""
    found: dict[str, dict[int, int]] = {}
    for i, case in enumerate(CASES):
        subject = Subject(case)
        if subject.refused:
            continue
        for dtype, autocast in ((torch.float64, False), (torch.float32, True)):
            problem = subject.problem(dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                outputs, refused = outcome(lambda p=problem: p.ours(*p.leaves()))  # type: ignore[misc]
            nodes = [] if refused else graph(*differentiable(outputs))
            for name in {node._forward_cls.__name__ for node in nodes if is_rule(node)}:
                rows = found.setdefault(name, {})
                rows.setdefault(i, len(nodes))  # without autocast, whose casts are nodes, too, where it can be
    return {
        name: [i for i, nodes in rows.items() if nodes <= max(NODES, 2 * min(rows.values()))]
        for name, rows in found.items()
    }


class Trial(NamedTuple):
    """One check on one row. Trials sort in the order in which a mutant meets them."""

    late: bool
    """Whether `make test-all` alone runs it."""
    seconds: float
    row: int
    check: str


@functools.cache
def passing(row: int) -> list[Trial]:
    """The checks that pass on a row: another cannot catch anything."""
    found = []
    subject = Subject(CASES[row])
    for check in CHECKS:
        start = time.perf_counter()
        if run_check(subject, check).outcome == "pass":
            late = check not in in_make_test(CASES[row])
            found.append(Trial(late, time.perf_counter() - start, row, check))
    return found


def catcher(mutant: Mutant, rows: list[int], tier: str = "all") -> Trial | None:
    """The first trial of a tier that catches a mutant."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"no result after {SECONDS_PER_CHECK} s")

    trials = sorted(trial for row in rows for trial in passing(row) if tier == "all" or not trial.late)
    signal.signal(signal.SIGALRM, too_long)
    with mutant.installed():
        for trial in trials:
            signal.alarm(SECONDS_PER_CHECK)
            try:
                if run_check(Subject(CASES[trial.row]), trial.check).outcome == "fail":
                    return trial
            except Exception:
                return trial
            finally:
                signal.alarm(0)
    return None


def judge(job: tuple[str, list[int], str]) -> dict[str, Any]:
    """All mutants of one rule (or of one file's helpers) against its rows."""
    torch.set_num_threads(1)
    backend("formula")
    name, rows, tier = job
    if name in RULES:
        candidates = list(mutants(name))
    else:
        candidates = [m for module in rule_modules() if module.__name__ == name for m in helper_mutants(module)]
    caught = {mutant.key: catcher(mutant, rows, tier) for mutant in candidates}
    return {
        "name": name,
        "mutants": len(candidates),
        "kinds": Counter(mutant.kind for mutant in candidates),
        "late": {key: f"{CASES[t.row].name}, {t.check}" for key, t in caught.items() if t is not None and t.late},
        "survivors": [key for key, trial in caught.items() if trial is None],
    }


def equivalents() -> dict[str, str]:
    """Key -> reason, from equivalent.txt."""
    lines = [line for line in EQUIVALENT.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return dict((part.strip() for part in line.split("  # ", 1)) for line in lines)  # type: ignore[misc]


def rows_of_helpers(module: ModuleType, by_rule: dict[str, list[int]]) -> list[int]:
    """The rows of the rules that call the helpers of a file; of helpers that most rules call, some rows of each."""
    found = [rows for name, rows in by_rule.items() if calls_helpers_of(module, RULES[name])]
    many = sum(map(len, found)) > MANY
    return sorted({i for rows in found for i in (rows[:FEW] if many else rows)})


def jobs(only: list[str] | None, tier: str) -> list[tuple[str, list[int], str]]:
    """(rule or file, its rows, the tier of checks)"""
    by_rule = rules_of_rows()
    chosen = [(name, rows, tier) for name, rows in by_rule.items()]
    for module in rule_modules():
        if any(True for _ in helper_mutants(module)):
            chosen.append((module.__name__, rows_of_helpers(module, by_rule), tier))
    return [job for job in chosen if only is None or job[0] in only]


def markdown(results: list[dict[str, Any]], known: dict[str, str], time_taken: str) -> str:
    """The page of the documentation."""
    survivors = [s for r in results for s in r["survivors"]]
    kinds = sum((r["kinds"] for r in results), Counter())
    total, equivalent = sum(r["mutants"] for r in results), sum(s in known for s in survivors)
    late = {key: trial for r in results for key, trial in r["late"].items()}
    lines = [
        "# Mutants",
        "",
        "Wrong versions of every formula, each with one small mistake, against the check suite. Written by",
        "`python -m tests.mutants --out docs`; `make mutants` runs the same and fails on a survivor without a reason.",
        "",
        f"{total} mutants in {time_taken}: {total - len(survivors)} caught, {len(late)} of them by checks that "
        f"`make test-all` alone runs; {equivalent} equivalent, {len(survivors) - equivalent} survivors.",
        "",
        "Mistakes: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) + ".",
        "",
        "| formulas of | mutants | caught by `make test` | by `make test-all` | equivalent | survivors |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        same = sum(s in known for s in r["survivors"])
        left = len(r["survivors"])
        caught = r["mutants"] - left
        name = f"`{r['name']}`" if r["name"] in RULES else f"helpers in `{r['name'].rsplit('.', 1)[-1]}.py`"
        lines.append(f"| {name} | {r['mutants']} | {caught - len(r['late'])} | {caught} | {same} | {left - same} |")
    if late:
        lines += ["", "## Caught by `make test-all` alone", ""]
        lines += [f"* `{key}` by {trial}" for key, trial in sorted(late.items())]
    lines += ["", "## Not caught, and why not", ""]
    lines += [f"* `{s}`: {known.get(s, 'not explained')}" for s in sorted(survivors)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", nargs="+", help="only these rules, or files of helpers")
    parser.add_argument(
        "--tier", choices=("all", "default"), default="all",
        help="default: only the checks that make test runs; a mutant that they miss counts as a survivor",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write FOLDER/mutants.md")
    options = parser.parse_args()
    start, known, results = time.monotonic(), equivalents(), []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for result in pool.imap_unordered(judge, jobs(options.rule, options.tier)):
            results.append(result)
            print(
                f"{result['name']:<40} {result['mutants']:>4} mutants, {len(result['survivors'])} survivors", flush=True
            )
            for survivor in result["survivors"]:
                print(f"    {'equivalent' if survivor in known else 'SURVIVED'}  {survivor}", flush=True)
            for key, trial in result["late"].items():
                print(f"    test-all    {key}  by {trial}", flush=True)
    results.sort(key=lambda r: (r["name"] not in RULES, r["name"]))
    seconds = time.monotonic() - start
    taken = f"{seconds / 60:.0f} minutes, {options.processes} at a time"
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        temporary = options.out / ".mutants.md"
        temporary.write_text(markdown(results, known, taken))
        os.replace(temporary, options.out / "mutants.md")
    survivors = {s for r in results for s in r["survivors"]}
    unexplained, total = survivors - known.keys(), sum(r["mutants"] for r in results)
    stale = [] if options.rule or options.tier != "all" else sorted(known.keys() - survivors)
    for key in stale:
        print(f"NOT NEEDED  {key}: it was caught or is no more; take it out of {EQUIVALENT.name}")
    late = sum(len(r["late"]) for r in results)
    print(
        f"{total} mutants, {late} caught by make test-all alone, {len(survivors)} survivors, "
        f"{len(unexplained)} unexplained, {seconds:.0f} s"
    )
    return 1 if unexplained or stale or not total else 0


if __name__ == "__main__":
    sys.exit(main())
