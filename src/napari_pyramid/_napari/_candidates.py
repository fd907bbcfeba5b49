"""Find what can be built: a layer, layers as channels, an image at a path, a folder of images.

Opens files, and so runs in a worker thread. Imports no Qt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_pyramid._napari.reader import get_reader
from napari_pyramid.build.source import BuildSource
from napari_pyramid.build.source_places import directory_of, place_read
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layer_image import (
    LayerImage,
    LayerTuple,
    image_of_channels,
    image_of_layer,
    image_of_stored,
)
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.address import public_url
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.remote_store import RemoteStore

__all__ = [
    "Candidate",
    "candidate_at",
    "candidate_of_channels",
    "candidate_of_layer",
    "candidates_in",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that a pyramid can be built of."""

    image: LayerImage
    """The image as the engine is given it, level 0 and any coarser levels that exist."""
    path: str | None = None
    """Path or URL that the image comes from, to suggest a destination beside it."""
    source: BuildSource | None = None
    """The opened image at `path`, if a path was chosen; a layer has none."""

    name_in_folder: str = ""
    """Name that tells the image from others in its folder; empty for the name of the image."""

    @property
    def title(self) -> str:
        """Name for users, and of a new store."""
        return self.name_in_folder or self.image.name

    @property
    def data(self) -> Any:
        """Level 0 for the engine, with the facts that are known of its file."""
        return self.image.levels[0] if self.source is None else self.source

    @property
    def place(self) -> dict[str, Any] | None:
        """Where a later session finds the image again, as JSON values; None if it cannot.

        Addresses are without secrets: a signature in a URL is not kept.
        """
        if self.source is not None and self.source.image is not None:
            if self.path is None:
                return None
            image = self.source.image
            path = public_url(self.path) if "://" in self.path else os.path.abspath(self.path)
            return {"path": path, "image": image.path or image.name}
        level = self.image.levels[0]
        if (array := directory_of(level)) is not None:
            return {"array": os.path.abspath(array)}
        there = place_read(level)
        if isinstance(there, Folder) and isinstance(there.objects.store, RemoteStore):
            return {"array": str(there)}
        return None

    def is_same(self, other: Candidate) -> bool:
        """Return whether a build of `other` would be the same build."""
        ours, theirs = self.image.levels, other.image.levels
        return (
            len(ours) == len(theirs)
            and all(a is b for a, b in zip(ours, theirs, strict=True))
            and replace(self.image, levels=()) == replace(other.image, levels=())
        )


def candidate_of_layer(layer: LayerTuple, path: str | None) -> Candidate:
    """Return the image that a layer shows.

    Parameters
    ----------
    path
        File that the layer was read from, if that is known.

    Raises
    ------
    SpecError
        If axes or units do not fit, or the features of labels cannot be stored.
    """
    return Candidate(image_of_layer(layer), path)


def candidate_of_channels(layers: Sequence[LayerTuple], path: str | None) -> Candidate:
    """Return layers as the channels of one image.

    Raises
    ------
    SpecError
        If the layers do not fit each other.
    """
    return Candidate(image_of_channels(layers), path)


def candidate_at(image: Image, path: str) -> Candidate:
    """Return an image that was opened at a path or URL.

    An image that is called by a number, as arrays in zarr are, is named after its store.
    """
    layer_image = image_of_stored(image)
    if not layer_image.name or layer_image.name.isdecimal():
        layer_image = replace(layer_image, name=_stem(path))
    return Candidate(layer_image, path, BuildSource.of_image(image, path))


def candidates_in(folder: str) -> tuple[list[Candidate], list[str]]:
    """Return the images in a folder that lack coarser levels, and sentences on what is left out.

    Looks at the direct entries of the folder; subfolders that are not stores are not searched.

    Raises
    ------
    LayoutError
        If nothing in the folder can be built.
    """
    place = Path(folder)
    if not place.is_dir():
        raise LayoutError(f"{folder} is not a folder: choose a folder of images")
    found: list[Candidate] = []
    results: set[str] = set()
    complete = built = 0
    unreadable: list[str] = []
    for entry in sorted(place.iterdir()):
        if entry.name.startswith(".") or get_reader(str(entry)) is None:
            continue
        try:
            images = open_images(str(entry))
        except LayoutError:
            unreadable.append(entry.name)
            continue
        single = [image for image in images if len(image.levels) == 1]
        complete += len(images) - len(single)
        for image in single:
            name = _stem(str(entry)) + (f"_{image.name}" if len(images) > 1 else "")
            pyramid = place / f"{name}.ome.zarr"
            if pyramid != entry and pyramid.exists():
                built += 1
                results.add(str(pyramid))
                continue
            found.append(replace(candidate_at(image, str(entry)), name_in_folder=name))
    found = [c for c in found if c.path not in results]  # small images: pyramids of one level
    notes = []
    if complete:
        notes.append(f"{complete} left out: {_they(complete)} coarser levels already")
    if built:
        notes.append(f"{built} left out: built already, beside the image")
    if unreadable:
        others = ", …" if len(unreadable) > 1 else ""
        notes.append(f"{len(unreadable)} left out: not readable ({unreadable[0]}{others})")
    if not found:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise LayoutError(f"{folder} holds no image that needs a pyramid{why}")
    return found, notes


def _stem(path: str) -> str:
    """Return the last part of a path or URL without its suffixes."""
    name = path.partition("?")[0].rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return name.removesuffix(".zarr").removesuffix(".ome").partition(".")[0] or name


def _they(n: int) -> str:
    return "it has" if n == 1 else "they have"
