"""Read OME-Zarr 0.1 to 0.6 by structure, not version: images with labels, label groups, scenes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.layouts.ome_zarr_document import (
    Document,
    find_document,
    is_ome,
)
from napari_pyramid.layouts.ome_zarr_labels import (
    as_labels,
    is_label_group,
    label_entries,
    read_labels,
)
from napari_pyramid.layouts.ome_zarr_multiscales import (
    multiscale_names,
    read_multiscale,
    read_multiscales,
)
from napari_pyramid.layouts.ome_zarr_scene import own_systems, placed_in, read_scene, scene_entries
from napari_pyramid.storage import stores
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "entries", "read"]

NAME = "OME-Zarr"


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of a group: an image with its labels, a scene, or a "labels" group."""
    document = find_document(node)
    if document is None:
        return None
    if isinstance(document.content.get("scene"), Mapping):
        return read_scene(node, document, read) or None
    if "multiscales" in document.content:
        return _read_image(node, document) if is_ome(node, document) else None
    if "labels" in document.content:
        return read_labels(node, document.version or "") or None
    return None


def entries(node: Node) -> Iterator[Entry] | None:
    """Return the multiscales and labels of an image, or the images of a scene, not opened.

    None for any other node.
    """
    document = find_document(node)
    if document is None:
        return None
    if isinstance(document.content.get("scene"), Mapping):
        return iter(scene_entries(node, document, read))
    if "multiscales" in document.content:
        return _image_entries(node, document) if is_ome(node, document) else None
    if "labels" in document.content:
        return label_entries(node, document.version or "")
    return None


def _image_entries(node: Node, document: Document) -> Iterator[Entry]:
    is_labels = is_label_group(node) or _is_in_labels(node)
    for number, name in enumerate(multiscale_names(node, document)):
        yield Entry(
            name if not number else f"{name} ({_ordinal(number + 1)} multiscale)",
            node.path,
            _reader_of(node, document, number, is_labels),
            "labels" if is_labels else "image",
            systems=own_systems(node, document) if not number else (),
            is_alternative=number > 0,
        )
    group = node.child("labels") if not is_labels else None
    if group is not None and group.kind == "group":
        yield from label_entries(
            group, document.version or "", lambda: _reader_of(node, document, 0, False)(None)[0]
        )


def _reader_of(
    node: Node, document: Document, number: int, is_labels: bool
) -> Callable[[str | None], Sequence[Image]]:
    def read_one(system: str | None) -> Sequence[Image]:
        image = read_multiscale(node, document, number, document.version or "")
        if image is None:
            raise LayoutError(f"{node.location}: no level of the image can be read")
        if is_labels:
            image = as_labels(image, node, document)
        return [image if system is None else placed_in(image, node, system)]

    return read_one


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 // 10 != 1 else "th"
    return f"{number}{suffix}"


def _read_image(node: Node, document: Document) -> list[Image] | None:
    images = read_multiscales(node, document, document.version or "")
    if not images:
        return None
    if is_label_group(node) or _is_in_labels(node):
        return [as_labels(image, node, document) for image in images]
    group = node.child("labels")
    if group is None or group.kind == "array":
        return images
    return [*images, *read_labels(group, document.version or "", images[0])]


def _is_in_labels(node: Node) -> bool:
    """Return whether the group is in a group named "labels".

    spatialdata keeps its labels in such a group, with or without "image-label".
    """
    above = node.path.rpartition("/")[0]
    if above:
        return above.rpartition("/")[2] == "labels"
    return _name_above(node) == "labels" and _is_group_above(node)


def _name_above(node: Node) -> str:
    """Return the name of the folder that holds a root or a child of a root.

    Links and relative parts of the opened path are resolved.
    """
    opened = node.opened if stores.is_url(node.opened) else os.path.realpath(node.opened)
    parts = re.split(r"[/\\]", opened)
    return parts[-1 if node.path else -2] if len(parts) > 1 else ""


def _is_group_above(node: Node) -> bool:
    """Return whether the folder that holds a root or a child of a root is a zarr group.

    A plain folder with the name "labels" may hold anything.
    """
    try:
        root = stores.open_above(node)
    except LayoutError:
        return False
    return root.kind == "group" and not root.is_implicit
