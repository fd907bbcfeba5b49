"""Read a level of a TIFF on another host, fetching many tiles at once."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_pyramid.storage.remote_file import RemoteFile

__all__ = ["RemoteTiffLevel"]

_MOST = 4096
"""Tiles whose places are looked up before one read; beyond, tifffile reads one after another."""


class RemoteTiffLevel:
    """A level that returns regions without steps, decoded as by tifffile's zarr view.

    Parameters
    ----------
    array
        The view, of a file opened from `file`.
    file
        The TIFF.
    """

    def __init__(self, array: zarr.Array[Any], file: RemoteFile) -> None:
        self._array = array
        self._file = file
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = array.ndim
        self.chunks: tuple[int, ...] = array.chunks

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        grid = [range(s.start // c, -(-s.stop // c)) for s, c in zip(key, self.chunks, strict=True)]
        if 1 < np.prod([len(r) for r in grid]) <= _MOST:
            self._file.prefetch(filter(None, map(self._span, product(*grid))))
        return np.asarray(self._array[key])

    def _span(self, index: tuple[int, ...]) -> tuple[int, int] | None:
        """Return the first byte and the end of a tile; None if tifffile does not give them."""
        store: Any = self._array.store
        parse = getattr(store, "_parse_key", None)  # not public: without it, tiles come one by one
        if parse is None:
            return None
        path = f"{self._array.path}/" if self._array.path else ""
        _, _, _, start, n = parse(path + self._array.metadata.encode_chunk_key(index))
        return (int(start), int(start) + int(n)) if start and n else None
