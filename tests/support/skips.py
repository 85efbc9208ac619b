"""Skipped tests: on a developer's machine they say what is missing, in CI they fail.

Knows which of them CI excuses, by what they say.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

EXCUSED = ("this machine lets nobody mount a small file system",)
"""Beginnings of reasons that hold in a container too, where nobody can install what is missing."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and "CI" in os.environ and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(EXCUSED):
            report.outcome = "failed"
            report.longrepr = f"a skip is a failure in CI: {reason}"
    return report
