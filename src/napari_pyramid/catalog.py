"""List the images of a store without opening them: `open_catalog`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from napari_pyramid.image import Image
from napari_pyramid.layouts import bdv, collection, hcs, images_of, list_node, open_source
from napari_pyramid.layouts.entry import Entry, Plate, entry_of
from napari_pyramid.layouts.ome_zarr_document import find_document
from napari_pyramid.storage.address import is_remote, local_path, public_url
from napari_pyramid.storage.node import Node

__all__ = ["Catalog", "open_catalog"]

_MANY_NAMES = 16
"""With more names than this in a folder, its first ones decide whether it is a collection."""
_FEW_LOOKS = 3
_ALTERNATIVES = 64
"""Number of single timepoints and the like after which no further image is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """The images of one opened store, listed one after the other."""

    source: str
    """Path or URL, without secrets."""
    entries: Iterator[Entry]
    """Entries in the order of the store, each listed when it is reached.

    One iterator: what has been taken from it is not repeated.
    """
    images: Callable[[], Sequence[Image]]
    """Open all images and labels of the store, as `open_images` does."""
    plate: Plate | None = None

    @property
    def name(self) -> str:
        """Name of the plate, or the last part of the path."""
        if self.plate is not None:
            return self.plate.name
        return self.source.replace("\\", "/").rstrip("/").rpartition("/")[2] or self.source

    def look_ahead(self, most: int) -> tuple[Catalog, bool]:
        """Return an equal catalog, and whether it has more than `most` images.

        Alternatives (single timepoints, further multiscales) do not count.
        """
        taken: list[Entry] = []
        n_images = n_alternatives = 0
        for entry in self.entries:
            taken.append(entry)
            n_images += not entry.is_alternative
            n_alternatives += entry.is_alternative
            if n_images > most or n_alternatives > _ALTERNATIVES:
                break
        return replace(self, entries=_chained(taken, self.entries)), n_images > most


def open_catalog(
    path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Catalog:
    """Return the catalog of a store; no image is opened, unless its layout cannot list images.

    Parameters
    ----------
    path, storage_options
        As in `open_images`.

    Raises
    ------
    LayoutError
        If nothing is at `path`, or the metadata of its root cannot be read. A store without any
        image gives an empty catalog.
    """
    path = local_path(os.fspath(path))
    source = public_url(path)
    if not is_remote(path) and (listed := bdv.list_path(path)) is not None:
        return Catalog(source, listed, lambda: _opened(path, storage_options))
    opened = open_source(path, storage_options)
    if not isinstance(opened, Node):
        return Catalog(source, map(entry_of, opened), lambda: opened)
    root = opened
    return Catalog(source, _entries(root), lambda: images_of(root), hcs.read_plate(root))


def _opened(path: str, storage_options: Mapping[str, Any] | None) -> Sequence[Image]:
    opened = open_source(path, storage_options)
    return images_of(opened) if isinstance(opened, Node) else opened


def _entries(root: Node) -> Iterator[Entry]:
    found = None if _is_collection(root) else list_node(root)
    if found is not None:
        yield from found
        return
    for node, entries in collection.list_below(root, _listed):
        for entry in entries:
            yield replace(entry, name=_full_name(node, entry))


def _listed(node: Node) -> Sequence[Entry] | None:
    found = list_node(node)
    return None if found is None else list(found)


def _full_name(node: Node, entry: Entry) -> str:
    """Return the path of an image in a collection, where names repeat, and its own name."""
    path = node.path or entry.name
    is_repeated = entry.name in (path, path.rpartition("/")[2], "")
    return path if is_repeated else f"{path}: {entry.name}"


def _is_collection(root: Node) -> bool:
    """Return whether the first of many children are images of OME-Zarr.

    Layouts compare the metadata of all children, which takes long where there are thousands.
    """
    if len(root.candidate_names) <= _MANY_NAMES or find_document(root) is not None:
        return False
    first = list(islice(root.below(), _FEW_LOOKS))
    return bool(first) and all(find_document(node) is not None for node in first)


def _chained(taken: Sequence[Entry], rest: Iterator[Entry]) -> Iterator[Entry]:
    yield from taken
    yield from rest
