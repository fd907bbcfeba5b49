"""Compress the planes of a TIFF file tile by tile: `TileWriter`."""

from __future__ import annotations

import importlib.util
import math
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_pyramid.errors import PyramidError
from napari_pyramid.regions import Region
from napari_pyramid.storage.run_together import THREADS, run_together

__all__ = ["COMPRESSIONS", "Compression", "TileWriter", "check_compression", "tile_of"]

Compression = Literal["deflate", "zstd", "none"]
COMPRESSIONS: tuple[Compression, ...] = ("deflate", "zstd", "none")
_Array = npt.NDArray[Any]
_SIDE = 256
_STEP = 16
"""Sides of tiles are multiples of this, by the TIFF specification."""
_AT_ONCE = 8 * THREADS
"""Tiles that are compressed between two steps."""
_LEVELS: Mapping[str, int] = {"deflate": 6, "zstd": 5}


def tile_of(plane: Sequence[int]) -> tuple[int, int]:
    """Return the height and the width of the tiles of a plane."""
    height, width = (min(_SIDE, -(-n // _STEP) * _STEP) for n in plane)
    return height, width


def check_compression(compression: Compression) -> None:
    """Raise if a compression cannot be used here.

    Raises
    ------
    ValueError
        If there is no such compression.
    PyramidError
        If a package is missing.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression {compression!r}: expected {', '.join(COMPRESSIONS)}")
    if compression == "zstd" and importlib.util.find_spec("imagecodecs") is None:
        raise PyramidError(
            "TIFF with zstd needs the package imagecodecs: choose deflate, or "
            'pip install "napari-pyramid[imagecodecs]"'
        )


class TileWriter:
    """The compressed tiles of a file whose headers tifffile has written.

    The tiles of a block are appended to the file in any order; `finish` then stores their positions
    in the headers.

    Parameters
    ----------
    shape
        Shape of the pixels in the file.
    plane_axis
        The axis of `shape` that is the height of a plane; the width follows, and perhaps samples.
    """

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[Any], plane_axis: int, compression: Compression
    ) -> None:
        self._plane_axis, self._dtype = plane_axis, dtype
        self._outer = tuple(shape[:plane_axis])
        plane = shape[plane_axis : plane_axis + 2]
        self.tile = tile_of(plane)
        self._samples = tuple(shape[plane_axis + 2 :])
        self._grid = tuple(-(-n // t) for n, t in zip(plane, self.tile, strict=True))
        self._encode = _encoder(compression)
        self.predictor = dtype.kind in "iu"
        """Whether differences along the rows are stored, which compress better."""
        self.n_planes, self._per_plane = math.prod(self._outer), math.prod(self._grid)
        self._offsets = np.zeros((self.n_planes, self._per_plane), np.uint64)
        self._sizes = np.zeros((self.n_planes, self._per_plane), np.uint64)

    @property
    def n_tiles(self) -> int:
        """Number of tiles in the file."""
        return self.n_planes * self._per_plane

    def write(self, file: IO[bytes], region: Region, values: _Array) -> Generator[None, None, None]:
        """Append the tiles of a block, which begins and ends at edges of tiles or of the planes.

        Yield after every few tiles, so that the caller can stop.
        """
        tiles = self._tiles(region, values)
        while found := list(islice(tiles, _AT_ONCE)):
            self._append(file, found)
            yield

    def _append(self, file: IO[bytes], found: Sequence[tuple[tuple[int, int], _Array]]) -> None:
        encoded: list[bytes] = [b""] * len(found)

        def encode(i: int) -> None:
            encoded[i] = self._encode(self._stored(found[i][1]))

        run_together(encode, range(len(found)))
        place = file.seek(0, 2)
        for (where, _), data in zip(found, encoded, strict=True):
            self._offsets[where], self._sizes[where] = place, len(data)
            place += file.write(data)

    def _tiles(self, region: Region, values: _Array) -> Iterator[tuple[tuple[int, int], _Array]]:
        """Yield the number of the plane and of the tile in it, and the samples of each tile."""
        axis = self._plane_axis
        for inside in np.ndindex(values.shape[:axis]):
            at = [s.start + i for s, i in zip(region, inside, strict=False)]
            plane = int(np.ravel_multi_index(at, self._outer)) if at else 0
            height, width = values.shape[axis : axis + 2]
            for y in range(0, height, self.tile[0]):
                for x in range(0, width, self.tile[1]):
                    row = (region[axis].start + y) // self.tile[0]
                    column = (region[axis + 1].start + x) // self.tile[1]
                    part = values[inside][y : y + self.tile[0], x : x + self.tile[1]]
                    yield (plane, row * self._grid[1] + column), part

    def _stored(self, part: _Array) -> bytes:
        """Return a whole tile, padded with zeros, as it is before compression."""
        tile: _Array = np.zeros((*self.tile, *self._samples), self._dtype)
        tile[: part.shape[0], : part.shape[1]] = part
        if self.predictor:
            bits = tile.view(f"<u{self._dtype.itemsize}")
            tile = bits.copy()
            tile[:, 1:] -= bits[:, :-1]
        return tile.tobytes()

    def finish(self, path: Path) -> None:
        """Store the positions of the tiles in the headers of the file."""
        import tifffile

        with tifffile.TiffFile(path, mode="r+") as file:
            pages: Any = file.pages
            pages.useframes = False  # only whole pages have tags to change
            for i, page in enumerate(pages):
                page.tags["TileOffsets"].overwrite(self._offsets[i].tolist())
                page.tags["TileByteCounts"].overwrite(self._sizes[i].tolist())


def _encoder(compression: Compression) -> Callable[[bytes], bytes]:
    level = _LEVELS[compression]
    if compression == "deflate":
        return lambda data: zlib.compress(data, level)
    import imagecodecs

    return lambda data: bytes(imagecodecs.zstd_encode(data, level))
