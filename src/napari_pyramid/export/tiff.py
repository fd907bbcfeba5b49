"""Write a region as an OME-TIFF, block by block, with the extra "tiff".

tifffile writes the headers and the OME-XML. Blocks of uncompressed planes, which are one after
another in the file, are then written into their places; compressed tiles are appended, and their
positions stored in the headers. Memory stays bounded.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.virtual import Squeeze, Transpose
from napari_pyramid.build.progress import Progress
from napari_pyramid.errors import DestinationError, PyramidError, Remedy, SourceError, explained
from napari_pyramid.export.blocks import BLOCK_BYTES, ExportBlocks
from napari_pyramid.export.ome_tiff import OmeTiff, describe_tiff
from napari_pyramid.export.region import Cut
from napari_pyramid.export.tiff_tiles import (
    Compression,
    TileWriter,
    check_compression,
    tile_of,
)
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.regions import Region

__all__ = ["SUFFIXES", "TiffExport"]

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_CLASSIC_BYTES = 2**32 - 2**25
"""Larger files need BigTIFF, whose offsets have 64 bits; a part is left for the headers."""
_STRIP_BYTES = 2**20


class TiffExport:
    """A region that can be written as a TIFF file.

    Parameters
    ----------
    compression
        How tiles are compressed, without loss; ``"none"`` writes whole planes.

    Raises
    ------
    ValueError
        If there is no such compression.
    PyramidError
        If the compression needs a package that is missing.
    SpecError
        If the image cannot be described by OME.
    """

    def __init__(
        self,
        cut: Cut,
        path: Path,
        *,
        compression: Compression = "deflate",
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        check_compression(compression)
        self.path, self.compression = path, compression
        self._tiff = describe_tiff(cut.image)
        array, start = cut.array, [s.start for s in cut.region]
        for axis in reversed(self._tiff.dropped):
            array = Squeeze(array, axis)
            del start[axis]
        order = np.argsort(np.argsort(self._tiff.order)).tolist()
        if order != sorted(order):
            array, start = Transpose(array, order), [start[i] for i in order]
        plane = self._plane_axis
        height, width = tile_of(self._tiff.shape[plane : plane + 2])
        tiles = None if compression == "none" else {plane: height, plane + 1: width}
        if tiles and self._tiff.is_rgb:
            tiles[plane + 2] = self._tiff.shape[-1]
        self._blocks = ExportBlocks(array, start, limit=block_bytes, tiles=tiles)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels in the file, before compression."""
        return math.prod(self._tiff.shape) * self._tiff.dtype.itemsize

    @property
    def is_big(self) -> bool:
        """Whether the file is a BigTIFF, since the pixels do not fit into 4 GiB."""
        planes = math.prod(self._tiff.shape) // math.prod(self._tiff.shape[self._plane_axis :])
        return self.nbytes + 2048 * planes > _CLASSIC_BYTES

    @property
    def peak_memory(self) -> int:
        """Predicted bytes of memory: a block, the block in the types of the file, and encoded."""
        return (2 if self.compression == "none" else 3) * self._blocks.nbytes

    @property
    def _plane_axis(self) -> int:
        return self._tiff.axes.index("Y")

    def check(self, *, overwrite: bool = False) -> None:
        """Raise if the file cannot be written now.

        Raises
        ------
        PyramidError
            If tifffile is not installed.
        DestinationError
            If something is at the path already, or the disk is too full.
        """
        try:
            import tifffile  # noqa: F401  # only whether it is installed
        except ImportError as error:
            raise PyramidError(
                'TIFF needs the package tifffile: pip install "napari-pyramid[tiff]"'
            ) from error
        self._refuse_taken(overwrite)
        folder = self.path.parent
        if not folder.is_dir():
            raise DestinationError(f"{folder} is not a folder: choose another destination")
        free = shutil.disk_usage(folder).free
        if self.compression == "none" and self.nbytes > free:
            raise DestinationError(
                f"{self.path} takes {format_bytes(self.nbytes)}, but {format_bytes(free)} are free "
                "there: choose a coarser level, a smaller region or another disk"
            )

    def _refuse_taken(self, overwrite: bool) -> None:
        if self.path.is_dir() or (os.path.lexists(self.path) and not overwrite):
            remedies = (
                [Remedy.NEW_NAME] if self.path.is_dir() else [Remedy.OVERWRITE, Remedy.NEW_NAME]
            )
            raise DestinationError(f"{self.path} exists", remedies=remedies)

    def steps(self, *, overwrite: bool = False) -> Generator[Progress, None, Path]:
        """Write the file; a generator that is closed before its end, or fails, leaves no file.

        Raises
        ------
        DestinationError
            As `check`, or if the disk refuses to be written.
        SourceError
            If a block cannot be read, or does not fit into the integers of OME-TIFF.
        """
        self.check(overwrite=overwrite)
        return self._steps(overwrite)

    def _steps(self, overwrite: bool) -> Generator[Progress, None, Path]:
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        complete = False
        try:
            write = self._write_tiles if self.compression != "none" else self._write_planes
            yield from write(unfinished)
            self._refuse_taken(overwrite)  # free space is not checked again: this file has used it
            unfinished.replace(self.path)
            complete = True
        except OSError as error:
            raise DestinationError(f"{self.path}: {explained(error)}") from error
        finally:
            if not complete:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
        return self.path

    def _write_planes(self, path: Path) -> Generator[Progress, None, None]:
        """Write the file without compression."""
        row = math.prod(self._tiff.shape[self._plane_axis + 1 :]) * self._tiff.dtype.itemsize
        place = self._write_headers(
            path,
            rowsperstrip=max(1, _STRIP_BYTES // max(1, row)),
            contiguous=True,
            returnoffset=True,
        )
        assert place is not None
        with path.open("r+b") as file:
            for region, values, progress in self._blocks.read():
                stored = _stored(values, self._tiff.dtype)
                _write_block(file, int(place[0]), self._tiff.shape, region, stored)
                yield progress

    def _write_tiles(self, path: Path) -> Generator[Progress, None, None]:
        """Write the file with compressed tiles."""
        assert self.compression != "none"
        tiff = self._tiff
        tiles = TileWriter(tiff.shape, tiff.dtype, self._plane_axis, self.compression)
        self._write_headers(
            path,
            (b"" for _ in range(tiles.n_tiles)),  # without pixels, which are not known yet
            tile=tiles.tile,
            compression={"deflate": "zlib", "zstd": "zstd"}[self.compression],
            predictor=tiles.predictor,
        )
        with path.open("r+b") as file:
            for region, values, progress in self._blocks.read():
                for _ in tiles.write(file, region, _stored(values, tiff.dtype)):
                    yield replace(progress, done=progress.done - 1)
                yield progress
        tiles.finish(path)

    def _write_headers(self, path: Path, data: Any = None, **options: Any) -> Any:
        """Write everything but the pixels; return what tifffile returns."""
        import tifffile

        tiff: OmeTiff = self._tiff
        colours: dict[str, Any] = {"photometric": "minisblack"}
        if tiff.is_rgb:
            colours = {"photometric": "rgb", "planarconfig": "contig"}
            if tiff.shape[-1] == 4:
                colours["extrasamples"] = "unassalpha"
        with tifffile.TiffWriter(path, bigtiff=self.is_big, byteorder="<", ome=True) as writer:
            return writer.write(
                data,
                shape=tiff.shape,
                dtype=tiff.dtype,
                metadata={"axes": tiff.axes, **tiff.metadata},
                **colours,
                **options,
            )


def _stored(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return samples in the data type of the file.

    Raises
    ------
    SourceError
        If an integer does not fit.
    """
    if values.dtype.itemsize > dtype.itemsize and values.size:
        low, high = values.min(), values.max()
        limits = np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            found = low if low < limits.min else high
            raise SourceError(
                f"the value {found} does not fit into the integers of OME-TIFF, which have 32 bits "
                "at most: export a pyramid"
            )
    return np.ascontiguousarray(values, dtype)


def _write_block(
    file: IO[bytes], offset: int, shape: tuple[int, ...], region: Region, values: npt.NDArray[Any]
) -> None:
    """Write a block into its place in an array of `shape` that begins at `offset`."""
    axis = len(shape) - 1
    while axis > 0 and region[axis] == slice(0, shape[axis]):
        axis -= 1  # what follows is one piece in the file
    strides = [math.prod(shape[i + 1 :]) * values.itemsize for i in range(len(shape))]
    for index in np.ndindex(values.shape[:axis]):
        place = sum((s.start + i) * n for s, i, n in zip(region, index, strides, strict=False))
        file.seek(offset + place + region[axis].start * strides[axis])
        file.write(values[index].data)
