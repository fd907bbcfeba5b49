"""Describe an image that a store lists, with the function that opens it: `Entry`, `Plate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from napari_pyramid.image import Image

__all__ = ["Entry", "EntryKind", "Plate", "entry_of"]

EntryKind = Literal["image", "labels", "well"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One image, label image, series, well, field or timepoint of a store, not opened yet."""

    name: str
    path: str
    """Path inside the opened store."""
    read: Callable[[str | None], Sequence[Image]]
    """Open the entry; the argument names one of `systems`, None stands for the first of them."""
    kind: EntryKind = "image"
    systems: tuple[str, ...] = ()
    """Names of the coordinate systems that the entry can be placed in; the default is first."""
    is_alternative: bool = False
    """Whether the pixels belong to another entry, too: a single timepoint, another multiscale."""
    position: tuple[int, int] | None = None
    """Row and column of a well in the grid of its plate."""
    fields: Callable[[], Sequence[Entry]] | None = None
    """List the fields of a well; reads the metadata of the well."""


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """The grid of wells of a plate, as its metadata list it."""

    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: tuple[Entry, ...]
    """Wells with a position inside the grid."""
    stitch: Callable[[Sequence[Entry]], Sequence[Image]]
    """Open some of `wells` side by side as one image."""


def entry_of(image: Image) -> Entry:
    """Return the entry of an image that is open already.

    An image of which no channel is visible is an alternative, and is visible when it is chosen.
    """
    is_hidden = bool(image.channels) and not any(c.visible for c in image.channels)
    if is_hidden:
        visible = tuple(replace(c, visible=True) for c in image.channels)
        image = replace(image, channels=visible)
    return Entry(
        image.name, image.path, lambda system: (image,), image.kind, is_alternative=is_hidden
    )
