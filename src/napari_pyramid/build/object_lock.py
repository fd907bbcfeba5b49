"""Hold a lock in a bucket: an object that only one process can create, and renews.

Locks are numbered. Taking over the lock of a dead process creates the next number, again only if
it does not exist: of two processes that try, one succeeds. The highest number holds. The lock of a
directory is in `workspace`.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
import warnings
from contextlib import suppress
from typing import Any

from napari_pyramid.build.ended_process import has_ended
from napari_pyramid.build.renewal import Renewal
from napari_pyramid.errors import BuildInProgressError, DestinationNotice
from napari_pyramid.storage.folder import Folder

__all__ = ["STALE", "ObjectLock"]

BEAT = 15.0
"""Seconds between two renewals of the lock."""
STALE = 600.0
"""Seconds after which a lock that is not renewed counts as left behind.

More than the clocks of two machines differ by.
"""
_LOCK = re.compile(r"lock-(\d+)\.json")
_held: set[str] = set()
"""Tokens of the locks that this process holds."""


class ObjectLock:
    """The lock of the builds of one workspace.

    Parameters
    ----------
    folder
        Folder of the lock.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._mine: Folder | None = None
        self._token = ""
        self._since = ""
        self._lost = False
        self._renewal: Renewal | None = None

    def acquire(self) -> None:
        """Take the lock, and renew it from a thread until it is released.

        Raises
        ------
        BuildInProgressError
            If a process that may be alive holds it; the message says which, and what to do.
        OSError
            If the store cannot be read or written.
        """
        before = self._locks()
        last = max(before, default=0)
        if before and not _is_dead(before[last]):
            raise self._refusal(last, before[last])
        self._token, self._since = uuid.uuid4().hex, time.strftime("%Y-%m-%d %H:%M:%S")
        self._lost = False
        mine = self._lock_at(last + 1)
        if not mine.create(self._content()):
            raise self._refusal(last + 1, _read(mine))
        _held.add(self._token)
        self._mine = mine
        try:
            self._settle(last + 1, before)
            self._check_conditions(mine)
            self._renewal = Renewal(self._renew, BEAT, "napari-pyramid-lock")
        except BaseException:
            self.release()
            raise

    def _settle(self, number: int, before: dict[int, dict[str, Any]]) -> None:
        """Delete the locks that were taken over; raise if another one has appeared meanwhile."""
        others = {n: lock for n, lock in self._locks().items() if n != number}
        for n, lock in others.items():
            if lock.get("token") != before.get(n, {}).get("token"):
                raise self._refusal(n, lock)
        for n in others:
            self._lock_at(n).unlink(missing_ok=True)

    def release(self) -> None:
        """Delete the lock, unless somebody has taken it over."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.stop()
        mine, self._mine = self._mine, None
        if mine is None:
            return
        _held.discard(self._token)
        with suppress(OSError):  # another build takes it over: its process has ended
            if _read(mine).get("token") == self._token:
                mine.unlink(missing_ok=True)

    @property
    def is_lost(self) -> bool:
        """Whether somebody had taken the lock over, or removed it, when it was last renewed."""
        return self._lost

    def confirm(self) -> bool:
        """Ask the store, and return whether the lock is still held."""
        if self._mine is not None and not self._lost:
            locks = self._locks()
            self._lost = not locks or locks[max(locks)].get("token") != self._token
        return self._mine is not None and not self._lost

    # ---- the objects ----

    def _lock_at(self, number: int) -> Folder:
        return self._folder / f"lock-{number}.json"

    def _locks(self) -> dict[int, dict[str, Any]]:
        """Return the locks that exist, by number."""
        found = (_LOCK.fullmatch(entry.name) for entry in self._folder.iterdir())
        numbers = [int(match[1]) for match in found if match is not None]
        read = {n: _read(self._lock_at(n)) for n in numbers}
        return {n: lock for n, lock in read.items() if lock}  # without those just released

    def _content(self) -> bytes:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": self._since}
        return json.dumps({**owner, "token": self._token, "renewed": time.time()}).encode()

    def _renew(self) -> bool:
        """Renew the lock, and return whether it is still held."""
        if self.confirm() and self._mine is not None:
            self._mine.write_bytes(self._content())
        return not self._lost

    def _check_conditions(self, mine: Folder) -> None:
        """Warn if the store does not refuse to create an object that exists."""
        refuses = mine.objects.has_conditions
        if refuses and mine.create(self._content()):
            refuses = False
        if not refuses:
            warnings.warn(
                f"{self._folder.parent}: this store has no conditional writes, so that two builds "
                "that begin at the same moment are not kept apart: start only one",
                DestinationNotice,
                stacklevel=2,
            )

    def _refusal(self, number: int, lock: dict[str, Any]) -> BuildInProgressError:
        renewed = float(lock.get("renewed") or 0.0)
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(renewed))
        free = time.strftime("%H:%M:%S", time.localtime(renewed + STALE))
        return BuildInProgressError(
            f"{self._folder}: process {lock.get('pid')} on {lock.get('host')} is writing it now "
            f"(since {lock.get('since')}, last seen {seen}); wait until that build or update has "
            "finished, or cancel it where it runs, then try again. If that process is dead, its "
            f"work can be taken over from {free} on, or at once after deleting "
            f"{self._lock_at(number)}"
        )


def _read(lock: Folder) -> dict[str, Any]:
    """Return the content of a lock; empty if it is missing or not a JSON object."""
    try:
        document = json.loads(lock.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_dead(lock: dict[str, Any]) -> bool:
    """Return whether the process that holds a lock has ended.

    On this machine the system knows. Elsewhere, a process is taken for dead if it has not renewed
    its lock for `STALE` seconds.
    """
    try:
        if lock["host"] != socket.gethostname() or os.name != "posix":
            return bool(time.time() - lock["renewed"] > STALE)
        if lock["pid"] == os.getpid():
            return lock["token"] not in _held
        return has_ended(lock["host"], lock["pid"])
    except (KeyError, TypeError):
        return False
