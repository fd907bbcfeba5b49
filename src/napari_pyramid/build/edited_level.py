"""Hold one level of a pyramid that is edited, and the chunks that replace its stored chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore, StorePath

from napari_pyramid.build.targets import open_level
from napari_pyramid.regions import Region, blocks_in, relative_to, shape_of
from napari_pyramid.storage.folder import Folder, Place, path_below
from napari_pyramid.storage.moves import ArrayMoves, names_below
from napari_pyramid.storage.object_blocks import blocks_to_write

__all__ = ["ChunkRewrite", "EditedLevel", "Index", "RewrittenLevel"]

_Array = npt.NDArray[Any]
Index = tuple[int, ...]
"""Coordinates of a chunk or shard in the grid of chunks or shards."""


@dataclass(frozen=True, slots=True)
class EditedLevel:
    """One level of the pyramid that is edited."""

    place: Place
    """Where its array is."""
    factors: tuple[int, ...]
    """Samples of the level before to a sample of this one, along each axis; 1 for level 0."""


@dataclass(frozen=True, slots=True)
class ChunkRewrite:
    """A chunk or shard to rewrite, and the parts of it that may have changed."""

    index: Index
    block: Region
    parts: tuple[Region, ...]
    """Parts that may have changed, each inside of one chunk."""


class RewrittenLevel:
    """The stored chunks of a level, and the chunks that replace them."""

    def __init__(self, level: EditedLevel, fresh: Place, check: Callable[[], None]) -> None:
        self.factors, self.place, self.fresh = level.factors, level.place, fresh
        array = open_level(level.place, writable=False)
        self.chunks: tuple[int, ...] = array.chunks
        self.stored, self.new = (
            blocks_to_write(a, is_new=True, codec_threads=1, check=check)
            for a in (array, _like(array, fresh))
        )
        self.rewritten: set[Index] = set()
        self.changed: list[Region] = []
        """Boxes of changed samples."""

    def tasks(self, regions: Iterable[Region]) -> list[ChunkRewrite]:
        """Return the chunks or shards that `regions` touch."""
        parts: dict[Index, set[tuple[tuple[int, int], ...]]] = {}
        for region in regions:
            for part in blocks_in(region, self.chunks):
                index = tuple(s.start // b for s, b in zip(part, self.stored.block, strict=True))
                parts.setdefault(index, set()).add(tuple((s.start, s.stop) for s in part))
        return [
            ChunkRewrite(
                index,
                tuple(
                    slice(i * b, min((i + 1) * b, n))
                    for i, b, n in zip(index, self.stored.block, self.stored.shape, strict=True)
                ),
                tuple(tuple(slice(*span) for span in part) for part in sorted(found)),
            )
            for index, found in sorted(parts.items())
        ]

    def read(self, region: Region, out: _Array) -> None:
        """Read a region as it will be: rewritten chunks from where they were written."""
        for block in blocks_in(region, self.stored.block):
            index = tuple(s.start // b for s, b in zip(block, self.stored.block, strict=True))
            part = np.empty(shape_of(block), out.dtype)
            (self.new if index in self.rewritten else self.stored).read(block, part)
            out[relative_to(block, region)] = part

    def moves(self, workspace: Place) -> ArrayMoves:
        """Return the new chunks, with the chunks of the level that they replace."""
        keys = {self.stored.key_of(index) for index in self.rewritten}
        put = keys & names_below(self.fresh)
        return ArrayMoves(
            place=path_below(workspace.parent, self.place),
            fresh=path_below(workspace, self.fresh),
            put=tuple(sorted(put)),
            removed=tuple(sorted(keys - put)),
        )


def _like(array: zarr.Array[Any], place: Place) -> zarr.Array[Any]:
    """Return an array with the metadata of another one, which are not written at its place."""
    at = (
        StorePath(place.objects.store, place.path)
        if isinstance(place, Folder)
        else StorePath(LocalStore(place), "")
    )
    return zarr.Array(zarr.AsyncArray(array.metadata, at))
