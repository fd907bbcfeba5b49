"""Resolve the source of a build: one array, an existing pyramid, or the image at a path.

Knows layouts; knows nothing of tiles or destinations.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zarr.storage import MemoryStore

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.axes import Axis, default_axes, ome_order, parse_axes
from napari_pyramid.build.source_identity import identity_of_file, identity_of_stored, is_presented
from napari_pyramid.build.source_places import stored_array
from napari_pyramid.errors import SourceError, SpecError
from napari_pyramid.image import Image, pick_image
from napari_pyramid.storage.address import disk_path
from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.irregular import with_regular_chunks
from napari_pyramid.storage.objects import StoreError
from napari_pyramid.storage.store_objects import is_opened_store, is_path, place_of

__all__ = [
    "BuildSource",
    "images_at",
    "reordered",
    "resolve_source",
]


@dataclass(frozen=True, slots=True)
class BuildSource:
    """Arrays to read, largest first, and the metadata of their image."""

    arrays: tuple[Any, ...]
    """One array to reduce, or one per level of a pyramid that is kept as it is."""
    image: Image | None = None
    """Image that a layout found, if a path was given."""
    origin: Path | None = None
    """The path that was given, if it exists on this machine."""

    @classmethod
    def of_image(cls, image: Image, path: object) -> BuildSource:
        """Return level 0 of an image that a layout opened, at `path` or in a store."""
        if not isinstance(path, str | os.PathLike):
            return cls((image.levels[0].array,), image)
        origin = disk_path(path)
        exists = origin is not None and origin.exists()
        return cls((image.levels[0].array,), image, origin if exists else None)

    @property
    def identity(self) -> dict[str, Any] | None:
        """Values that must be equal for a build to be resumed; None for arrays in memory."""
        try:
            parts = [self._identity_of(a) for a in self.arrays]
        except StoreError as error:
            raise SourceError(error.message) from error
        return {"arrays": parts} if all(p is not None for p in parts) else None

    def _identity_of(self, array: Any) -> dict[str, Any] | None:
        of_file = identity_of_file(array, self.origin, self.image)
        if of_file is not None and is_presented(array):
            return of_file
        return identity_of_stored(array) or of_file

    @property
    def is_portable(self) -> bool:
        """Whether other processes can open the arrays: zarr in directories, files or behind URLs.

        An array in memory would have to be sent with each tile.
        """
        return all(_is_portable(a) for a in self.arrays)

    def options(self) -> dict[str, Any]:
        """Return the options of `PyramidSpec.from_array` that the layout knows.

        They are axes, scale, translation, labels and name.
        """
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
        `name`), or an opened store, see `open_object`; an array-like; a list or tuple of
        array-likes, which are the levels of an existing pyramid, largest first; or a `BuildSource`,
        which is returned as it is.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing can be read at the path, or no image there is called `name`.
    SpecError
        If `source` is anything else.
    """
    if isinstance(source, BuildSource):
        return source
    if is_path(source) or (not _is_array(source) and is_opened_store(source)):
        from napari_pyramid.layouts import open_images

        images = open_images(source, storage_options=storage_options)
        return BuildSource.of_image(pick_image(images, name, place_of(source)), source)
    if isinstance(source, list | tuple):
        if not source:
            raise SpecError("an empty list of levels cannot be a source: give at least level 0")
        return BuildSource(tuple(_unwrapped(_checked(a)) for a in source))
    return BuildSource((_unwrapped(_checked(source)),))


def _checked(array: Any) -> Any:
    """Return `array` if it is an array-like.

    Raises
    ------
    SpecError
        If it has no shape or dtype.
    """
    if not _is_array(array):
        raise SpecError(
            f"a {type(array).__name__} cannot be a source: "
            "expected something with shape, dtype and indexing"
        )
    return array


def _is_array(given: Any) -> bool:
    return hasattr(given, "shape") and hasattr(given, "dtype")


def _unwrapped(array: Any) -> Any:
    """Return the zarr array behind a view of all of it.

    The array is read faster than the view, and levels can be added beside it.
    """
    if isinstance(array, LazyArray) and array.shows_all and stored_array(array.source) is not None:
        return array.source
    return with_regular_chunks(array)


def _usable(scale: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return scale if scale is not None and all(math.isfinite(s) and s != 0 for s in scale) else None


def _is_portable(array: Any) -> bool:
    """Return whether pickling an array sends no pixels, only where they are."""
    stored = stored_array(array)
    if stored is None or isinstance(inner_store(stored.store), MemoryStore):
        return False
    try:
        pickle.dumps(array)
    except Exception:  # a store of another package may raise anything
        return False
    return True


def images_at(place: Place) -> tuple[Image, ...]:
    """Return the images at a place, opened for reading."""
    from napari_pyramid.layouts import open_images

    if isinstance(place, Path):
        return open_images(place)
    if place.objects.options is None:
        return open_images(place.store_path)
    return open_images(str(place), storage_options=place.objects.options)


# ---- order of axes -------------------------------------------------------------------------------


def reordered(source: BuildSource, options: dict[str, Any]) -> tuple[BuildSource, dict[str, Any]]:
    """Return source and options with the axes in OME-Zarr's order.

    An RGB image (y, x, c) becomes (c, y, x).
    """
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
    # Factors have one entry per axis, or one tuple per step.
    if "factors" not in moved and isinstance(steps := options.get("factors"), list | tuple):
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
