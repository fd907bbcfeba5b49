"""Let workers write only while their build has a token in the workspace, and wait for the others.

    token-TOKEN                 there while a pass of a build is under way
    worker-TOKEN-HOST-PID       there while a process fills tiles of it: a file that is locked, or
                                an object that is renewed

A process first puts the second, and then looks for the first. To stop all writing, remove the first
and wait until the second has disappeared.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from napari_pyramid.build.ended_process import has_ended
from napari_pyramid.build.renewal import Renewal
from napari_pyramid.storage.folder import Folder, Place

__all__ = ["busy", "has_token", "put_token", "remove_tokens", "wait_for_workers"]

BEAT = 5.0
"""Seconds between two renewals of the object of a worker."""
SILENCE = 30.0
"""Seconds without renewal after which a worker on another host counts as dead.

They are measured by the clock of whoever waits. A worker that is only slow writes the bytes of its
own build at worst.
"""
POLL = 0.1
"""Seconds between the first two looks at the objects of workers; the pauses grow."""

_guard = threading.Lock()
"""Guards `_signs`: a worker process may fill tiles in several threads."""
_signs: dict[str, _Sign] = {}


# ---- the build -----------------------------------------------------------------------------------


def put_token(workspace: Place, token: str) -> None:
    """Let the workers of a build write."""
    (workspace / f"token-{token}").write_bytes(b"1")


def remove_tokens(workspace: Place, token: str = "") -> None:
    """Let no tile start, of one build or of all."""
    for entry in _entries(workspace, f"token-{token}"):
        entry.unlink(missing_ok=True)


def wait_for_workers(workspace: Place, token: str = "") -> None:
    """Wait until no process fills a tile, of one build or of all."""
    if isinstance(workspace, Path):
        for path in workspace.glob(f"worker-{token}*"):
            with FileLock(path):
                pass
            path.unlink(missing_ok=True)
    else:
        _wait_for_objects(workspace, f"worker-{token}")


def _entries(workspace: Place, start: str) -> list[Place]:
    try:
        return [entry for entry in workspace.iterdir() if entry.name.startswith(start)]
    except FileNotFoundError:
        return []


def _wait_for_objects(workspace: Folder, start: str) -> None:
    """Wait until each object of a worker has been deleted, or not renewed for a while."""
    seen: dict[str, tuple[bytes, float]] = {}
    pause = POLL
    while found := _entries(workspace, start):
        for entry in found:
            try:
                content = entry.read_bytes()
            except FileNotFoundError:
                continue
            before, since = seen.get(entry.name, (b"", 0.0))
            if content != before:
                before, since = seen[entry.name] = content, time.monotonic()
            if _worker_has_ended(content) or time.monotonic() - since > SILENCE:
                entry.unlink(missing_ok=True)
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def _worker_has_ended(content: bytes) -> bool:
    try:
        worker = json.loads(content)
        return has_ended(worker["host"], worker["pid"])
    except (ValueError, KeyError, TypeError):
        return False


# ---- the workers ---------------------------------------------------------------------------------


def has_token(workspace: Place, token: str) -> bool:
    """Return whether a build still lets its workers write."""
    return (workspace / f"token-{token}").is_file()


@contextmanager
def busy(workspace: Place, token: str) -> Iterator[None]:
    """Show others that this process may be writing, until the last of its threads has left."""
    name = f"worker-{token}-{socket.gethostname()}-{os.getpid()}"
    with _guard:
        place = workspace / name
        sign = _signs.setdefault(
            str(place), _FileSign(place) if isinstance(place, Path) else _ObjectSign(place)
        )
        sign.enter()
    try:
        yield
    finally:
        with _guard:
            if sign.leave():
                _signs.pop(str(place), None)


class _Sign(Protocol):
    """A sign of this process; threads enter and leave one at a time."""

    def enter(self) -> None:
        """Count one more thread, and put the sign for the first."""

    def leave(self) -> bool:
        """Count one thread less, and return whether it was the last, which removes the sign."""


class _FileSign:
    """A lock of a file, which the system drops with its process."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)

    def enter(self) -> None:
        self._lock.acquire()  # counted: each thread releases it once

    def leave(self) -> bool:
        self._lock.release()
        return not self._lock.is_locked


class _ObjectSign:
    """An object that a thread renews."""

    def __init__(self, place: Folder) -> None:
        self._place = place
        self._threads = 0
        self._renewal: Renewal | None = None

    def enter(self) -> None:
        if not self._threads:
            self._put()
            self._renewal = Renewal(self._put, BEAT, "napari-pyramid-worker")
        self._threads += 1

    def leave(self) -> bool:
        self._threads -= 1
        if self._threads:
            return False
        if self._renewal is not None:
            self._renewal.stop()
        with suppress(OSError):  # who waits for it sees that it is not renewed
            self._place.unlink(missing_ok=True)
        return True

    def _put(self) -> bool:
        """Write the sign, and return that it is to be renewed."""
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "renewed": time.time()}
        self._place.write_bytes(json.dumps(owner).encode())
        return True
