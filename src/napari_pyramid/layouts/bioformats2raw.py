"""Read bioformats2raw collections (layout 3): one group per image, ordered by the group "OME"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts import ome_zarr
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.layouts.ome_zarr_document import find_document
from napari_pyramid.layouts.ome_zarr_multiscales import multiscale_names
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.paths import UNSAFE_PATH, as_path

__all__ = ["NAME", "entries", "read"]

NAME = "bioformats2raw"
_XML = "OME/METADATA.ome.xml"
_MAX_SERIES = 1000
"""Limit of the groups 0, 1, ... that are tried on servers that do not list directories."""


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of the collection, each with its labels.

    The order is the order of "series", or of the numbers without "series".
    """
    document = find_document(node)
    if document is None or "bioformats2raw.layout" not in document.content:
        return None
    layout = document.content["bioformats2raw.layout"]
    if layout != 3:
        warn(
            f"{node.location}/{document.where}: bioformats2raw.layout is {brief(layout)}, "
            "known is 3; read as such"
        )
    metadata_group = node.child("OME")
    series = _series(node, metadata_group)
    names = _names_from_xml(node)
    images: list[Image] = []
    for number, image_node in series:
        found = ome_zarr.read(image_node) or ()
        if not found:
            warn(f"{image_node.location}: this series is listed, but has no image; left out")
        images += [_named(image, image_node, names[number : number + 1]) for image in found]
    return images or None


def entries(node: Node) -> Iterator[Entry] | None:
    """Return the series of the collection, or None for any other node.

    A series is loaded only for its name, if there is no OME-XML with names.
    """
    document = find_document(node)
    if document is None or "bioformats2raw.layout" not in document.content:
        return None
    metadata_group = node.child("OME")
    inner = find_document(metadata_group) if metadata_group is not None else None
    listed = inner.content.get("series") if inner is not None else None
    if isinstance(listed, list):
        paths = [str(path) for path in map(as_path, listed) if isinstance(path, str)]
        numbered = [(i, path) for i, path in enumerate(paths) if not UNSAFE_PATH.search(path)]
    else:
        numbered = [(number, child.name) for number, child in _series(node, metadata_group)]
    names = _names_from_xml(node)
    return (_entry(node, path, names[number : number + 1]) for number, path in numbered)


def _entry(node: Node, path: str, names: Sequence[str]) -> Entry:
    def read_series(system: str | None) -> Sequence[Image]:
        child = node.child(path)
        found = (ome_zarr.read(child) if child is not None else None) or ()
        if child is None or not found:
            raise LayoutError(f"{node.location}: there is no image at {brief(path)}")
        return [_named(image, child, names) for image in found]

    child = None if names and names[0] else node.child(path)
    document = find_document(child) if child is not None else None
    found = multiscale_names(child, document) if child is not None and document is not None else []
    own = found[0] if found and child is not None and found[0] != child.title else ""
    name = own or (names[0] if names else "") or f"series {path}"
    return Entry(name, f"{node.path}/{path}".strip("/"), read_series)


def _series(node: Node, metadata_group: Node | None) -> list[tuple[int, Node]]:
    """Return the groups of the images, each with the position of its name in the OME-XML."""
    document = find_document(metadata_group) if metadata_group is not None else None
    listed = document.content.get("series") if document is not None else None
    if not isinstance(listed, list):
        numbered = [
            child for child in node.children() if child.name.isdecimal() and child.kind == "group"
        ]
        return [(int(child.name), child) for child in numbered or _consecutive(node)]
    found: list[tuple[int, Node]] = []
    seen: set[str] = set()
    for number, path in enumerate(listed):
        try:
            child = node.child(as_path(path))
        except LayoutError as error:
            warn(f"{node.location}/OME: series: {error}")
            continue
        if child is None:
            warn(
                f"{node.location}/OME: series lists {brief(path)}, but nothing readable is there; "
                "left out"
            )
        elif child.folder not in seen:
            seen.add(child.folder)
            found.append((number, child))
    return found


def _consecutive(node: Node) -> Iterator[Node]:
    """Yield the groups 0, 1, ... up to the first number that is missing."""
    for number in range(_MAX_SERIES):
        child = node.child(str(number))
        if child is None or child.kind == "array":
            return
        yield child


def _names_from_xml(node: Node) -> list[str]:
    """Return the names of the images in the OME-XML, in file order; [] without OME-XML.

    The file is read even if "OME" is not a zarr group.
    """
    content = node.read_bytes(_XML)
    if not content:
        return []
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        warn(f"{node.location}/{_XML} cannot be read: {error}; ignored")
        return []
    return [
        element.get("Name", "")
        for element in root.iter()
        if element.tag.rpartition("}")[2] == "Image"
    ]


def _named(image: Image, node: Node, names: Sequence[str]) -> Image:
    """Return the image with its name from the OME-XML, unless its multiscales have a name."""
    has_own = image.name != node.title or image.kind == "labels"
    return image if has_own or not names or not names[0] else replace(image, name=names[0])
