"""What tests of the window share. They are run or fail: one that skips itself would pass on a machine where nothing works."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    return _run_or_failed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Any:
    return _run_or_failed((yield))


def _run_or_failed(report: Any) -> Any:
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skipped itself; tests of the window must run"
    return report


class Slow:
    """An array of 32 blocks of 0.2 s each: a build of it takes seconds. Counts how often it is read."""

    shape, dtype, ndim, size = (64, 256, 512), np.dtype("u2"), 3, 64 * 256 * 512
    chunks = (64, 64, 64)

    def __init__(self) -> None:
        self.reads = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        self.reads += 1
        time.sleep(0.2)
        return np.broadcast_to(np.uint16(7), self.shape)[key]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer(show=True)
