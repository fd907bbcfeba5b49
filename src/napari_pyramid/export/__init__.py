"""Export a region of an image: as a new pyramid, a TIFF file, or an array in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.progress import Progress, Steps
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.export.blocks import ExportBlocks
from napari_pyramid.export.region import Cut, ExportSource
from napari_pyramid.export.tiff import SUFFIXES, TiffExport
from napari_pyramid.export.tiff_tiles import COMPRESSIONS, Compression
from napari_pyramid.image import pick_image
from napari_pyramid.layouts import open_images
from napari_pyramid.metadata.image_attributes import Version
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.plan.memory import available_memory
from napari_pyramid.storage.address import disk_path, local_path, public_url
from napari_pyramid.storage.store_objects import place_of

__all__ = ["COMPRESSIONS", "Compression", "Export", "Kind", "export_region", "plan_export"]

Kind = Literal["pyramid", "tiff", "array"]


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """An export that is planned: what is read, what will be written, and what it takes."""

    cut: Cut
    kind: Kind
    overwrite: bool = False
    _build: Build | None = None
    _tiff: TiffExport | None = None
    _blocks: ExportBlocks | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes that will be written before compression, or held for an array."""
        if self._build is not None:
            return self._build.nbytes
        return self._tiff.nbytes if self._tiff is not None else self.cut.nbytes

    @property
    def peak_memory(self) -> int:
        """Predicted bytes of memory at the peak."""
        if self._build is not None:
            return self._build.peak_memory
        if self._tiff is not None:
            return self._tiff.peak_memory
        return self.cut.nbytes + (self._blocks.nbytes if self._blocks is not None else 0)

    @property
    def is_big_tiff(self) -> bool:
        """Whether a BigTIFF file will be written."""
        return self._tiff is not None and self._tiff.is_big

    @property
    def is_compressed(self) -> bool:
        """Whether a compressed TIFF file will be written."""
        return self._tiff is not None and self._tiff.compression != "none"

    @property
    def n_levels(self) -> int:
        """Number of levels that will be written, or held."""
        return len(self._build.spec.levels) if self._build is not None else 1

    def check(self) -> None:
        """Raise if the export could not begin now.

        Raises
        ------
        DestinationError
            If the destination is taken, or too full.
        SpecError
            If an array does not fit into the memory.
        PyramidError
            If a package is missing.
        """
        if self._build is not None:
            self._build.check()
        elif self._tiff is not None:
            self._tiff.check(overwrite=self.overwrite)
        elif self.peak_memory > (free := available_memory() // 2):
            raise SpecError(
                f"the region takes {format_bytes(self.peak_memory)} of memory, but at most "
                f"{format_bytes(free)} may be used: choose a coarser level or a smaller region, "
                "or export a pyramid"
            )

    def steps(self) -> Generator[Progress, None, Any]:
        """Return a generator that exports and yields its progress.

        Closed before its end, or after an error, it leaves nothing of what it wrote.

        Returns
        -------
        Pyramid, Path or ndarray
            The new pyramid, the TIFF file, or the samples (the value of StopIteration).

        Raises
        ------
        SpecError, DestinationError, PyramidError
            At once, as `check` does.
        SourceError, DestinationError
            While iterating, if a region cannot be read or written.
        """
        if self._build is not None:
            return self._build.steps()
        if self._tiff is not None:
            return self._tiff.steps(overwrite=self.overwrite)
        self.check()
        return self._into_memory()

    def _into_memory(self) -> Generator[Progress, None, Any]:
        assert self._blocks is not None
        array = self.cut.array
        samples = np.empty(array.shape, np.dtype(array.dtype))
        for region, values, progress in self._blocks.read():
            samples[region] = values
            yield progress
        return samples


def plan_export(
    cut: Cut,
    destination: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    format: Version | None = None,
    compression: Compression = "deflate",
) -> Export:
    """Plan an export; nothing is read or written.

    Parameters
    ----------
    cut
        The region, from `ExportSource.cut`.
    destination
        A path that ends in .tif, .tiff, .btf or .tf8 for a TIFF file, or any other path for a new
        pyramid; None for an array in memory.
    overwrite
        Replace what is at the destination, once the new one is complete.
    format
        Version of OME-Zarr of a new pyramid.
    compression
        Compression of a TIFF file, as in `export_region`.

    Raises
    ------
    SpecError, DestinationError
        If the region cannot be stored there, or the destination is a URL.
    ValueError, PyramidError
        If there is no such compression, or a package for it is missing.
    """
    if destination is None:
        return Export(cut, "array", _blocks=ExportBlocks(cut.array, [s.start for s in cut.region]))
    path = disk_path(destination)
    if path is None:
        raise DestinationError(
            f"{public_url(os.fspath(destination))}: exports are stored on disks only: give a "
            "path; a build from the exported pyramid can be stored there"
        )
    path = path.absolute()
    if path.suffix.lower() in SUFFIXES:
        return Export(cut, "tiff", overwrite, _tiff=TiffExport(cut, path, compression=compression))
    build = plan_build(
        cut.array,
        path,
        format=format,
        overwrite=overwrite,
        resume=False,
        **cut.image.build_options,
    )
    return Export(cut, "pyramid", overwrite, build)


def export_region(
    source: str | os.PathLike[str] | object,
    destination: str | os.PathLike[str],
    *,
    region: Mapping[str, slice] | None = None,
    level: int = 0,
    image: str | None = None,
    format: Version | None = None,
    compression: Compression = "deflate",
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Write a region of an image as a new pyramid or a TIFF file, and return its path.

    Parameters
    ----------
    source
        A path, a URL or an opened store, as `open_pyramid` takes it.
    destination
        ``NAME.ome.zarr``, or ``NAME.ome.tif`` for an OME-TIFF (BigTIFF from 4 GiB on).
    region
        Slices by the names of axes, in samples of level 0; an axis that is left out is taken
        whole: ``{"z": slice(10, 20)}``. A coarser level gives the samples that cover the region.
    level
        Level whose samples are written; 0 is the finest.
    image
        Name or path of one of several images in `source`; None takes the first.
    format
        Version of OME-Zarr of a new pyramid: ``"0.5"`` or ``"0.4"``.
    compression
        Compression of a TIFF file, without loss: ``"deflate"``, which any program reads,
        ``"zstd"``, which is faster and smaller but needs imagecodecs, or ``"none"``.
    overwrite
        Replace what is at the destination, once the new one is complete.
    storage_options
        Credentials and the like for a URL.
    progress
        Called with the progress, several times a second.

    Raises
    ------
    LayoutError
        If the source cannot be opened.
    SpecError, DestinationError
        If there is no such region or level, or it cannot be stored at the destination.
    SourceError
        If a part of the region cannot be read. Then, as after any error, nothing is left of what
        was written.
    """
    images = open_images(source, storage_options=storage_options)
    found = ExportSource.of_stored(pick_image(images, image, place_of(source)))
    export = plan_export(
        found.cut(found.region(region), level),
        destination,
        overwrite=overwrite,
        format=format,
        compression=compression,
    )
    with closing(Steps(export.steps())) as steps:
        for step in steps:
            if progress is not None:
                progress(step)
    return Path(local_path(os.fspath(destination)))
