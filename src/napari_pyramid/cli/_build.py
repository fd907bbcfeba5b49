"""Runs a build from the command line: source and recipe to the engine's generator, its steps to the terminal. Knows no pixels."""

from __future__ import annotations

import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_pyramid.build import executors
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.progress import Progress
from napari_pyramid.build.run import Run
from napari_pyramid.build.targets import Target
from napari_pyramid.cli._terminal import INTERRUPTED, Interrupt, progress_bar, say
from napari_pyramid.errors import PyramidError
from napari_pyramid.pyramid import Pyramid

__all__ = ["Steps", "executor_at", "run", "start"]

Steps = Generator[Progress, None, Pyramid]


def start(
    source: Any, destination: str | None = None, *, executor: Any = None, **options: Any
) -> tuple[Steps, Target]:
    """As `iter_build`, with the target: where the pyramid will be, and where unfinished work is kept if it is."""
    job = prepare_job(source, destination, **options)
    executors.check_executor(executor, job)
    return Run(job, executor).steps(), job.target


def run(build: Steps, unfinished: Path, *, quiet: bool = False) -> Pyramid:
    """Draws the build's progress until it is done; Ctrl-C closes it, and the process ends with status 130.

    Parameters
    ----------
    unfinished
        Where the build leaves what another run can go on from. Nothing is left of sources that could not be recognised
        again (arrays in memory, URLs, most plugins' files), nor when the user wants nothing resumed.
    """
    with Interrupt() as interrupt, progress_bar(quiet=quiet) as show:
        while not interrupt.asked:
            try:
                show(next(build))
            except StopIteration as end:
                pyramid: Pyramid = end.value
                return pyramid
        build.close()
    say(
        f"interrupted; {'the same command goes on from here' if unfinished.exists() else 'what was written is removed'}"
    )
    sys.exit(INTERRUPTED)


def executor_at(address: str | None) -> Any:
    """An executor of the dask.distributed cluster at an address; None without one."""
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
