"""Define what the workspaces on a disk and in a bucket have in common, and keep the state there."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import zarr

from napari_pyramid.build.state import BuildState, UnknownStateError
from napari_pyramid.build.tokens import remove_tokens, wait_for_workers
from napari_pyramid.errors import DestinationError
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.hierarchy import store_root
from napari_pyramid.storage.json_files import write_json

__all__ = ["PublishingBase", "TileJournal", "WorkspaceBase", "fingerprint", "store_around"]

P = TypeVar("P", Path, Folder)


class TileJournal(Protocol):
    """The done tiles of one pass."""

    n_done: int
    """Tiles that are done."""

    def left(self) -> Iterator[int]:
        """Yield the numbers of the tiles that are not done."""

    def mark(self, number: int) -> None:
        """Record that a tile is done."""

    def close(self) -> None:
        """Stop recording."""


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return the digest of a recipe: all values that the bytes of the result depend on."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()


def store_around(destination: P) -> tuple[P, str]:
    """Return the outermost store that a destination is in, and a suffix that names it there."""
    root = store_root(destination)
    if root == destination:
        return root, ""
    inner = hashlib.sha256(str(destination.relative_to(root)).encode()).hexdigest()[:8]
    return root, f".{inner}"


class WorkspaceBase(ABC, Generic[P]):
    """The unfinished work of one destination: the lock, the state, journals and new levels.

    Parameters
    ----------
    destination
        The group that is created, or that levels are added to.
    directory
        Where the work is kept.
    in_place
        Whether levels are added to an existing group.
    """

    def __init__(self, destination: P, directory: P, *, in_place: bool) -> None:
        self.destination: P = destination
        self.directory: P = directory
        self.in_place = in_place
        self.finished_update = False
        """Whether `acquire` has last finished an update of edits that was killed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the lock, which stays with the process that builds."""
        return partial(type(self), in_place=self.in_place), (self.destination,)

    @property
    def new(self) -> P:
        """Place in which the levels are created, or their metadata."""
        return self.directory / "new"

    # ---- one build at a time ---------------------------------------------------------------------

    @abstractmethod
    def acquire(self) -> None:
        """Take the lock, and finish an update of edits that was killed.

        Raises
        ------
        BuildInProgressError
            If another build holds it; the message names the process.
        DestinationError
            If nothing can be written there.
        """

    def confirm(self) -> None:
        """Raise if another build has taken the lock over.

        Raises
        ------
        DestinationError
            If this build no longer holds the lock: it must neither write nor publish then.
        """

    def _end_workers(self) -> None:
        """Stop the workers of earlier builds, and wait until they have finished their tiles."""
        remove_tokens(self.directory)
        wait_for_workers(self.directory)

    @abstractmethod
    def release(self) -> None:
        """Release the lock."""

    @abstractmethod
    def is_intact(self) -> bool:
        """Return whether the build may go on: nobody has removed or taken over its work."""

    @property
    def is_lasting(self) -> bool:
        """Whether a later build finds unfinished work."""
        return True

    # ---- the levels ------------------------------------------------------------------------------

    @abstractmethod
    def placed(self, spec: PyramidSpec, first: int, *, overwrite: bool) -> PyramidSpec:
        """Return the spec with the paths that its levels, from `first` on, get at the destination.

        Parameters
        ----------
        overwrite
            Whether there may be levels at the destination that are to be replaced.
        """

    @abstractmethod
    def is_taken(self) -> bool:
        """Return whether something is at the destination besides unfinished work."""

    @abstractmethod
    def owns(self, path: str) -> bool:
        """Return whether what is at a path of the destination is unfinished work."""

    @abstractmethod
    def replaced(self, kept: list[str]) -> list[str]:
        """Return the paths at the destination that a new store leaves over, except `kept`."""

    @abstractmethod
    def open_level(self, path: str, *, is_new: bool, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level: a new one that is being built, or a published one."""

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
            document = json.loads(self._state_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def save_state(self, state: BuildState) -> None:
        """Replace ``state.json``."""
        write_json(self._state_file, state.to_json())

    def _mark_discarded(self) -> None:
        """Save that the work is discarded: a crash may then leave journals without levels."""
        try:
            self.save_state(BuildState.discarded())
        except OSError:  # the disk may be full
            self._state_file.unlink(missing_ok=True)

    @property
    def _state_file(self) -> P:
        return self.directory / "state.json"

    @property
    @abstractmethod
    def group(self) -> str | None:
        """In place: the group that levels are added to, as the state names it."""

    @abstractmethod
    def journal(self, number: int, n_tiles: int) -> TileJournal:
        """Return the journal of pass `number`."""

    @abstractmethod
    def count_tiles(self) -> tuple[int, int]:
        """Return how many tiles are done, and how many there are, over all journals."""

    @abstractmethod
    def start_over(self) -> None:
        """Remove unfinished work, and keep the lock."""

    @abstractmethod
    def discard(self) -> None:
        """Remove the workspace and release the lock.

        ``state.json`` is removed last, so that a crash leaves either work that can be resumed, or
        a state that says it is discarded.
        """


class PublishingBase(ABC, Generic[P]):
    """The steps that bring complete levels from a workspace to their places."""

    @abstractmethod
    def metadata_place(self, place: P) -> P:
        """Return the place at which metadata of the destination are read and changed."""

    @abstractmethod
    def put_store(self) -> None:
        """Put the new store in the place of the destination."""

    @abstractmethod
    def begin(self, paths: Sequence[str]) -> None:
        """Prepare for levels at `paths`, so that what follows can be undone."""

    @abstractmethod
    def put_levels(self, paths: Sequence[str]) -> None:
        """Put each new level in its place beside level 0."""

    @abstractmethod
    def set_aside(self, paths: Sequence[str]) -> None:
        """Remove what the metadata no longer name, at the latest when the workspace is removed."""

    @abstractmethod
    def end(self) -> None:
        """Make all changes that are still to be made."""

    @abstractmethod
    def undo(self) -> bool:
        """Undo a publishing that did not end; return whether levels in place were restored."""
