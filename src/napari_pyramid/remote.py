"""Fills tiles in other processes or on other machines, through any executor; knows no progress, no journal."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.worker import Filled, ResidualFiller, TileFiller

if TYPE_CHECKING:
    from napari_pyramid.jobs import Job

__all__ = ["check_executor", "filler", "is_remote", "width"]

_opened: dict[str, TileFiller | ResidualFiller] = {}
"""The filler of the pass that this process works on; one, because passes follow each other."""


def is_remote(executor: Executor | None) -> bool:
    """Whether tiles leave this process: threads share its memory."""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


def check_executor(executor: Executor | None, job: Job) -> None:
    """
    Raises
    ------
    SpecError
        If the tiles would leave this process, and the source cannot be opened from another one.
    """
    if is_remote(executor) and not job.source.is_portable:
        raise SpecError("other processes cannot open this source: an executor needs a zarr array in a directory; save the source first, or use threads")


def width(executor: Executor) -> int:
    """How many tiles an executor works on at once; the number of processors where it does not say."""
    return int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)


def filler(job: Job, number: int) -> Callable[[int], Filled]:
    """A picklable function that fills a tile of pass `number` by its number, wherever it is called."""
    workspace = job.target.workspace.directory
    token = uuid.uuid4().hex
    (workspace / "token").write_text(token)
    return partial(_fill, _portable(job), number, str(workspace), token)


def _portable(job: Job) -> Job:
    """The job without what cannot travel: one thread a worker, and no lock of ours."""
    return replace(job, passes=tuple(replace(p, codec_threads=1) for p in job.passes))


def _fill(job: Job, number: int, workspace: str, token: str, tile: int) -> Filled:
    """Fills one tile, unless the build that wanted it has been replaced by another.

    The lock tells the next build that this process may still be writing, if its parent was killed.
    """
    with FileLock(Path(workspace) / f"worker-{os.getpid()}.lock"):
        if (Path(workspace) / "token").read_text() != token:
            raise DestinationError(f"{workspace}: another build has taken over")
        key = f"{token}-{number}"
        if key not in _opened:
            _opened.clear()
            _opened[key] = job.filler(job.passes[number], _never)
        return _opened[key].fill(tile)


def _never() -> None:
    pass
