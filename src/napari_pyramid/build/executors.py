"""Fill tiles in other processes or on other machines, through any executor."""

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

__all__ = ["check_executor", "filler", "is_remote", "lost_workers_explained", "recall", "window"]

_guard = threading.Lock()
"""Guards `_locks` and `_opened`: a worker process may fill tiles in several threads."""
_locks: dict[Path, FileLock] = {}
_opened: dict[str, TileFiller] = {}
"""Filler of the pass that this process works on: one entry, because passes follow each other."""


def is_remote(executor: Executor | None) -> bool:
    """Return whether tiles are filled outside of this process, that is, not in its threads."""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


def check_executor(executor: Executor | None, job: Job) -> None:
    """Raise if the workers of an executor cannot open the source of a job.

    Raises
    ------
    SpecError
        If the tiles would leave this process, and the source cannot be opened from another one.
    """
    if is_remote(executor) and not job.source.is_portable:
        raise SpecError(
            "other processes cannot open this source: an executor needs a zarr array in a "
            "directory; save the source first, or use threads"
        )


def window(executor: Executor | None, workers: int) -> int:
    """Return how many tiles may be pending at once.

    Parameters
    ----------
    workers
        Number of tiles that fit in the memory of one process.
    """
    if executor is None:
        return 2 * workers  # threads of our own: exactly `workers` of them run
    if not is_remote(executor):
        return workers
    return 2 * max(workers, width_of(executor))


def filler(job: Job, number: int) -> Callable[[int], Filled]:
    """Return a picklable callable ``fill(tile_number)`` for pass `number`, for other processes."""
    workspace = job.target.workspace.directory
    token = uuid.uuid4().hex
    (workspace / "token").write_text(token)
    return partial(_fill, _portable(job), number, str(workspace), token)


def _portable(job: Job) -> Job:
    """Return the job for other processes: with one codec thread per worker."""
    return replace(job, passes=tuple(replace(p, codec_threads=1) for p in job.passes))


def recall(job: Job) -> None:
    """Wait for the tiles that other processes are filling, and let no further tile start.

    An executor may run a call that it has reported as cancelled. Without the token it fills
    nothing.
    """
    workspace = job.target.workspace
    (workspace.directory / "token").unlink(missing_ok=True)
    workspace.wait_for_workers()


@contextmanager
def lost_workers_explained(executor: Executor | None) -> Iterator[None]:
    """Replace the errors that mean a lost worker by one that says what to do.

    Raises
    ------
    DestinationError
        If a worker process ended, or the executor gave up a tile.
    """
    try:
        yield
    except Exception as exc:
        message = _loss_message(exc) if is_remote(executor) else None
        if message is None:
            raise
        raise DestinationError(message) from exc


def _loss_message(error: Exception) -> str | None:
    """Return a message if `error` means a lost worker or a closed executor, else None."""
    names = {cls.__name__ for cls in type(error).__mro__}
    # By name: KilledWorker is a class of dask, which may not be installed.
    if isinstance(error, BrokenExecutor) or "KilledWorker" in names:
        return (
            "a worker process ended, perhaps out of memory: "
            "try fewer workers or a smaller memory limit"
        )
    if isinstance(error, CancelledError):
        return "the executor was closed, or its workers were lost: run it again"
    return None


def _fill(job: Job, number: int, workspace: str, token: str, tile: int) -> Filled:
    """Fill one tile, unless its build has ended or another build has replaced it."""
    directory = Path(workspace)
    _check_token(directory, token)  # first: the lock would create a removed workspace again
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
    """Hold a lock that tells the next build that this process may still be writing.

    The lock is released when the last thread of the process has left.
    """
    path = workspace / f"worker-{os.getpid()}.lock"
    with _guard:
        lock = _locks.setdefault(path, FileLock(path, thread_local=False))
        lock.acquire()  # counted: each thread releases it once
    try:
        yield
    finally:
        with _guard:
            lock.release()


def _opened_once(job: Job, number: int, token: str) -> TileFiller:
    """Return the filler of a pass, which all threads of this process share."""
    key = f"{token}-{number}"
    with _guard:
        if key not in _opened:
            _opened.clear()
            _opened[key] = job.filler(job.passes[number], _never)
        return _opened[key]


def _never() -> None:
    pass
