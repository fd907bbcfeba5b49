"""Tests of the window are run or fail: one that skips itself would pass on a machine where nothing works."""

from __future__ import annotations

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> pytest.TestReport:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skipped itself; tests of the window must run"
    return report
