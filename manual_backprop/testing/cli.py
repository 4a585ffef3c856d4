"""Runs the checks on the layers and functions of this library. Prints a table: a row per configuration, a column per
check."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import torch

from ..errors import BadInput, unknown
from .case import Case
from .checks import CHECKS
from .report import Report, run_case

SYMBOLS = {"pass": "✓", "fail": "✗", "n/a": "·"}


def table(reports: Sequence[Report], checks: Sequence[str]) -> str:
    """One line per row, one column per check: ✓ passed, ✗ failed, · does not apply."""
    width = max((len(report.name) for report in reports), default=5)
    lines = [f"{'':<{width}}  {i + 1:>2} {name}" for i, name in enumerate(checks)]
    lines.append(f"{'':<{width}}  " + " ".join(f"{i + 1:>2}" for i in range(len(checks))))
    for report in reports:
        cells = " ".join(f"{SYMBOLS[result.outcome]:>2}" for result in report.results)
        lines.append(f"{report.name:<{width}}  {cells}")
    failed = [result for report in reports for result in report.results if result.outcome == "fail"]
    passed = sum(result.outcome == "pass" for report in reports for result in report.results)
    lines += ["", *(result.detail + "\n" for result in failed)]
    lines.append(f"{len(reports)} rows: {passed} checks passed, {len(failed)} failed")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks over the rows shipped with the library; exit status 1 when one fails. Raises BadInput for a layer
    or device that is not there."""
    parser = argparse.ArgumentParser("manual-backprop check", description=__doc__)
    parser.add_argument("--layer", metavar="NAME", help="only this layer or function, e.g. Conv2d or relu")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default %(default)s")
    parser.add_argument("--checks", nargs="+", choices=list(CHECKS), default=list(CHECKS), metavar="CHECK",
                        help="only these: " + ", ".join(CHECKS))  # fmt: skip
    options = parser.parse_args(argv)
    cases = _cases(options.layer)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA device here; run without --device.")
    reports = []
    for i, case in enumerate(cases):
        _progress(f"{i + 1}/{len(cases)} {case.name}")
        reports.append(run_case(case, options.checks, options.device))
    _progress("")
    print(table(reports, options.checks))
    return 0 if all(report.ok for report in reports) else 1


def _progress(line: str) -> None:
    """Overwrites the previous line of standard error; prints nothing where that is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{line:<78.78}\r", end="", file=sys.stderr, flush=True)


def _cases(name: str | None) -> list[Case]:
    cases: list[Case] = importlib.import_module("manual_backprop.testing.cases").CASES
    if name is None:
        return cases
    chosen = [case for case in cases if case.covers == name]
    if not chosen:
        raise unknown("layer or function", name, sorted({case.covers for case in cases}))
    return chosen


if __name__ == "__main__":
    sys.exit(main())
