"""What a build reads: one array, an existing pyramid, or whatever a path holds, with all that is known of it.

Knows layouts; knows nothing of tiles or destinations.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from napari_pyramid.axes import Axis, default_axes, parse_axes
from napari_pyramid.errors import LayoutError, SpecError
from napari_pyramid.plan.chunks import regular_chunks
from napari_pyramid.image import Image
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.storage.store_objects import place_of

__all__ = ["BuildSource", "directory_of", "resolve_source"]

_RANK = {"time": 0, "channel": 1}


@dataclass(frozen=True, slots=True)
class BuildSource:
    """Arrays to read, largest first, and what is known of the image that they are."""

    arrays: tuple[Any, ...]
    """One array to reduce, or one per level of a pyramid that is kept as it is."""
    image: Image | None = None
    """What a layout said, if a path was given."""
    origin: Path | None = None
    """The path that was given, if it is that of something on this machine."""

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
    """Return the arrays of a source.

    Parameters
    ----------
    source
        A path or URL of anything the layouts read (its first image, or the one called `name`), or a zarr Group or Store;
        an array-like; a list or
        tuple of array-likes, which are the levels of an existing pyramid, largest first.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.connect.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing can be read at the path, or no image there is called `name`.
    SpecError
        If it is none of these.
    """
    from napari_pyramid.layouts import open_images

    if isinstance(source, str | os.PathLike):
        images = open_images(source, storage_options=storage_options)
        image = _named(images, name, place_of(source))
        origin = Path(source)
        return BuildSource((image.levels[0].array,), image, origin if origin.exists() else None)
    if isinstance(source, zarr.Group | Store):
        image = _named(open_images(source), name, place_of(source))
        return BuildSource((image.levels[0].array,), image)
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


def _named(images: Sequence[Image], name: str | None, path: str) -> Image:
    if name is None:
        return images[0]
    for image in images:
        if name in (image.name, image.path):
            return image
    raise LayoutError(
        f"{path} has no image {name!r}: it has {', '.join(repr(i.name) for i in images)}"
    )


def _unwrapped(array: Any) -> Any:
    """The zarr array behind a view of all of it: it can be read faster, and in place."""
    if isinstance(array, LazyArray) and isinstance(array.source, zarr.Array) and array.shows_all:
        return array.source
    return array


def _usable(scale: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return scale if scale is not None and all(math.isfinite(s) and s != 0 for s in scale) else None


def directory_of(array: Any) -> Path | None:
    """Directory of a zarr array stored in one, or of the array whose axes were reordered; None for all else."""
    if isinstance(array, Reordered):
        array = array.array
    if isinstance(array, zarr.Array) and isinstance(array.store, LocalStore):
        return Path(array.store.root) / array.path
    return None


def _identity(array: Any) -> dict[str, Any] | None:
    """Where an array is, its geometry, and a digest of its metadata."""
    if isinstance(array, Reordered):
        inner = _identity(array.array)
        return None if inner is None else {**inner, "order": array.order}
    directory = directory_of(array) or _directory_in_n5(array)
    if directory is None:
        return None
    found = hashlib.sha256()
    for name in ("zarr.json", ".zarray", ".zattrs", "attributes.json"):
        if (directory / name).exists():
            found.update((directory / name).read_bytes())
    geometry = {"shape": list(array.shape), "dtype": str(array.dtype), "chunks": list(array.chunks)}
    return {"path": str(directory.resolve()), **geometry, "metadata": found.hexdigest()}


def _directory_in_n5(array: Any) -> Path | None:
    """Directory of an array of an N5 container on this machine; None for all else."""
    container = getattr(getattr(array, "store", None), "inner", None)
    return Path(container.root) / array.path if isinstance(container, LocalStore) else None


def _place_in_map(array: Any) -> list[int] | None:
    """First byte and strides of a view of a memory-mapped file; None for all else."""
    mapped = getattr(array, "_mmap", None)
    if not isinstance(array, np.memmap) or mapped is None:
        return None
    start = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    return [array.__array_interface__["data"][0] - start, *array.strides]


# ---- order of axes ---------------------------------------------------------------------------------------------------


def ome_order(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Axes in the order that OME-Zarr wants: time, channel, then all others as they are (0.5, "axes" metadata)."""
    return tuple(sorted(range(len(axes)), key=lambda i: _RANK.get(axes[i].type or "", 2)))


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
    arrays = tuple(Reordered(a, order) for a in source.arrays)
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


@dataclass(frozen=True, slots=True)
class Reordered:
    """An array with its axes in another order; a region is read when it is indexed."""

    array: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape[i] for i in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Those of the array; all of it where it has none."""
        found = regular_chunks(self.array) or self.array.shape
        return tuple(found[i] for i in self.order)

    @property
    def is_chunked(self) -> bool:
        return regular_chunks(self.array) is not None

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        inner = [slice(None)] * len(self.order)
        for axis, index in zip(self.order, key, strict=False):
            inner[axis] = index
        return np.asarray(self.array[tuple(inner)]).transpose(self.order)
