"""Fill tiles in a worker process, for a build that runs in another process or on another host."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_pyramid.build.capacity import SHARE
from napari_pyramid.build.fill import Filled, TileFiller
from napari_pyramid.build.job import Job
from napari_pyramid.build.tokens import busy, has_token
from napari_pyramid.errors import DestinationError, SourceError
from napari_pyramid.plan.memory import OVERHEAD
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.objects import StoreError
from napari_pyramid.storage.private_names import dask_memory_limit

__all__ = ["Parcel", "fill_tiles"]

_guard = threading.Lock()
"""Guards `_opened`: a worker process may fill tiles in several threads."""
_opened: dict[str, _Opened] = {}
"""The pass that this process works on: one entry, because passes follow each other."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A pass of a job, as it is sent to workers with each tile.

    It is sent and kept in memory only: job and workspace may hold credentials.
    """

    job: bytes
    """The `Job`, pickled once for all tiles: each process unpickles the first one that it gets."""
    number: int
    """Number of the pass."""
    workspace: Place
    token: str
    """Name of the token that is in the workspace while the pass is under way."""
    identity: dict[str, Any] | None
    """Identity of the source where the build was planned."""
    memory: int
    """Bytes that tiles may fill in one worker process."""

    def __dask_tokenize__(self) -> tuple[str, int]:
        """Return the value by which dask names the calls, instead of a digest of all fields."""
        return self.token, self.number


@dataclass(frozen=True, slots=True)
class _Opened:
    filler: TileFiller
    room: threading.BoundedSemaphore
    """As many as fit in the memory of this process."""


def fill_tiles(parcel: Parcel, tiles: Sequence[int]) -> list[Filled]:
    """Fill tiles, one after the other, unless their build has ended or been replaced.

    Raises
    ------
    SourceError
        If this host sees another source than the host that planned the build, or none.
    DestinationError
        If the build has ended, or this host does not see its workspace.
    """
    _check_token(parcel)  # first: the sign would create a removed workspace again
    with busy(parcel.workspace, parcel.token):
        opened = _opened_once(parcel)
        with opened.room:
            return [_fill(parcel, opened.filler, tile) for tile in tiles]


def _fill(parcel: Parcel, filler: TileFiller, tile: int) -> Filled:
    _check_token(parcel)
    began = time.monotonic()
    filled = filler.fill(tile)
    return replace(filled, seconds=time.monotonic() - began)


def _check_token(parcel: Parcel) -> None:
    """Raise if the pass is not under way.

    Raises
    ------
    DestinationError
        If the token is missing.
    """
    try:
        if has_token(parcel.workspace, parcel.token):
            return
    except StoreError as error:
        # As no OSError: the source is not to blame.
        raise DestinationError(f"{socket.gethostname()}: {error.message}") from error
    place = "directory" if isinstance(parcel.workspace, Path) else "store"
    raise DestinationError(
        f"{parcel.workspace}: on {socket.gethostname()}, the unfinished work was removed, another "
        f"build has taken over, or the {place} is not shared with the host of the build"
    )


def _opened_once(parcel: Parcel) -> _Opened:
    """Return the filler of a pass, which all threads of this process share."""
    key = f"{parcel.token}-{parcel.number}"
    with _guard:
        if key not in _opened:
            _opened.clear()
            _opened[key] = _open(parcel)
        return _opened[key]


def _open(parcel: Parcel) -> _Opened:
    job: Job = pickle.loads(parcel.job)
    found = job.source.identity
    if found != parcel.identity:
        # Chunks of an array that is not there read as fill value, without any error.
        raise SourceError(
            f"{socket.gethostname()} does not see the source, or sees another one: it must be in a "
            "directory that all hosts share, or behind a URL that all of them can open"
        )
    p = job.passes[parcel.number]
    own = dask_memory_limit()
    memory = parcel.memory if own is None else min(parcel.memory, int(SHARE * own))
    fitting = max(1, (memory - OVERHEAD) // job.worker_bytes(p))
    return _Opened(job.filler(p, _never), threading.BoundedSemaphore(fitting))


def _never() -> None:
    pass
