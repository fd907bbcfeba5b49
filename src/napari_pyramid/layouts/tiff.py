"""Read TIFF files, tiled or striped, flat or pyramidal, through tifffile, with the extra "tiff".

tifffile finds the levels of OME-TIFF, ImageJ, SVS and similar slides, and cloud-optimised GeoTIFF
with overviews; they are read lazily as zarr arrays.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zarr

from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.errors import LayoutError
from napari_pyramid.half_pixel import centre_shift
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts._candidates import shape_ratio
from napari_pyramid.layouts._remote_tiff import RemoteTiffLevel
from napari_pyramid.layouts._tiff_metadata import TiffMetadata, hostile_ome, tiff_metadata
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.remote_file import RemoteFile, open_remote_file
from napari_pyramid.storage.stores import Found

if TYPE_CHECKING:
    from tifffile import FileHandle, TiffFile, TiffPageSeries

__all__ = ["NAME", "open_path", "open_remote"]

NAME = "TIFF"
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SLIDE_EXTRAS = {"Thumbnail", "Label", "Macro", "Map"}
"""Series of small pictures that slide scanners add; not shown beside a pyramid."""
_PAGE_BYTES = 64 * 2**20
"""Striped pages up to this size are one chunk, since strips are often single rows."""


def open_path(path: str) -> Sequence[Image] | None:
    """Return one image per series of a TIFF file, or None for other content.

    Raises
    ------
    LayoutError
        If tifffile is not installed or cannot read the file.
    """
    return _images_of(path, path) if _is_tiff(path) else None


def open_remote(found: Found) -> Sequence[Image] | None:
    """Return the images of a TIFF on another host, read by ranges; None for another file.

    Raises
    ------
    LayoutError
        As `open_path`.
    """
    if found.start[:4] not in _MAGIC:
        return None
    public = found.store.address.below(found.key).public
    try:
        file = open_remote_file(found.store, found.key)
    except OSError as error:
        raise LayoutError(str(error)) from error
    if file is None:
        raise LayoutError(f"{public} is no longer there")
    return _images_of(file, public)


def _images_of(source: str | RemoteFile, path: str) -> list[Image]:
    try:
        import tifffile
    except ImportError as error:
        raise LayoutError(
            f'{path}: TIFF needs the package tifffile: pip install "napari-pyramid[tiff]"'
        ) from error
    opened: Any = source  # tifffile's types do not know of files that are not of IO's
    try:
        file = tifffile.TiffFile(opened)
        if file.is_ome and (problem := hostile_ome(file.ome_metadata or "")):
            warn(f"{path}: {problem}; the OME-XML is ignored")
            file.close()
            file = tifffile.TiffFile(opened, is_ome=False)
        # The file is closed when the last level that reads from it is gone.
        weakref.finalize(file, file.filehandle.close)
        for other in _other_files(file):
            weakref.finalize(file, other.close)
        series = [s for s in file.series if 0 not in s.shape and s.ndim >= 2]
        if any(len(s.levels) > 1 for s in series):
            series = [s for s in series if s.name not in _SLIDE_EXTRAS]
        images = [
            _image(file, s, n, path, source, alone=len(series) == 1) for n, s in enumerate(series)
        ]
    # Every exception: tifffile raises errors of many types on tags with nonsense.
    except Exception as error:
        raise LayoutError(
            f"{path} is not a readable TIFF: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if not images:
        raise LayoutError(f"{path}: the TIFF holds no image")
    return images


def _other_files(file: TiffFile) -> set[FileHandle]:
    """Return the handles of other files that hold parts of the images.

    tifffile reopens them while it reads, so that each must be closed at the end.
    """
    pages = [
        page
        for series in file.series
        if series.is_multifile
        for level in series.levels
        for page in level.pages
        if page is not None
    ]
    return {page.parent.filehandle for page in pages} - {file.filehandle}


def _is_tiff(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) in _MAGIC
    except (OSError, ValueError):
        return False


def _image(
    file: TiffFile,
    series: TiffPageSeries,
    number: int,
    path: str,
    source: str | RemoteFile,
    *,
    alone: bool,
) -> Image:
    stem = re.sub(r"(\.ome)?\.[^.]+$", "", os.path.basename(path), flags=re.IGNORECASE)
    described = tiff_metadata(file, series, number)
    name = stem if alone else f"{stem} {described.name or series.name or number}"
    levels = tuple(_level(series, i, described, source) for i in range(len(series.levels)))
    return Image(
        name,
        levels,
        f"{described.flavour} TIFF".strip(),
        axes=described.axes,
        channels=described.channels,
        rgb=described.rgb,
        metadata=described.metadata,
    )


def _level(
    series: TiffPageSeries, index: int, described: TiffMetadata, source: str | RemoteFile
) -> StoredLevel:
    level = series.levels[index]
    page = level.keyframe
    by_page = not page.is_tiled and page.nbytes <= _PAGE_BYTES
    store = series.aszarr(level=index, chunkmode="page" if by_page else None)
    array: Any = zarr.open_array(store, mode="r")
    if isinstance(source, RemoteFile):
        # Crop turns every index that NumPy knows into a region.
        array = Crop(RemoteTiffLevel(array, source), array.shape)
    if described.scale is None:
        return StoredLevel(str(index), array)
    factors = shape_ratio(series.levels[0].shape, level.shape)
    scale = tuple(s * f for s, f in zip(described.scale, factors, strict=True))
    shift = centre_shift(described.scale, scale)
    translation = tuple(t + d for t, d in zip(described.translation, shift, strict=True))
    return StoredLevel(str(index), array, scale, translation)
