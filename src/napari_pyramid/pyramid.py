"""Open an image and its levels, largest first, in any layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.axes import Axis, default_axes
from napari_pyramid.image import ArrayLike, Channel, Image, pick_image
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.store_objects import place_of

__all__ = ["Pyramid", "open_pyramid", "open_pyramids"]


@dataclass(frozen=True, slots=True)
class Pyramid:
    """A multiscale image; ``len(pyramid)`` and ``pyramid[k]`` are its levels, largest first."""

    image: Image
    store_images: tuple[Image, ...] = field(default=(), repr=False, compare=False)
    """All images of the store that the image was opened from, including the image."""

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.image.name

    @property
    def kind(self) -> str:
        """``"image"`` or ``"labels"``."""
        return self.image.kind

    @property
    def levels(self) -> tuple[ArrayLike, ...]:
        """The arrays: zarr arrays, or virtual ones made of several."""
        return tuple(level.array for level in self.image.levels)

    @property
    def lazy_levels(self) -> list[LazyArray]:
        """Views for a viewer: slicing gives a view, and `numpy.asarray` reads its chunks."""
        return [LazyArray(level) for level in self.levels]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the store, or `default_axes` if it has no names; `rgb` becomes a channel axis."""
        if self.image.axes is None and self.image.rgb:
            return (*default_axes(self.levels[0].ndim - 1), Axis.named("c"))
        return self.image.axes or default_axes(self.levels[0].ndim)

    @property
    def scale(self) -> tuple[float, ...]:
        """Distance between the samples of level 0, in units of the axes; 1 where unknown."""
        return self.image.levels[0].scale or (1.0,) * self.levels[0].ndim

    @property
    def translation(self) -> tuple[float, ...]:
        """Position of the first sample of level 0, in units of the axes; 0 where unknown."""
        return self.image.levels[0].translation or (0.0,) * self.levels[0].ndim

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the image; empty if the store describes none."""
        return self.image.channels

    def __len__(self) -> int:
        return len(self.image.levels)

    def __getitem__(self, k: int) -> ArrayLike:
        return self.image.levels[k].array

    def __iter__(self) -> Iterator[ArrayLike]:
        return iter(self.levels)

    def __repr__(self) -> str:
        shapes = ", ".join(" x ".join(map(str, level.shape)) for level in self.levels)
        return f"<Pyramid {self.name!r} {self.levels[0].dtype} {shapes}>"


def open_pyramids(
    path: str | os.PathLike[str] | object, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[Pyramid, ...]:
    """Return all images and label images of a store, in any known layout; no pixels are read.

    Parameters
    ----------
    path
        A directory, a file or a URL; or an opened store: a zarr Group, Array or Store, or an
        icechunk session.
    storage_options
        Credentials and other settings for a URL; see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing is there, or no layout recognises it.
    """
    images = open_images(path, storage_options=storage_options)
    return tuple(Pyramid(image, images) for image in images)


def open_pyramid(
    path: str | os.PathLike[str] | object,
    name: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Pyramid:
    """Return the first image of a store, or the image called `name` (or at that path in it).

    `path` and `storage_options` are described in `open_pyramids`.

    Raises
    ------
    LayoutError
        If nothing is there, no layout recognises it, or it has no image of that name.
    """
    images = open_images(path, storage_options=storage_options)
    return Pyramid(pick_image(images, name, place_of(path)))
