"""Run a build from the command line: draw its progress, and stop it on Ctrl-C. Knows no pixels."""

from __future__ import annotations

import sys
from contextlib import closing
from importlib import import_module
from typing import Any

from napari_pyramid.build import Build
from napari_pyramid.build.progress import Steps
from napari_pyramid.cli._terminal import INTERRUPTED, Interrupt, progress_bar, say
from napari_pyramid.errors import PyramidError
from napari_pyramid.pyramid import Pyramid

__all__ = ["executor_at", "run"]

GOES_ON = "the same command goes on from here"
REMOVED = "what was written is removed"


def run(build: Build, *, quiet: bool = False) -> Pyramid:
    """Build the pyramid and draw its progress.

    Ctrl-C stops the build and ends the process with status 130. Unfinished work is kept, unless
    the user wants nothing resumed, or the source could not be recognised again (arrays in memory,
    URLs, files that most plugins read).
    """
    steps = Steps(build.steps())
    # A second Ctrl-C must count while the build is closed, so the interrupt is left last.
    with Interrupt() as interrupt, progress_bar(quiet=quiet) as show, closing(steps):
        for step in steps:
            show(step)
            if interrupt.asked:
                break
        else:
            return steps.result
    kept = build.workspace.exists()
    say(f"interrupted; {GOES_ON if kept else REMOVED}")
    sys.exit(INTERRUPTED)


def executor_at(address: str | None) -> Any:
    """Return an executor of the dask.distributed cluster at an address; None for no address."""
    if address is None:
        return None
    try:
        distributed: Any = import_module("distributed")  # it has no types
    except ImportError:
        raise PyramidError("--scheduler needs dask.distributed: pip install distributed") from None
    try:
        return distributed.Client(address, timeout=10).get_executor()
    except OSError as error:
        raise PyramidError(f"no dask scheduler answers at {address}: {error}") from error
