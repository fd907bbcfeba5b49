"""Fills tiles in other processes or on other machines, through any executor; knows no progress, no journal."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from napari_pyramid.build.fill import Filled, TileFiller
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.storage.private_names import width_of

if TYPE_CHECKING:
    from napari_pyramid.build.job import Job

__all__ = ["check_executor", "filler", "is_remote", "losses_told", "recall", "window"]

_guard = threading.Lock()
"""Around what follows: a worker process may fill tiles in several threads."""
_locks: dict[Path, FileLock] = {}
_opened: dict[str, TileFiller] = {}
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
        raise SpecError(
            "other processes cannot open this source: an executor needs a zarr array in a directory; save the source first, or use threads"
        )


def window(executor: Executor | None, workers: int) -> int:
    """How many tiles to hand out at once, where `workers` of them fit in the memory of one process."""
    if executor is None:
        return 2 * workers  # to our own threads, of which there are no more
    if not is_remote(executor):
        return workers
    return 2 * max(workers, width_of(executor))


def filler(job: Job, number: int) -> Callable[[int], Filled]:
    """A picklable function that fills a tile of pass `number` by its number, wherever it is called."""
    workspace = job.target.workspace.directory
    token = uuid.uuid4().hex
    (workspace / "token").write_text(token)
    return partial(_fill, _portable(job), number, str(workspace), token)


def _portable(job: Job) -> Job:
    """The job without what cannot travel: one thread a worker, and no lock of ours."""
    return replace(job, passes=tuple(replace(p, codec_threads=1) for p in job.passes))


def recall(job: Job) -> None:
    """Waits for the tiles under way elsewhere, and lets no other begin: an executor may cancel a call and run it still."""
    workspace = job.target.workspace
    (workspace.directory / "token").unlink(missing_ok=True)
    workspace.wait_for_workers()


@contextmanager
def losses_told(executor: Executor | None) -> Iterator[None]:
    """
    Raises
    ------
    DestinationError
        If a worker process ended, or the executor gave up a tile.
    """
    try:
        yield
    except Exception as exc:
        told = _told(exc) if is_remote(executor) else None
        if told is None:
            raise
        raise DestinationError(told) from exc


def _told(error: Exception) -> str | None:
    """What the loss of a worker means; None for an error that is none."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if (
        isinstance(error, BrokenExecutor) or "KilledWorker" in names
    ):  # the latter is dask's, which may not be installed
        return "a worker process ended, perhaps out of memory: try fewer workers or a smaller memory limit"
    if isinstance(error, CancelledError):
        return "the executor was closed, or its workers were lost: run it again"
    return None


def _fill(job: Job, number: int, workspace: str, token: str, tile: int) -> Filled:
    """Fills one tile, unless the build that wanted it has ended or has been replaced by another."""
    directory = Path(workspace)
    _check_token(directory, token)  # first: the lock would make a removed workspace anew
    with _busy(directory):
        _check_token(directory, token)
        return _opened_once(job, number, token).fill(tile)


def _check_token(workspace: Path, token: str) -> None:
    try:
        found = (workspace / "token").read_text()
    except FileNotFoundError:
        found = ""
    if found != token:
        raise DestinationError(
            f"{workspace}: the unfinished work was removed, or another build has taken over"
        )


@contextmanager
def _busy(workspace: Path) -> Iterator[None]:
    """Tells whoever builds next that this process may still be writing, until the last of its threads has left."""
    path = workspace / f"worker-{os.getpid()}.lock"
    with _guard:
        lock = _locks.setdefault(path, FileLock(path, thread_local=False))
        lock.acquire()  # it counts how often
    try:
        yield
    finally:
        with _guard:
            lock.release()


def _opened_once(job: Job, number: int, token: str) -> TileFiller:
    """The filler of a pass, for all threads of this process."""
    key = f"{token}-{number}"
    with _guard:
        if key not in _opened:
            _opened.clear()
            _opened[key] = job.filler(job.passes[number], _never)
        return _opened[key]


def _never() -> None:
    pass
