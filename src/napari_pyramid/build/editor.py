"""Edit level 0 of a stored pyramid in memory, then write what has changed: `PyramidEditor`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_pyramid.arrays.chunked_source import forget_stored
from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.edits import Edits
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.old_values import OldValues
from napari_pyramid.build.editable import (
    editable_array,
    factors_between,
    recorded_of,
    recorded_steps,
    reduction_for,
    writable_directory,
)
from napari_pyramid.build.progress import Progress, Steps
from napari_pyramid.build.rewrite import EditedLevel, Rewrite
from napari_pyramid.build.source_places import directory_of
from napari_pyramid.build.targets import group_around
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.downsample.methods import Method
from napari_pyramid.errors import (
    DestinationError,
    PyramidError,
    Remedy,
    explained,
)
from napari_pyramid.plan.workers import Limits
from napari_pyramid.pyramid import open_pyramid
from napari_pyramid.storage.moves import make_moves

__all__ = ["PyramidEditor", "edit_pyramid"]


def edit_pyramid(
    path: str | os.PathLike[str], name: str | None = None, *, method: Method | None = None
) -> PyramidEditor:
    """Open a pyramid in a local directory for editing; nothing is read or written.

    Parameters
    ----------
    path
        Directory of the pyramid, such as ``IMAGE.ome.zarr/labels/NAME``.
    name
        Name or path of the image, if there are several; None takes the first.
    method
        Method that the coarser levels are made with; None for the recorded one, and for labels
        of other programs, which record none, mode.

    Raises
    ------
    LayoutError
        If nothing is there, or no layout recognises it.
    DestinationError
        If the levels are not zarr arrays in local directories that can be written.
    SpecError
        If nothing says how the levels were made, or the levels do not follow from each other.
    """
    pyramid = open_pyramid(path, name)
    return PyramidEditor(pyramid.lazy_levels, labels=pyramid.kind == "labels", method=method)


class PyramidEditor:
    """A pyramid whose level 0 is edited in memory, then written with all that depends on it.

    Indexing is NumPy's: ``editor[3, 10:20, 10:20] = 7`` edits, and ``editor[3]`` is a view, which
    `numpy.asarray` reads. Only what is looked at is read, and edits take the memory of what is
    edited.

    Parameters
    ----------
    levels
        Views of the levels, largest first.
    labels
        Whether the samples are labels.
    method
        As in `edit_pyramid`.

    Raises
    ------
    DestinationError, SpecError
        As `edit_pyramid` does.
    """

    def __init__(
        self, levels: Sequence[LazyArray], *, labels: bool = True, method: Method | None = None
    ) -> None:
        arrays = [editable_array(level) for level in levels]
        directories = [
            writable_directory(Path(os.path.abspath(str(directory_of(a))))) for a in arrays
        ]
        group = group_around(directories[0])
        recorded = recorded_of(group, directories[0])
        self._reduction = reduction_for(recorded, method, labels)
        steps = [factors_between(fine.shape, coarse.shape) for fine, coarse in pairwise(arrays)]
        steps = recorded_steps(recorded, arrays) or steps
        self._levels = [
            EditedLevel(directory, factors)
            for directory, factors in zip(directories, [(1,) * arrays[0].ndim, *steps], strict=True)
        ]
        self._workspace = Workspace(group or directories[0], in_place=True)
        self.edits = Edits(levels[0].chunked_source.shape, levels[0].dtype)
        self.array = EditedArray(levels[0], self.edits)
        self.old_values = OldValues()
        """Values before edits, for an undo; the unknown ones are read before edits are saved."""

    @property
    def directory(self) -> Path:
        """Directory of level 0."""
        return self._levels[0].directory

    @property
    def has_edits(self) -> bool:
        """Whether there are edits that have not been saved."""
        return bool(self.edits)

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __setitem__(self, key: Any, values: npt.ArrayLike) -> None:
        self.array[key] = values

    def check(self) -> None:
        """Raise if edits cannot be saved as things are now; nothing is written.

        Raises
        ------
        DestinationError
            If the folder around the store cannot be written, or a build left unfinished work there.
        """
        writable_directory(self._workspace.directory.parent)
        if self._workspace.has_work:
            raise DestinationError(
                f"{self._workspace.directory} holds unfinished work",
                remedies=[Remedy.FINISH, Remedy.START_OVER],
            )

    def discard(self) -> None:
        """Forget the edits that have not been saved."""
        self.edits.clear()

    def save(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        max_workers: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Write the edited chunks of level 0, and the parts of coarser levels that depend on them.

        The parameters are described in `iter_save`, with `progress`, which is called with the
        progress at every step.
        """
        with closing(
            Steps(self.iter_save(max_workers=max_workers, memory_limit=memory_limit))
        ) as steps:
            for step in steps:
                if progress is not None:
                    progress(step)

    def iter_save(
        self, *, max_workers: int | None = None, memory_limit: int | None = None
    ) -> Generator[Progress, None, None]:
        """Save step by step. Close the generator to stop; then nothing in the store has changed.

        The new chunks are written beside the store, and moved into place once all are complete. If
        the process is killed before, the store has all of its old chunks. If it is killed while
        they are moved, the next opening with this package moves the rest, and the store has all of
        the new ones. Edits that are made meanwhile are kept for the next save.

        Parameters
        ----------
        max_workers
            Number of threads; None means the number of processors.
        memory_limit
            Bytes of memory; None means a quarter of what is free, at most 4 GiB.

        Yields
        ------
        Progress

        Raises
        ------
        BuildInProgressError
            If another process writes to the pyramid.
        SourceError, DestinationError
            If a chunk cannot be read or written; the edits are kept.
        """
        limits = Limits.of(max_workers, memory_limit)
        workspace = self._workspace
        workspace.acquire()
        try:
            self.check()
        except DestinationError:
            workspace.release()
            raise
        self.edits.hold()
        try:
            self.old_values.read()
            rewrite = yield from self._rewrite(limits)
            for directory, regions in rewrite.changed:
                if regions:
                    forget_stored(directory, regions)
            self.edits.drop_held()
        except (OSError, PyramidError) as error:
            raise self._explained(error) from error
        finally:
            self.edits.unhold()  # only if they were not saved
            workspace.discard()

    def _rewrite(self, limits: Limits) -> Generator[Progress, None, Rewrite]:
        workspace = self._workspace
        workspace.start_over()  # what a killed save left
        rewrite = Rewrite(
            self._levels,
            self.edits,
            self._reduction,
            workspace.directory,
            workers=limits.workers,
            memory=limits.memory,
        )
        counts, done = rewrite.n_tasks(), 0
        began = time.monotonic()
        with closing(rewrite.steps()) as steps:
            for level, n in steps:
                done = max(done + n, sum(counts[:level]))
                elapsed, total = time.monotonic() - began, sum(counts)
                remaining = elapsed * (total - done) / done if done else None
                yield Progress(level, done, total, 0, 0, elapsed, remaining)
        moves = rewrite.moves(workspace.directory.parent)
        if moves:
            make_moves(workspace.directory, moves)
        return rewrite

    def _explained(self, error: Exception) -> PyramidError:
        if isinstance(error, PyramidError):
            return error
        return DestinationError(f"{self.directory}: {explained(error)}")
