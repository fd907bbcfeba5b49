"""Keep the unfinished work of a build in a bucket or another store of objects.

    .embryo.ome.zarr.building/      beside the outermost zarr store that the destination is in
        lock-1.json                 who is building, and when the process was last seen
        state.json                  a `BuildState`, as on a disk
        journal-0, journal-1, ...   one bit a tile: 1 when all its blocks are written
        new/                        a build: the metadata of the new levels, and nothing else;
                                    an update: new chunks, until they are copied over the old ones
        moves.json                  an update: the list of chunks to copy

Objects cannot be renamed, so the chunks of new levels are written under their final keys. Without
the metadata in `new` they are no arrays, and no reader sees them. A store whose root is the
destination has no "beside": there the workspace is in it, as ``.building``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import zarr
from zarr.storage import StorePath

from napari_pyramid.build.object_journal import ObjectJournal, count_object_tiles
from napari_pyramid.build.object_lock import ObjectLock
from napari_pyramid.build.workspace_base import WorkspaceBase, store_around
from napari_pyramid.errors import DestinationError
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.file_names import ARRAY_FILES
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.hierarchy import is_array
from napari_pyramid.storage.moves import finish_moves
from napari_pyramid.storage.objects import StoreError

__all__ = ["ObjectWorkspace"]


class ObjectWorkspace(WorkspaceBase[Folder]):
    """The unfinished work of one destination in a store of objects.

    `destination` and `in_place` are as in `WorkspaceBase`; the directory follows from them.
    """

    def __init__(self, destination: Folder, *, in_place: bool) -> None:
        root, inner = store_around(destination)
        name = f".{root.name}" if root.path else ""
        directory = root.parent / f"{name}{inner}.building"
        super().__init__(destination, directory, in_place=in_place)
        self._lock = ObjectLock(self.directory)

    # ---- one build at a time ---------------------------------------------------------------------

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        BuildInProgressError
            If another build holds it; the message names the process, and says how to take over.
        DestinationError
            If nothing can be written there.
        """
        try:
            self._lock.acquire()
            try:
                self._end_workers()
                # Before anything here is read or removed.
                self.finished_update = finish_moves(self.directory, self.confirm)
            except BaseException:
                self.release()
                raise
        except StoreError as exc:
            raise DestinationError(
                f"{self.directory}: cannot be written to: {exc.message}"
            ) from exc

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def is_intact(self) -> bool:
        """Return whether this build still holds the lock, as of its last renewal."""
        return not self._lock.is_lost

    def confirm(self) -> None:
        """Raise if another build has taken the lock over.

        Raises
        ------
        DestinationError
            If this build no longer holds the lock: it must neither write nor publish then.
        """
        if not self._lock.confirm():
            raise DestinationError(
                f"{self.destination}: another build has taken over; nothing was published"
            )

    @property
    def is_lasting(self) -> bool:
        """Whether a later build finds unfinished work; a transaction keeps none."""
        return not self.destination.objects.is_transaction

    # ---- what has been done ----------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        """Return ``state.json`` parsed; empty if it is missing or not a JSON object.

        If the store fails, its error is raised: no answer does not mean that there is no work.
        """
        try:
            document = json.loads(self._state_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def group(self) -> str | None:
        """In place: the key of the group that levels are added to."""
        return self.destination.path if self.in_place else None

    def journal(self, number: int, n_tiles: int) -> ObjectJournal:
        """Return the journal of pass `number`, empty if it does not exist."""
        return ObjectJournal(self.directory / f"journal-{number}", n_tiles)

    def count_tiles(self) -> tuple[int, int]:
        """Return how many tiles are done, and how many there are, over all journals."""
        counts = [
            count_object_tiles(entry)
            for entry in self.directory.iterdir()
            if entry.name.startswith("journal-")
        ]
        return sum(done for done, _ in counts), sum(total for _, total in counts)

    def start_over(self) -> None:
        """Remove unfinished work with the levels that it wrote, and keep the lock."""
        self._remove_work()
        self._state_file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the workspace and release the lock.

        ``state.json`` is removed last, so that a crash leaves either work that can be resumed, or
        a state that says it is discarded. If another build has taken the lock over, what is there
        belongs to it, and stays.
        """
        try:
            if self._lock.confirm():
                self.start_over()
        finally:
            self.release()

    def _remove_work(self) -> None:
        phase = self._document().get("phase")
        if phase not in (None, "done"):
            self._mark_discarded()
            for path in self._new_arrays():
                (self.destination / path).remove()
        for entry in list(self.directory.iterdir()):
            if not entry.name.startswith("lock-") and entry.name != "state.json":
                entry.remove()

    # ---- the levels ------------------------------------------------------------------------------

    def _new_arrays(self) -> list[str]:
        """Return the paths of the arrays whose metadata are in `new`."""
        start = len(self.new.path) + 1
        found = (key[start:].rpartition("/") for key in self.new.objects.keys(self.new.path))
        paths = {path for path, _, name in found if path and name in ARRAY_FILES}
        return sorted(path for path in paths if is_array(self.new / path))

    def owns(self, path: str) -> bool:
        """Return whether the objects below a path of the destination are unfinished work."""
        return path in self._owned

    @property
    def _owned(self) -> list[str]:
        phase = self._document().get("phase")
        return [] if phase in (None, "done") else self._new_arrays()

    def replaced(self, kept: Sequence[str] = ()) -> list[str]:
        """Return the paths at the destination that are neither unfinished work nor in `kept`.

        A folder that holds none of these is one path.
        """
        own = {*self._owned, *kept}
        inside = self.directory.parent == self.destination

        def below(folder: Folder) -> Iterator[str]:
            for entry in folder.iterdir():
                path = str(entry.relative_to(self.destination))
                if path in own or (inside and entry == self.directory):
                    continue
                if any(known.startswith(f"{path}/") for known in own):
                    yield from below(entry)
                else:
                    yield path

        return list(below(self.destination))

    def is_taken(self) -> bool:
        """Return whether something is at the destination besides unfinished work.

        Metadata that a publishing of this workspace has put there belong to the work.
        """
        return any(not self._is_published(path) for path in self.replaced())

    def _is_published(self, path: str) -> bool:
        ours = self.new / path
        if not ours.is_file():
            return False
        return ours.read_bytes() == self.destination.objects.get((self.destination / path).path)

    def placed(self, spec: PyramidSpec, first: int, *, overwrite: bool) -> PyramidSpec:
        """Return the spec with paths under which its levels do not replace anything.

        Levels that are overwritten stay readable until the new ones are complete, so that these
        get other paths: ``1-2`` beside ``1``, or the paths that unfinished work has.

        Parameters
        ----------
        first
            Number of the first level that is written.
        """
        if not overwrite or len(spec.levels) <= first:
            return spec
        if own := self._generation(spec.levels[first].path):
            return _in_generation(spec, first, own)
        for generation in itertools.count(1):
            found = _in_generation(spec, first, generation)
            if not any((self.destination / v.path).exists() for v in found.all_levels[first:]):
                return found
        raise AssertionError("unreachable")

    def _generation(self, path: str) -> int:
        """Return the generation that a level has in unfinished work; 0 without work."""
        found = (re.fullmatch(rf"{re.escape(path)}(?:-(\d+))?", owned) for owned in self._owned)
        return max((int(m[1] or 1) for m in found if m is not None), default=0)

    def open_level(self, path: str, *, is_new: bool, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level: of a new one by the metadata that are in `new`."""
        objects = self.destination.objects
        place = self.destination / path
        if not is_new:
            return zarr.open_array(objects.store, path=place.path, mode="r+" if writable else "r")
        described = zarr.open_array(objects.store, path=(self.new / path).path, mode="r")
        if objects.is_transaction:
            objects.admit(place.path, (self.new / path / "zarr.json").read_bytes())
        at = StorePath(objects.store, place.path)
        return zarr.Array(zarr.AsyncArray(described.metadata, at))


def _in_generation(spec: PyramidSpec, first: int, generation: int) -> PyramidSpec:
    if generation == 1:
        return spec
    levels = [
        replace(level, path=f"{level.path}-{generation}") if k >= first else level
        for k, level in enumerate(spec.levels)
    ]
    return replace(spec, levels=tuple(levels))
