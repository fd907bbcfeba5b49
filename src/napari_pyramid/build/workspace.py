"""Keep the unfinished work of a build: lock, recipe, journals, new levels.

    .embryo.ome.zarr.building/      beside the outermost zarr store that the destination is in
        lock, owner.json            who is building; the system drops the lock with its process
        state.json                  a `BuildState`: fingerprint of the recipe, how far the build is
        journal-0, journal-1, ...   one byte a tile: 1 when all its blocks are written
        new/                        the levels, as arrays of a zarr group
        old/                        replaced levels, until all new ones are in their place
        before/                     metadata of the group before levels were put there

No reader looks there, so that nothing unfinished is ever seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_pyramid.build.journal import Journal, count_tiles
from napari_pyramid.build.state import BuildState, UnknownStateError
from napari_pyramid.errors import BuildInProgressError, DestinationError, explained
from napari_pyramid.storage.hierarchy import store_root
from napari_pyramid.storage.json_files import write_json

__all__ = ["Workspace", "fingerprint"]

PATIENCE = 10.0
"""Seconds to wait for the lock of a process that has died."""


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return the digest of a recipe: all values that the bytes of the result depend on."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()


class Workspace:
    """The unfinished work of one destination.

    Parameters
    ----------
    destination
        The group that is created, or that levels are added to.
    in_place
        Whether levels are added to an existing group.
    """

    def __init__(self, destination: Path, *, in_place: bool) -> None:
        self.destination = destination
        self.in_place = in_place
        root = store_root(destination)
        inner = (
            ""
            if root == destination
            else "." + hashlib.sha256(str(destination.relative_to(root)).encode()).hexdigest()[:8]
        )
        self.directory = root.parent / f".{root.name}{inner}.building"
        self._lock = FileLock(self.directory / "lock", blocking=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the lock, which stays with the process that builds."""
        return partial(Workspace, in_place=self.in_place), (self.destination,)

    @property
    def new(self) -> Path:
        """Directory of the new levels."""
        return self.directory / "new"

    # ---- one build at a time ---------------------------------------------------------------------

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        BuildInProgressError
            If another build holds it; the message names the process.
        DestinationError
            If nothing can be written there.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                if not self._owner_is_dead():
                    raise
                self._lock.acquire(timeout=PATIENCE, blocking=True)
        except Timeout as exc:
            raise BuildInProgressError(
                f"{self.destination}: {self._owner()} is building there now; wait for it or stop it"
            ) from exc
        except OSError as exc:
            raise DestinationError(
                f"{self.directory.parent}: cannot be written to: {exc.strerror or exc}"
            ) from exc
        try:
            self._sign()
            # The token of an earlier build, whose workers may still be running.
            (self.directory / "token").unlink(missing_ok=True)
            self.wait_for_workers()
        except OSError as exc:
            self.release()
            raise DestinationError(f"{self.directory}: {explained(exc)}") from exc

    def _sign(self) -> None:
        host, since = socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(
            self.directory / "owner.json", {"pid": os.getpid(), "host": host, "since": since}
        )

    def _owner_is_dead(self) -> bool:
        """Return whether ``owner.json`` names a process of this host that has ended.

        A child that the process was forking may hold the lock a moment longer.
        """
        try:
            owner = json.loads((self.directory / "owner.json").read_text())
            if os.name == "posix" and owner["host"] == socket.gethostname():
                os.kill(owner["pid"], 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return False

    def _owner(self) -> str:
        try:
            owner = json.loads((self.directory / "owner.json").read_text())
            return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
        except (OSError, ValueError, KeyError):
            return "another process"

    def wait_for_workers(self) -> None:
        """Wait until the worker processes that outlived their build have finished their tiles."""
        for path in self.directory.glob("worker-*.lock"):
            with FileLock(path):
                pass
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    # ---- what has been done ----------------------------------------------------------------------

    @property
    def state(self) -> BuildState | None:
        """The state that was saved last; None without unfinished work.

        Raises
        ------
        DestinationError
            If a later version of this program left the work, or the state is damaged.
        """
        document = self._document()
        if document.get("phase") in (None, "discarded"):
            return None
        try:
            return BuildState.from_json(document)
        except UnknownStateError as error:
            raise DestinationError(
                f"{self.directory} holds unfinished work {error}, which this version of "
                "napari-pyramid cannot read: finish it with the version that left it, or move the "
                "directory away"
            ) from None

    @property
    def has_work(self) -> bool:
        """Whether there is unfinished work, even if its state cannot be read."""
        return self._document().get("phase") not in (None, "discarded")

    def _document(self) -> dict[str, Any]:
        """Return ``state.json`` parsed; empty if it is missing or not a JSON object."""
        try:
            document = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def save_state(self, state: BuildState) -> None:
        """Replace ``state.json``."""
        write_json(self._state_file, state.to_json())

    def start_over(self) -> None:
        """Remove unfinished work, and keep the lock."""
        self._mark_discarded()
        self._remove_all_but("lock", "owner.json", "state.json")
        self._state_file.unlink(missing_ok=True)

    def _mark_discarded(self) -> None:
        """Save that the work is discarded: a crash may then leave journals without levels."""
        try:
            self.save_state(BuildState.discarded())
        except OSError:  # the disk may be full
            self._state_file.unlink(missing_ok=True)

    def _remove_all_but(self, *names: str) -> None:
        for path in self.directory.iterdir():
            if path.name in names:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @property
    def _state_file(self) -> Path:
        return self.directory / "state.json"

    @property
    def group(self) -> str | None:
        """In place: the group that levels are added to, relative to the workspace's parent."""
        return os.path.relpath(self.destination, self.directory.parent) if self.in_place else None

    def journal(self, number: int, n_tiles: int) -> Journal:
        """Return the journal of pass `number`, which is created if it does not exist."""
        return Journal(self.directory / f"journal-{number}", n_tiles)

    def count_tiles(self) -> tuple[int, int]:
        """Return how many tiles are done, and how many there are, over all journals."""
        counts = [count_tiles(path) for path in self.directory.glob("journal-*")]
        return sum(done for done, _ in counts), sum(total for _, total in counts)

    def is_intact(self) -> bool:
        """Return whether the workspace still exists: somebody may remove it during the build."""
        return self._state_file.exists()

    def discard(self) -> None:
        """Remove the workspace and release the lock.

        ``state.json`` is removed last, so that a crash leaves either work that can be resumed, or
        a state that says it is discarded.
        """
        if self.directory.exists():
            if self._document().get("phase") != "done":
                self._mark_discarded()
            self._remove_all_but("lock", "state.json")
            self._state_file.unlink(missing_ok=True)
        self.release()
        shutil.rmtree(self.directory, ignore_errors=True)
