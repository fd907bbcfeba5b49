"""Read regions of the source of a pass: zarr chunk by chunk, all else by plain indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_pyramid.errors import STORAGE_ERRORS, SourceError, one_line
from napari_pyramid.plan.chunks import regular_chunks
from napari_pyramid.regions import Region, shape_of
from napari_pyramid.storage.listed_chunks import ListedBlocks
from napari_pyramid.storage.object_blocks import blocks_to_read
from napari_pyramid.storage.present_chunks import PresentBlocks

__all__ = ["Reader"]

Array = npt.NDArray[Any]


class Reader:
    """An array that is read region by region, with the chunks that exist of it."""

    def __init__(self, array: Any, *, codec_threads: int = 1, check: Callable[[], None]) -> None:
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self.shape = tuple(array.shape)
        found = getattr(array, "fill_value", None)
        self.fill_value = self.dtype.type(found if found is not None else 0)
        self._array = array
        self.present = PresentBlocks.of(array) or ListedBlocks.of(array)
        self.blocks = (
            blocks_to_read(array, self.present, codec_threads=codec_threads, check=check)
            if isinstance(array, zarr.Array)
            else None
        )
        self.block: tuple[int, ...] | None = (
            self.blocks.block if self.blocks else regular_chunks(array)
        )

    def is_absent(self, region: Region) -> bool:
        """Return whether no chunk of the region exists, so that all of it is fill value."""
        if self.present is None or self.block is None:
            return False
        return not self.present.any_in(
            tuple(
                slice(s.start // b, -(-s.stop // b))
                for s, b in zip(region, self.block, strict=True)
            )
        )

    def read(self, region: Region, out: Array) -> None:
        """Read a region into `out`.

        Raises
        ------
        SourceError
            If a sample cannot be read; the message names the region.
        """
        try:
            if self.blocks is not None:
                if isinstance(self.present, ListedBlocks):
                    # Lists the blocks, so that absent ones are not requested.
                    self.is_absent(region)
                self.blocks.read(region, out)
            else:
                out[...] = np.asarray(self._array[region])
        except STORAGE_ERRORS as exc:
            where = ", ".join(f"{s.start}:{s.stop}" for s in region)
            raise SourceError(
                f"region [{where}] of the source cannot be read: {one_line(exc)}"
            ) from exc

    def __getitem__(self, region: Region) -> Array:
        """Return a region as a new array; see `read`."""
        out = np.empty(shape_of(region), self.dtype)
        self.read(region, out)
        return out
