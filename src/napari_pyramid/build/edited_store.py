"""Lock the stored levels of a pyramid that is edited, and replace their chunks."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import zarr

from napari_pyramid.arrays.chunked_source import forget_stored
from napari_pyramid.build.editable import (
    editable_places,
    factors_between,
    recorded_of,
    recorded_steps,
    refuse_unwritable_directory,
)
from napari_pyramid.build.edited_level import EditedLevel
from napari_pyramid.build.rewrite import Rewrite
from napari_pyramid.build.targets import group_around, workspace_of
from napari_pyramid.errors import BuildInProgressError, DestinationError, Remedy
from napari_pyramid.storage.folder import Folder, Place, is_below
from napari_pyramid.storage.moves import has_moves, list_moves, move_steps

__all__ = ["EditedStore"]


class EditedStore:
    """The levels of one pyramid, in a directory or in a store of objects.

    Parameters
    ----------
    arrays
        The levels, largest first.

    Raises
    ------
    DestinationError
        If they cannot be written.
    SpecError
        If they do not follow from each other.
    """

    def __init__(self, arrays: Sequence[zarr.Array[Any]]) -> None:
        places = editable_places(arrays)
        group = group_around(places[0])
        self.recorded: Mapping[str, Any] = recorded_of(group, places[0])
        """Method, factors and background as a build has recorded them."""
        steps = [factors_between(fine.shape, coarse.shape) for fine, coarse in pairwise(arrays)]
        steps = recorded_steps(self.recorded, arrays) or steps
        self.levels = [
            EditedLevel(place, factors)
            for place, factors in zip(places, [(1,) * arrays[0].ndim, *steps], strict=True)
        ]
        self._workspace = workspace_of(group or places[0], in_place=True)
        around = self.workspace.parent
        if isinstance(around, Folder) and not all(is_below(around, place) for place in places):
            raise DestinationError(
                f"the levels of {group or places[0]} are not in one store: build a pyramid of them"
            )
        self._keeps_work = False
        self.is_moving = False
        """Whether some chunks may have been replaced, and the rest are listed."""

    @property
    def copies_chunks(self) -> bool:
        """Whether new chunks are copied into place one by one, as in a bucket."""
        return isinstance(self.workspace, Folder)

    @property
    def workspace(self) -> Place:
        """Where new chunks are written."""
        directory: Place = self._workspace.directory
        return directory

    def check(self) -> None:
        """Raise if chunks cannot be replaced at present: see `PyramidEditor.check`."""
        around = self.workspace.parent
        if isinstance(around, Folder):
            self.refuse_unfinished()
            self._finish_killed_save()
        else:
            refuse_unwritable_directory(around)
            self.refuse_unfinished()

    def refuse_unfinished(self) -> None:
        """Raise if a build left unfinished work.

        Raises
        ------
        DestinationError
            If there is some.
        """
        if self._workspace.has_work:
            raise DestinationError(
                f"{self.workspace} holds unfinished work",
                remedies=[Remedy.FINISH, Remedy.START_OVER],
            )

    def recover(self) -> None:
        """Finish an update that was killed while it replaced chunks.

        An update that is running now is left alone.

        Raises
        ------
        DestinationError
            If the rest of the chunks cannot be written.
        """
        if has_moves(self.workspace):
            self._finish_killed_save()

    def _finish_killed_save(self) -> None:
        with suppress(BuildInProgressError):  # a save will say so
            self.acquire()
            self._workspace.discard()

    def acquire(self) -> None:
        """Take the lock, and finish an update that was killed.

        Raises
        ------
        BuildInProgressError
            If another process writes to the pyramid.
        DestinationError
            If the lock cannot be written, or a build left unfinished work.
        """
        self._keeps_work = self.is_moving = False
        self._workspace.acquire()
        try:
            if self._workspace.finished_update:
                for level in self.levels:
                    forget_stored(level.place)
            self.refuse_unfinished()
        except BaseException:
            self._workspace.release()
            raise

    def start_over(self) -> None:
        """Remove the new chunks of a save that was killed."""
        self._workspace.start_over()

    def replace(self, rewrite: Rewrite) -> Generator[tuple[int, int], None, None]:
        """Put all new chunks in their places, or else keep the list of the moves.

        Close the generator to stop at the next object of a bucket.

        Yields
        ------
        tuple of int
            Number of chunks that have been replaced, and number of all; in a bucket only.

        Raises
        ------
        DestinationError
            If another process has taken over, or a chunk cannot be written.
        """
        moves = rewrite.moves()
        if not moves:
            return
        self._workspace.confirm()
        self._keeps_work = True  # from here on nobody but the next save knows what there is
        list_moves(self.workspace, moves)
        self.is_moving = True
        if not (yield from move_steps(self.workspace, self._workspace.confirm)):
            raise DestinationError(
                f"{self.workspace}: the new chunks have been removed by another program"
            )
        self._keeps_work = self.is_moving = False
        for place, regions in rewrite.changed:
            if regions:
                forget_stored(place, regions)

    def leave(self) -> None:
        """Remove the new chunks, unless a list of them may be there, and release the lock.

        Errors raised here are ignored: they would hide the error that ended the save, and the next
        save removes what is left.
        """
        if self._keeps_work:
            self._workspace.release()
            return
        with suppress(OSError, DestinationError):
            self._workspace.discard()
