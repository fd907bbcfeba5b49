"""Keep the unfinished work of a build: lock, recipe, journals, new levels.

    .embryo.ome.zarr.building/      beside the outermost zarr store that the destination is in
        lock, owner.json            who is building; the system drops the lock with its process
        state.json                  a `BuildState`: fingerprint of the recipe, how far the build is
        journal-0, journal-1, ...   one byte a tile: 1 when all its blocks are written
        new/                        the levels, as arrays of a zarr group
        old/                        replaced levels, until all new ones are in their place
        before/                     metadata of the group before levels were put there
        moves.json                  chunk files that an update is moving into existing levels

No reader looks there, so that nothing unfinished is ever seen.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock, Timeout
from zarr.storage import LocalStore

from napari_pyramid.build.ended_process import has_ended
from napari_pyramid.build.journal import Journal, count_tiles
from napari_pyramid.build.workspace_base import WorkspaceBase, fingerprint, store_around
from napari_pyramid.errors import BuildInProgressError, DestinationError, explained
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.json_files import write_json
from napari_pyramid.storage.moves import finish_moves

__all__ = ["Workspace", "fingerprint"]

PATIENCE = 10.0
"""Seconds to wait for the lock of a process that has died."""


class Workspace(WorkspaceBase[Path]):
    """The unfinished work of one destination on a disk.

    `destination` and `in_place` are as in `WorkspaceBase`; the directory follows from them.
    """

    def __init__(self, destination: Path, *, in_place: bool) -> None:
        root, inner = store_around(destination)
        directory = root.parent / f".{root.name}{inner}.building"
        super().__init__(destination, directory, in_place=in_place)
        self._lock = FileLock(self.directory / "lock", blocking=False)

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
                f"{self.destination}: {self._owner()} is writing it now; wait until that build or "
                "update has finished, or cancel it where it runs, then try again"
            ) from exc
        except OSError as exc:
            raise DestinationError(
                f"{self.directory.parent}: cannot be written to: {exc.strerror or exc}"
            ) from exc
        try:
            self._sign()
            self._end_workers()
            # Before anything here is read or removed.
            self.finished_update = finish_moves(self.directory)
        except BaseException as exc:
            self.release()
            if isinstance(exc, OSError):
                raise DestinationError(f"{self.directory}: {explained(exc)}") from exc
            raise

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
            owner = json.loads((self.directory / "owner.json").read_bytes())
            return has_ended(owner["host"], owner["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _owner(self) -> str:
        try:
            owner = json.loads((self.directory / "owner.json").read_bytes())
            return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
        except (OSError, ValueError, KeyError):
            return "another process"

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    # ---- the levels ------------------------------------------------------------------------------

    def placed(self, spec: PyramidSpec, first: int, *, overwrite: bool) -> PyramidSpec:
        """Return the spec as it is: renames replace levels under their own paths."""
        return spec

    def is_taken(self) -> bool:
        """Return whether anything is at the destination: unfinished work is elsewhere."""
        return os.path.lexists(self.destination)

    def owns(self, path: str) -> bool:
        """Return False: unfinished work is elsewhere."""
        return False

    def replaced(self, kept: list[str]) -> list[str]:
        """Return an empty list: a store is replaced as a whole."""
        return []

    def open_level(self, path: str, *, is_new: bool, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level: a new one that is being built, or a published one."""
        store = LocalStore(
            (self.new if is_new else self.destination) / path, read_only=not writable
        )
        return zarr.open_array(store, mode="r+" if writable else "r")

    # ---- what has been done ----------------------------------------------------------------------

    def start_over(self) -> None:
        """Remove unfinished work, and keep the lock."""
        self._mark_discarded()
        self._remove_all_but("lock", "owner.json", "state.json")
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
    def group(self) -> str | None:
        """In place: the group that levels are added to, relative to the workspace's parent."""
        return os.path.relpath(self.destination, self.directory.parent) if self.in_place else None

    def journal(self, number: int, n_tiles: int) -> Journal:
        """Return the journal of pass `number`, which is created if it does not exist."""
        return Journal(self.directory / f"journal-{number}", n_tiles)

    def count_tiles(self) -> tuple[int, int]:
        """Return how many tiles are done, and how many there are, over all journals."""
        counts = []
        for path in self.directory.glob("journal-*"):
            with suppress(FileNotFoundError):  # a build that starts over removes its journals
                counts.append(count_tiles(path))
        return sum(done for done, _ in counts), sum(total for _, total in counts)

    def is_intact(self) -> bool:
        """Return whether the workspace still exists: somebody may remove it during the build."""
        return self._state_file.exists()

    def discard(self) -> None:
        """Remove the workspace and release the lock.

        ``state.json`` is removed last, so that a crash leaves either work that can be resumed, or
        a state that says it is discarded.
        """
        try:
            if self.directory.exists():
                if self._document().get("phase") != "done":
                    self._mark_discarded()
                self._remove_all_but("lock", "state.json")
                self._state_file.unlink(missing_ok=True)
                # While it is held: later, it may be the lock of another build. Windows refuses,
                # and removes it with the release.
                with suppress(OSError):
                    (self.directory / "lock").unlink(missing_ok=True)
        finally:
            self.release()
        with suppress(OSError):  # another build that has started there keeps it
            self.directory.rmdir()
