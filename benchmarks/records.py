"""A plugin of pytest: appends a line of JSON to the file $RECORDS after every test. So the results of a run that is
stopped are not lost."""

from __future__ import annotations

import json
import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ or (report.passed and report.when != "call"):
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if report.failed else ""
    message = crash.message if crash is not None and report.failed else text
    line = {"test": report.nodeid, "outcome": report.outcome, "message": " ".join(message.split()), "text": text}
    with open(os.environ["RECORDS"], "a") as file:
        file.write(json.dumps(line) + "\n")
