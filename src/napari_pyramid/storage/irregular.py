"""Read arrays whose chunks differ in size as if all chunks had the largest size.

zarr calls such chunk grids "rectilinear".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store

__all__ = ["Irregular", "why_unreadable", "with_regular_chunks"]


@dataclass(frozen=True, slots=True)
class Irregular:
    """A stored array whose chunks differ in size.

    A region of `chunks` may be made of several stored chunks; reading it decodes each of them once.
    """

    array: zarr.Array[Any]
    chunks: tuple[int, ...]
    """Length of the longest stored chunk along each axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the array."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def fill_value(self) -> Any:
        """Value of chunks that are not stored."""
        return self.array.fill_value

    @property
    def store(self) -> Store:
        """Store of the array."""
        return self.array.store

    @property
    def path(self) -> str:
        """Path of the array in its store."""
        return self.array.path

    @property
    def store_path(self) -> Any:
        """Store and path of the array."""
        return self.array.store_path

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]


def with_regular_chunks(array: Any) -> Any:
    """Return an array, as `Irregular` if it is a zarr array with chunks that differ in size."""
    if not isinstance(array, zarr.Array):
        return array
    untyped: Any = array  # zarr before 3.2 has no such chunks, and no `read_chunk_sizes`
    try:
        _ = array.chunks, array.shards
    except NotImplementedError:
        sizes = untyped.read_chunk_sizes
        return Irregular(array, tuple(max(along_axis, default=1) for along_axis in sizes))
    return array


def why_unreadable(metadata: Mapping[str, Any]) -> str | None:
    """Return why zarr cannot read the chunk grid of an array and what to do, or None if it can."""
    grid = metadata.get("chunk_grid")
    if not isinstance(grid, Mapping) or grid.get("name") != "rectilinear":
        return None
    if hasattr(zarr.Array, "read_chunk_sizes") and zarr.config.get(
        "array.rectilinear_chunks", False
    ):
        return None
    return (
        "its chunks differ in size (a rectilinear chunk grid), which zarr reads since "
        "version 3.2 and only on request: set the environment variable "
        "ZARR_ARRAY__RECTILINEAR_CHUNKS=True and start again "
        f"(zarr {zarr.__version__} is installed)"
    )
