"""Runs a build from the command line: source and recipe to the engine's generator, its steps to the terminal. Knows no pixels."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

from napari_pyramid.build import Progress
from napari_pyramid.cli._terminal import INTERRUPTED, Interrupt, progress_bar, say
from napari_pyramid.errors import PyramidError
from napari_pyramid.pyramid import Pyramid

__all__ = ["Steps", "executor_at", "run"]

Steps = Generator[Progress, None, Pyramid]


def run(build: Steps, *, quiet: bool = False, resume: bool = True) -> Pyramid:
    """Draws the build's progress until it is done; Ctrl-C closes it, and the process ends with status 130."""
    with Interrupt() as interrupt, progress_bar(quiet=quiet) as show:
        while not interrupt.asked:
            try:
                show(next(build))
            except StopIteration as end:
                pyramid: Pyramid = end.value
                return pyramid
        build.close()
    say("interrupted; the same command goes on from here" if resume else "interrupted; what was written is removed")
    sys.exit(INTERRUPTED)


def executor_at(address: str | None) -> Any:
    """An executor of the dask.distributed cluster at an address; None without one."""
    if address is None:
        return None
    try:
        from distributed import Client
    except ImportError:
        raise PyramidError("--scheduler needs dask.distributed: pip install distributed") from None
    try:
        return Client(address, timeout=10).get_executor()
    except OSError as error:
        raise PyramidError(f"no dask scheduler answers at {address}: {error}") from error
