"""The place where a build keeps its unfinished work: lock, recipe, journals, new levels; and how it is published.

    .embryo.ome.zarr.building/      beside the outermost zarr store that the destination is in
        lock, owner.json            who is building; the lock is the operating system's, and dies with its process
        state.json                  fingerprint of the recipe, and how far publishing is
        journal-0, journal-1, ...   one byte a tile: 1 when all its blocks are written
        new/                        the levels, as arrays of a zarr group
        old/                        what the new replaced, until all is in its place
        before/                     metadata of the group, as they were before levels were put there

No reader looks there, so that nothing unfinished is ever seen. Knows files and renames; knows nothing of pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from napari_pyramid.errors import BuildInProgressError, DestinationError, explained
from napari_pyramid.layouts._array_metadata import write_json

__all__ = ["Journal", "Workspace", "fingerprint", "is_array", "is_zarr", "publishing_in", "store_root"]

_NODE_FILES = ("zarr.json", ".zgroup", ".zarray")
_METADATA_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
"""Of a group."""


def is_zarr(directory: Path) -> bool:
    """Whether a directory is a group or array of zarr."""
    return any((directory / name).is_file() for name in _NODE_FILES)


def is_array(directory: Path) -> bool:
    """Whether a directory is an array of zarr."""
    if (directory / ".zarray").is_file():
        return True
    try:
        document = json.loads((directory / "zarr.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("node_type") == "array"


def store_root(path: Path) -> Path:
    """The outermost zarr group that contains a path, or the path itself."""
    root = path
    for parent in path.parents:
        if is_zarr(parent):
            root = parent
        elif root != path:
            break
    return root


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Digest of everything that decides a single byte of the result."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()


def publishing_in(path: Path) -> Iterator[Workspace]:
    """Workspaces of builds in place that ended while they published, anywhere in the store that a path is in."""
    root = store_root(path)
    ours = re.compile(rf"\.{re.escape(root.name)}(\.[0-9a-f]{{8}})?\.building")
    for directory in sorted(d for d in root.parent.iterdir() if ours.fullmatch(d.name)) if root.parent.is_dir() else ():
        try:
            state = json.loads((directory / "state.json").read_text())
            group = root.parent / state["group"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        workspace = Workspace(group, in_place=True)
        if state.get("phase") == "publish" and workspace.directory == directory:
            yield workspace


class Journal:
    """Which tiles of one pass are done, on disk; marking one is a single byte written."""

    def __init__(self, path: Path, n_tiles: int) -> None:
        self.n_tiles = n_tiles
        if not path.exists() or path.stat().st_size != n_tiles:
            with path.open("wb") as new:
                new.truncate(n_tiles)
        self._file: BinaryIO = path.open("r+b", buffering=0)
        self.n_done = self._count()

    def _count(self) -> int:
        self._file.seek(0)
        return sum(chunk.count(1) for chunk in iter(lambda: self._file.read(2**20), b""))

    def left(self) -> Iterator[int]:
        """Numbers of the tiles that are not done, as of when each is asked for."""
        for start in range(0, self.n_tiles, 2**16):
            self._file.seek(start)
            for i, done in enumerate(self._file.read(2**16)):
                if not done:
                    yield start + i

    def mark(self, number: int) -> None:
        self._file.seek(number)
        self._file.write(b"\x01")
        self.n_done += 1

    def close(self) -> None:
        self._file.close()


class Workspace:
    """The unfinished work of one destination.

    Parameters
    ----------
    destination
        The group that is made, or that levels are added to.
    in_place
        Levels are added to it.
    """

    def __init__(self, destination: Path, *, in_place: bool) -> None:
        self.destination = destination
        self.in_place = in_place
        root = store_root(destination)
        inner = "" if root == destination else "." + hashlib.sha256(str(destination.relative_to(root)).encode()).hexdigest()[:8]
        self.directory = root.parent / f".{root.name}{inner}.building"
        self._lock = FileLock(self.directory / "lock", blocking=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to other processes without the lock, which stays with the one that builds."""
        return partial(Workspace, in_place=self.in_place), (self.destination,)

    @property
    def new(self) -> Path:
        return self.directory / "new"

    # ---- one build at a time ----------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Takes the lock.

        Raises
        ------
        BuildInProgressError
            If another build holds it; the message names the process.
        DestinationError
            If nothing can be written there.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as exc:
            raise BuildInProgressError(f"{self.destination}: {self._owner()} is building there now; wait for it or stop it") from exc
        except OSError as exc:
            raise DestinationError(f"{self.directory.parent}: cannot be written to: {exc.strerror or exc}") from exc
        try:
            self._sign()
            (self.directory / "token").unlink(missing_ok=True)  # of an earlier build, whose workers may live on
            self.wait_for_workers()
        except OSError as exc:
            self.release()
            raise DestinationError(f"{self.directory}: {explained(exc)}") from exc

    def _sign(self) -> None:
        host, since = socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(self.directory / "owner.json", {"pid": os.getpid(), "host": host, "since": since})

    def _owner(self) -> str:
        try:
            owner = json.loads((self.directory / "owner.json").read_text())
            return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
        except (OSError, ValueError, KeyError):
            return "another process"

    def wait_for_workers(self) -> None:
        """Worker processes that outlived their build finish their tile before anything else is done here."""
        for path in self.directory.glob("worker-*.lock"):
            with FileLock(path):
                pass
            path.unlink(missing_ok=True)

    def release(self) -> None:
        self._lock.release()

    # ---- what has been done -----------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What was saved last; empty when there is no unfinished work."""
        try:
            found = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("phase") != "discarded" else {}

    def save_state(self, state: Mapping[str, Any]) -> None:
        write_json(self._state_file, dict(state))

    def start_over(self) -> None:
        """Drops unfinished work, keeping the lock."""
        self._mark_discarded()
        self._remove_all_but("lock", "owner.json", "state.json")
        self._state_file.unlink(missing_ok=True)

    def _mark_discarded(self) -> None:
        """From now on there is nothing to go on from, however far removing gets: journals may outlive the levels they tell of."""
        try:
            write_json(self._state_file, {"phase": "discarded"})
        except OSError:  # no room for it
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
    def place(self) -> dict[str, str]:
        """What the state says of the group that levels are added to, for `publishing_in`."""
        return {"group": os.path.relpath(self.destination, self.directory.parent)} if self.in_place else {}

    def journal(self, number: int, n_tiles: int) -> Journal:
        return Journal(self.directory / f"journal-{number}", n_tiles)

    def is_intact(self) -> bool:
        """False when somebody removed it under the build."""
        return self._state_file.exists()

    def discard(self) -> None:
        """Removes all of it and releases the lock; what says that there is work goes last, so that a crash leaves no riddle."""
        if self.directory.exists():
            if self.state.get("phase") != "done":
                self._mark_discarded()
            self._remove_all_but("lock", "state.json")
            self._state_file.unlink(missing_ok=True)
        self.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- publishing --------------------------------------------------------------------------------------------------
    # Each step may be the last before a crash, and is skipped when it is found done.

    def publish_new(self) -> None:
        """Puts ``new`` in the place of the destination; what was there is kept aside until then."""
        if not self.new.exists():
            return
        if self.destination.exists():
            self._set_aside(self.destination, "")
        self.destination.parent.mkdir(parents=True, exist_ok=True)
        self.new.rename(self.destination)

    def begin_publishing(self, paths: Sequence[str]) -> None:
        """Keeps the metadata of the destination as they are, and which groups have yet to be made for the levels at `paths`."""
        if self._before.exists():
            return
        part = self.directory / "before.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name in _METADATA_FILES:
            if (self.destination / name).exists():
                shutil.copy2(self.destination / name, part / name)
        parents = sorted({path.rpartition("/")[0] for path in paths} - {""})
        write_json(part / "made.json", {"groups": [path for path in parents if not (self.destination / path).exists()]})
        part.rename(self._before)

    def publish_levels(self, paths: Sequence[str]) -> None:
        """Puts the new levels beside level 0, one rename each."""
        for path in paths:
            fresh = self.new / path
            if not fresh.exists():
                continue
            place = self.destination / path
            if place.exists():
                self._set_aside(place, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(place)

    def set_aside(self, paths: Sequence[str]) -> None:
        """Takes levels out of the destination; they are removed with all that was replaced."""
        for path in paths:
            if (self.destination / path).exists():
                self._set_aside(self.destination / path, path)

    def undo_publishing(self) -> None:
        """Makes the destination what it was before publishing began, if it has not come to its end."""
        state = self.state
        if state.get("phase") != "publish":
            return
        if not self.in_place:
            self._exchange_back("", self.new)
        elif self._before.exists():
            fresh = state.get("levels", [])[1:]
            for path in fresh:
                self._exchange_back(path, self.new / path)
            for path in state.get("description", {}).get("surplus", ()):
                self._put_back(path)
            self._restore_metadata()

    def _exchange_back(self, path: str, fresh: Path) -> None:
        place = self.destination / path
        if place.exists() and not fresh.exists():
            fresh.parent.mkdir(parents=True, exist_ok=True)
            place.rename(fresh)
        self._put_back(path)

    def _put_back(self, path: str) -> None:
        if self._aside(path).exists() and not (self.destination / path).exists():
            self._aside(path).rename(self.destination / path)

    def _restore_metadata(self) -> None:
        for name in _METADATA_FILES:
            kept, place = self._before / name, self.destination / name
            if kept.exists():
                part = self.directory / f"{name}.part"
                shutil.copy2(kept, part)
                part.replace(place)
            else:
                place.unlink(missing_ok=True)
        for path in json.loads((self._before / "made.json").read_text())["groups"]:
            shutil.rmtree(self.destination / path, ignore_errors=True)  # ours, and its levels are taken back
        shutil.rmtree(self._before)

    def _set_aside(self, place: Path, path: str) -> None:
        aside = self._aside(path)
        aside.parent.mkdir(parents=True, exist_ok=True)
        place.rename(aside)

    def _aside(self, path: str) -> Path:
        return self.directory / "old" / (path or "store")

    @property
    def _before(self) -> Path:
        return self.directory / "before"
