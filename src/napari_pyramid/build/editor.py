"""Edit level 0 of a stored pyramid in memory, then write what has changed: `PyramidEditor`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy.typing as npt
from zarr.storage import StorePath

from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.edits import Edits
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.old_values import OldValues
from napari_pyramid.build.editable import editable_array, reduction_for
from napari_pyramid.build.edited_store import EditedStore
from napari_pyramid.build.progress import Progress, Steps
from napari_pyramid.build.rewrite import Rewrite
from napari_pyramid.downsample.methods import Method
from napari_pyramid.errors import DestinationError, PyramidError, explained
from napari_pyramid.plan.workers import Limits
from napari_pyramid.pyramid import open_pyramid
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.store_objects import is_path, store_and_path

__all__ = ["PyramidEditor", "edit_pyramid"]


def edit_pyramid(
    path: str | os.PathLike[str] | object,
    name: str | None = None,
    *,
    method: Method | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> PyramidEditor:
    """Open a pyramid for editing, without reading pixels.

    If an earlier update of the pyramid was killed while it replaced chunks, it is finished.

    Parameters
    ----------
    path
        Directory or URL (``s3``, ``gs``, ``az``) of the pyramid, such as
        ``IMAGE.ome.zarr/labels/NAME``, or a writable zarr store or group.
    name
        Name or path of the image, if there are several; None takes the first.
    method
        Method that the coarser levels are made with; None for the recorded one, and for labels
        of other programs, which record none, mode.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing is there, or no layout recognises it.
    DestinationError
        If the levels are not zarr arrays in a directory or store that can be written.
    SpecError
        If nothing says how the levels were made, or the levels do not follow from each other.
    """
    if not is_path(path):
        path = StorePath(*store_and_path(path, read_only=False))  # keeps a dictionary itself
    pyramid = open_pyramid(path, name, storage_options=storage_options)
    editor = PyramidEditor(pyramid.lazy_levels, labels=pyramid.kind == "labels", method=method)
    editor._store.recover()
    return editor


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
        self._store = EditedStore([editable_array(level) for level in levels])
        self._reduction = reduction_for(self._store.recorded, method, labels)
        self.edits = Edits(levels[0].chunked_source.shape, levels[0].dtype)
        self.array = EditedArray(levels[0], self.edits)
        self.old_values = OldValues()
        """Values before edits, for an undo; the unknown ones are read before edits are saved."""

    @property
    def place(self) -> Place:
        """Directory of level 0, or its folder in a store."""
        return self._store.levels[0].place

    @property
    def has_edits(self) -> bool:
        """Whether there are edits that have not been saved."""
        return bool(self.edits)

    @property
    def is_half_saved(self) -> bool:
        """Whether the last save ended while it replaced chunks; the next one replaces the rest."""
        return self._store.is_moving

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __setitem__(self, key: Any, values: npt.ArrayLike) -> None:
        self.array[key] = values

    def check(self) -> None:
        """Raise if edits cannot be saved at present.

        In a bucket the lock is taken and released, because only a write shows whether there is a
        permission. This also finishes an update that was killed.

        Raises
        ------
        DestinationError
            If the folder around the store, or the bucket, cannot be written, or a build left
            unfinished work there.
        """
        self._store.check()

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
        """Save step by step. Close the generator to stop at the next chunk; the edits are kept.

        The new chunks are written beside the store, and moved into place once all are complete. If
        the save is stopped or the process killed before, the store has all of its old chunks. If it
        is killed while they are moved, or stopped while they are copied in a bucket, the next
        opening with this package (in a bucket: for editing, or the next save) moves the rest, and
        the store has all of the new ones: see `is_half_saved`. Edits that are made meanwhile are
        kept for the next save.

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
        limits, store = Limits.of(max_workers, memory_limit), self._store
        store.acquire()
        try:
            self.edits.hold()
            self.old_values.read()
            yield from self._written(limits)
            self.edits.drop_held()
        except (OSError, PyramidError) as error:
            raise self._explained(error) from error
        finally:
            self.edits.unhold()  # only if they were not saved
            store.leave()

    def _written(self, limits: Limits) -> Generator[Progress, None, None]:
        """Write the chunks that the held edits change, then put them in their places."""
        self._store.start_over()
        rewrite = Rewrite(
            self._store.levels,
            self.edits,
            self._reduction,
            self._store.workspace,
            workers=limits.workers,
            memory=limits.memory,
        )
        began, counts = time.monotonic(), rewrite.n_tasks()
        n_chunks, done = sum(counts), 0
        total = 2 * n_chunks if self._store.copies_chunks else n_chunks

        def progress(level: int, done: int) -> Progress:
            elapsed = time.monotonic() - began
            remaining = elapsed * (total - done) / done if done else None
            return Progress(level, done, total, 0, 0, elapsed, remaining)

        with closing(rewrite.steps()) as steps:
            for level, n in steps:
                done = max(done + n, sum(counts[:level]))
                yield progress(level, done)
        with closing(self._store.replace(rewrite)) as moves:
            for moved, n_moves in moves:
                yield progress(len(counts) - 1, n_chunks + n_chunks * moved // n_moves)

    def _explained(self, error: Exception) -> PyramidError:
        kept = "; the rest is written by the next update" if self._store.is_moving else ""
        if isinstance(error, PyramidError) and not kept:
            return error
        found = error.message if isinstance(error, PyramidError) else explained(error)
        return DestinationError(f"{self.place}: {found}{kept}")
