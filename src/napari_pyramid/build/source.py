"""What a build reads: one array, an existing pyramid, or whatever a path holds, with all that is known of it.

Knows layouts; knows nothing of tiles or destinations.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.axes import Axis, default_axes, ome_order, parse_axes
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Image, pick_image
from napari_pyramid.storage.irregular import with_regular_chunks
from napari_pyramid.storage.store_objects import place_of

__all__ = ["BuildSource", "directory_of", "reordered", "resolve_source"]


@dataclass(frozen=True, slots=True)
class BuildSource:
    """Arrays to read, largest first, and what is known of the image that they are."""

    arrays: tuple[Any, ...]
    """One array to reduce, or one per level of a pyramid that is kept as it is."""
    image: Image | None = None
    """What a layout said, if a path was given."""
    origin: Path | None = None
    """The path that was given, if it is that of something on this machine."""

    @classmethod
    def of_image(cls, image: Image, path: object) -> BuildSource:
        """Return level 0 of an image that a layout opened at `path`, or in a store, as the source."""
        if not isinstance(path, str | os.PathLike):
            return cls((image.levels[0].array,), image)
        origin = Path(path)
        return cls((image.levels[0].array,), image, origin if origin.exists() else None)

    @property
    def identity(self) -> dict[str, Any] | None:
        """What must be the same when a build is resumed; None for arrays in memory, which nothing can vouch for."""
        parts = [_identity(a) or self._file_identity(a) for a in self.arrays]
        return {"arrays": parts} if all(p is not None for p in parts) else None

    def _file_identity(self, array: Any) -> dict[str, Any] | None:
        """The file that an array is read from and which of its images, its size and when it was changed: a TIFF, a zip, a memory-mapped array.

        Of neuroglancer's precomputed volumes, which are folders, the file that describes them.
        """
        path = getattr(array, "filename", None) or self.origin
        if path is not None and Path(path).is_dir():
            path = Path(path) / "info"
        if path is None or not Path(path).is_file():
            return None
        stat = Path(path).stat()
        image = None if self.image is None else [self.image.path, self.image.name]
        geometry = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "order": getattr(array, "order", None),
            "memory": _place_in_map(array),
        }
        return {
            "path": str(Path(path).resolve()),
            "image": image,
            "size": stat.st_size,
            "changed": stat.st_mtime_ns,
            **geometry,
        }

    @property
    def is_portable(self) -> bool:
        """Whether another process can open the arrays: zarr arrays in directories can be."""
        return all(directory_of(a) is not None for a in self.arrays)

    def options(self) -> dict[str, Any]:
        """Options of `PyramidSpec.from_array` that the layout knows: axes, scale, translation, labels, name."""
        if self.image is None:
            return {}
        level = self.image.levels[0]
        axes = self.image.axes
        if axes is None and self.image.rgb:
            axes = (*default_axes(len(level.array.shape) - 1), Axis.named("c"))
        known = {"axes": axes, "scale": _usable(level.scale), "translation": level.translation}
        options = {k: v for k, v in known.items() if v is not None}
        return {**options, "labels": self.image.kind == "labels", "name": self.image.name}


def resolve_source(
    source: Any,
    *,
    name: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> BuildSource:
    """Return the arrays of a source, opened.

    Parameters
    ----------
    source
        A path or URL of anything that the layouts read (its first image, or the one called
        `name`), or a zarr Group or Store; an array-like; a list or tuple of array-likes, which are
        the levels of an existing pyramid, largest first; or a `BuildSource`, which is returned as
        it is.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.connect.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing can be read at the path, or no image there is called `name`.
    SpecError
        If it is none of these.
    """
    if isinstance(source, BuildSource):
        return source
    if isinstance(source, str | os.PathLike | zarr.Group | Store):
        from napari_pyramid.layouts import open_images

        images = open_images(source, storage_options=storage_options)
        return BuildSource.of_image(pick_image(images, name, place_of(source)), source)
    if isinstance(source, list | tuple):
        if not source:
            raise SpecError("an empty list of levels cannot be a source: give at least level 0")
        return BuildSource(tuple(_unwrapped(_checked(a)) for a in source))
    return BuildSource((_unwrapped(_checked(source)),))


def _checked(array: Any) -> Any:
    """
    Raises
    ------
    SpecError
        If it is no array-like.
    """
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise SpecError(
            f"a {type(array).__name__} cannot be a source: expected something with shape, dtype and indexing"
        )
    return array


def _unwrapped(array: Any) -> Any:
    """The zarr array behind a view of all of it: it can be read faster, and in place."""
    if isinstance(array, LazyArray) and isinstance(array.source, zarr.Array) and array.shows_all:
        return array.source
    return with_regular_chunks(array)


def _usable(scale: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return scale if scale is not None and all(math.isfinite(s) and s != 0 for s in scale) else None


def directory_of(array: Any) -> Path | None:
    """Directory of a zarr array stored in one, or of the array whose axes were reordered; None for all else."""
    if isinstance(array, Transpose):
        array = array.array
    if isinstance(array, zarr.Array) and isinstance(array.store, LocalStore):
        return Path(array.store.root) / array.path
    return None


def _identity(array: Any) -> dict[str, Any] | None:
    """Where an array is, its geometry, and a digest of its metadata."""
    if isinstance(array, Transpose):
        inner = _identity(array.array)
        return None if inner is None else {**inner, "order": array.order}
    directory = _directory_read(array)
    if directory is None:
        return None
    found = hashlib.sha256()
    for name in ("zarr.json", ".zarray", ".zattrs", "attributes.json"):
        if (directory / name).exists():
            found.update((directory / name).read_bytes())
    geometry = {"shape": list(array.shape), "dtype": str(array.dtype), "chunks": list(array.chunks)}
    return {"path": str(directory.resolve()), **geometry, "metadata": found.hexdigest()}


def _directory_read(array: Any) -> Path | None:
    """Directory of an array of a zarr hierarchy or an N5 container on this machine; None for all else."""
    store = getattr(array, "store", None)
    container = getattr(store, "inner", store)
    return Path(container.root) / array.path if isinstance(container, LocalStore) else None


def _place_in_map(array: Any) -> list[int] | None:
    """First byte and strides of a view of a memory-mapped file; None for all else."""
    mapped = array
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if not isinstance(array, np.memmap) or not isinstance(mapped, mmap.mmap):
        return None
    start = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    return [array.__array_interface__["data"][0] - start, *array.strides]


# ---- order of axes ---------------------------------------------------------------------------------------------------


def reordered(source: BuildSource, options: dict[str, Any]) -> tuple[BuildSource, dict[str, Any]]:
    """Source and options with the axes in OME-Zarr's order, so that an RGB image (y, x, c) becomes (c, y, x)."""
    ndim = len(source.arrays[0].shape)
    axes = parse_axes(options.get("axes"), ndim, options.get("unit"))
    order = ome_order(axes)
    if order == tuple(range(ndim)):
        return source, options
    moved: dict[str, Any] = {
        k: [v[i] for i in order]
        for k, v in options.items()
        if k in _PER_AXIS and _is_per_axis(v, ndim)
    }
    if "factors" not in moved and isinstance(
        steps := options.get("factors"), list | tuple
    ):  # one per step
        moved["factors"] = [
            [step[i] for i in order] if _is_per_axis(step, ndim) else step for step in steps
        ]
    arrays = tuple(Transpose(a, order) for a in source.arrays)
    return replace(source, arrays=arrays), {
        **options,
        **moved,
        "axes": [axes[i] for i in order],
        "unit": None,
    }


_PER_AXIS = ("scale", "translation", "factors", "chunks", "shards")


def _is_per_axis(value: Any, ndim: int) -> bool:
    return (
        not isinstance(value, str | int)
        and value is not None
        and len(value) == ndim
        and not hasattr(value[0], "__len__")
    )
