"""Fill tiles in other processes or on other machines, through any executor."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from napari_pyramid.build.capacity import is_remote
from napari_pyramid.build.dask_executor import DaskExecutor
from napari_pyramid.build.fill import Filled
from napari_pyramid.build.job import Job
from napari_pyramid.build.tokens import put_token, remove_tokens, wait_for_workers
from napari_pyramid.build.worker import Parcel, fill_tiles
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.storage.folder import Folder

__all__ = ["check_executor", "filler", "is_remote", "lost_workers_explained", "recall"]


def check_executor(executor: Executor | None, job: Job) -> None:
    """Raise if the workers of an executor cannot open the source or the destination of a job.

    Raises
    ------
    SpecError
        If the tiles would leave this process, and one of the two cannot be opened from another.
    """
    if not is_remote(executor):
        return
    if not job.source.is_portable:
        raise SpecError(
            "other processes cannot open this source: an executor needs a zarr array in a "
            "directory or behind a URL; save the source first, or use threads"
        )
    place = job.target.directory
    if isinstance(place, Folder) and not place.objects.is_portable:
        raise SpecError(
            f"{place}: other processes cannot open this store: an executor needs a directory or a "
            "bucket as destination; use threads"
        )


def filler(
    job: Job, number: int, executor: Executor, token: str
) -> Callable[[Sequence[int]], list[Filled]]:
    """Return a picklable callable ``fill(tile_numbers)`` for pass `number`, for other processes.

    It fills tiles until `recall` is called with the same token.

    Raises
    ------
    SpecError
        If the job cannot be sent to other processes, such as a method that is a local function.
    DestinationError
        If another build has taken over.
    """
    workspace = job.target.workspace
    parcel = Parcel(
        _pickled(_portable(job), executor),
        number,
        workspace.directory,
        token,
        job.source.identity,
        job.memory_limit,
    )
    workspace.confirm()
    put_token(workspace.directory, token)
    return partial(fill_tiles, parcel)


def _portable(job: Job) -> Job:
    """Return the job for other processes: with one codec thread per worker."""
    return replace(job, passes=tuple(replace(p, codec_threads=1) for p in job.passes))


def _pickled(job: Job, executor: Executor) -> bytes:
    """Return the job as bytes.

    Dask's workers have cloudpickle, which also sends functions of ``__main__``.
    """
    by = importlib.import_module("cloudpickle") if isinstance(executor, DaskExecutor) else pickle
    try:
        content: bytes = by.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SpecError(f"the build cannot be sent to other processes: {error}") from error
    return content


def recall(job: Job, token: str) -> None:
    """Wait for the tiles that other processes are filling, and let no further tile start.

    An executor may run a call that it has reported as cancelled. Without the token it fills
    nothing.
    """
    remove_tokens(job.target.workspace.directory, token)
    wait_for_workers(job.target.workspace.directory, token)


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
    # By name: these are classes of dask, which may not be installed.
    if isinstance(error, BrokenExecutor) or "KilledWorker" in names:
        return (
            "a worker process ended, perhaps out of memory: "
            "try fewer workers or a smaller memory limit"
        )
    if isinstance(error, CancelledError) or "ClosedClientError" in names:
        return "the executor was closed, or its workers were lost: run it again"
    return None
