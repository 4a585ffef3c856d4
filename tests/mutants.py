"""`make mutants`: run the checks against wrong versions of every formula; a survivor must be explained.

A mutant meets the checks that pass without it, on the rows that run its rule, cheap ones first, until one catches it.
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
from typing import Any

import torch

from manual_backprop.rules import RULES, backend
from manual_backprop.testing import Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.checks.values import outcome
from manual_backprop.testing.nodes import graph, is_rule
from manual_backprop.testing.report import run_check
from manual_backprop.testing.subject import differentiable

from .mutation import Mutant, helper_mutants, mutants, rule_modules

# the others look at other things than a formula's values
CHECKS = (
    "forward", "float32", "specials", "deltas", "gradcheck", "forward_mode", "empty", "frozen", "gradgradcheck",
    "transforms", "autocast", "bfloat16",
)  # fmt: skip
SECONDS_PER_CHECK = 60  # none takes 5 without a mutant
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


NODES = 12
"""A row whose graph has more of them is one of many rules; it serves rules whose smallest row has half as many."""


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
                rows[i] = max(rows.get(i, 0), len(nodes))
    return {
        name: [i for i, nodes in rows.items() if nodes <= max(NODES, 2 * min(rows.values()))]
        for name, rows in found.items()
    }


@functools.cache
def passing(row: int) -> list[tuple[float, int, str]]:
    """(seconds, row, check) of the checks that pass on a row: another cannot catch anything."""
    found = []
    subject = Subject(CASES[row])
    for check in CHECKS:
        start = time.perf_counter()
        if run_check(subject, check).outcome == "pass":
            found.append((time.perf_counter() - start, row, check))
    return found


def survives(mutant: Mutant, rows: list[int]) -> bool:
    """Whether no check catches a mutant."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"no result after {SECONDS_PER_CHECK} s")

    trials = sorted(trial for row in rows for trial in passing(row))
    signal.signal(signal.SIGALRM, too_long)
    with mutant.installed():
        for _, row, check in trials:
            signal.alarm(SECONDS_PER_CHECK)
            try:
                if run_check(Subject(CASES[row]), check).outcome == "fail":
                    return False
            except Exception:
                return False
            finally:
                signal.alarm(0)
    return True


def judge(job: tuple[str, list[int]]) -> dict[str, Any]:
    """All mutants of one rule (or of one file's helpers) against its rows."""
    torch.set_num_threads(1)
    backend("formula")
    name, rows = job
    if name in RULES:
        candidates = list(mutants(name))
    else:
        candidates = [m for module in rule_modules() if module.__name__ == name for m in helper_mutants(module)]
    survivors = [mutant.key for mutant in candidates if survives(mutant, rows)]
    kinds = Counter(mutant.kind for mutant in candidates)
    return {"name": name, "mutants": len(candidates), "kinds": kinds, "survivors": survivors}


def equivalents() -> dict[str, str]:
    """Key -> reason, from equivalent.txt."""
    lines = [line for line in EQUIVALENT.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return dict((part.strip() for part in line.split("  # ", 1)) for line in lines)  # type: ignore[misc]


def jobs(only: list[str] | None) -> list[tuple[str, list[int]]]:
    """(rule or file, its rows)"""
    by_rule = rules_of_rows()
    chosen = [(name, rows) for name, rows in by_rule.items()]
    for module in rule_modules():
        rows = sorted(
            {i for name, found in by_rule.items() if RULES[name].__module__ == module.__name__ for i in found}
        )
        if any(True for _ in helper_mutants(module)):
            chosen.append((module.__name__, rows))
    return [job for job in chosen if only is None or job[0] in only]


def markdown(results: list[dict[str, Any]], known: dict[str, str], time_taken: str) -> str:
    """The page of the documentation."""
    survivors = [s for r in results for s in r["survivors"]]
    kinds = sum((r["kinds"] for r in results), Counter())
    total, equivalent = sum(r["mutants"] for r in results), sum(s in known for s in survivors)
    lines = [
        "# Mutants",
        "",
        "Wrong versions of every formula, each with one small mistake, against the check suite. Written by",
        "`python -m tests.mutants --out docs`; `make mutants` runs the same and fails on a survivor without a reason.",
        "",
        f"{total} mutants in {time_taken}: {total - len(survivors)} caught, {equivalent} equivalent, "
        f"{len(survivors) - equivalent} survivors.",
        "",
        "Mistakes: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) + ".",
        "",
        "| formulas of | mutants | caught | equivalent | survivors |",
        "|---|---|---|---|---|",
    ]
    for r in results:
        same = sum(s in known for s in r["survivors"])
        left = len(r["survivors"])
        name = f"`{r['name']}`" if r["name"] in RULES else f"helpers in `{r['name'].rsplit('.', 1)[-1]}.py`"
        lines.append(f"| {name} | {r['mutants']} | {r['mutants'] - left} | {same} | {left - same} |")
    lines += ["", "## Not caught, and why not", ""]
    lines += [f"* `{s}`: {known.get(s, 'not explained')}" for s in sorted(survivors)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", nargs="+", help="only these rules, or files of helpers")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write FOLDER/mutants.md")
    options = parser.parse_args()
    start, known, results = time.monotonic(), equivalents(), []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for result in pool.imap_unordered(judge, jobs(options.rule)):
            results.append(result)
            print(
                f"{result['name']:<40} {result['mutants']:>4} mutants, {len(result['survivors'])} survivors", flush=True
            )
            for survivor in result["survivors"]:
                print(f"    {'equivalent' if survivor in known else 'SURVIVED'}  {survivor}", flush=True)
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
    stale = [] if options.rule else sorted(known.keys() - survivors)
    for key in stale:
        print(f"NOT NEEDED  {key}: it was caught or is no more; take it out of {EQUIVALENT.name}")
    print(f"{total} mutants, {len(survivors)} survivors, {len(unexplained)} unexplained, {seconds:.0f} s")
    return 1 if unexplained or stale or not total else 0


if __name__ == "__main__":
    sys.exit(main())
