"""Read label images of OME-Zarr: the group "labels", and the metadata of "image-label"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_pyramid.arrays.virtual import Squeeze
from napari_pyramid.axes import Axis
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.layouts.ome_zarr_document import Document, find_document
from napari_pyramid.layouts.ome_zarr_multiscales import read_multiscales
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node, prefetch_nodes
from napari_pyramid.storage.paths import as_path

__all__ = [
    "as_labels",
    "is_label_group",
    "label_entries",
    "read_labels",
    "warn_of_labels_left_out",
]

_Color = tuple[int, int, int, int]
_ASKED = 100
"""Limit of the images whose labels are only listed in warnings: each costs a few requests."""


def read_labels(group: Node, ome_version: str | None, image: Image | None = None) -> list[Image]:
    """Return the label images of a group "labels": first the listed ones, then all others.

    Parameters
    ----------
    group
        The group "labels".
    ome_version
        Version of OME-Zarr of the image; see `Image.ome_version`.
    image
        Image of the labels. Label images without units get the units of the image, since napari
        shows no scale bar for layers with different units.
    """
    found: list[Image] = []
    seen = group.folders_above()
    listed = _listed(group)
    levels = [] if image is None else [v.path[len(image.path) :] for v in image.levels]
    # Most label images have the levels of their image: asking for both saves a round trip to
    # another host.
    likely = [f"{name}/{level.lstrip('/')}" for name in listed for level in levels]
    group.prefetch(nodes=listed, arrays=likely, names=True)
    for path in listed:
        node = _labels_node(group, path)
        if (
            node is not None
            and node.folder not in seen
            and (labels := _read_label_image(node, ome_version)) is not None
        ):
            seen.add(node.folder)
            found.append(labels)
    # In 0.1 "labels" may hold unlisted groups; a group counts as label image if it has
    # "image-label".
    for node in group.children():
        if (
            node.folder not in seen
            and is_label_group(node)
            and (labels := _read_label_image(node, ome_version)) is not None
        ):
            seen.add(node.folder)
            found.append(labels)
    return [_with_units_of(image, labels) if image is not None else labels for labels in found]


def label_entries(
    group: Node, ome_version: str | None, image: Callable[[], Image] | None = None
) -> Iterator[Entry]:
    """Yield the label images that a group "labels" lists, without opening them.

    Parameters
    ----------
    image
        Opens the image of the labels; see `read_labels`.
    """

    def reader(node: Node) -> Callable[[str | None], Sequence[Image]]:
        def read_one(system: str | None) -> Sequence[Image]:
            labels = _read_label_image(node, ome_version)
            if labels is None:
                raise LayoutError(f"{node.location}: there is no label image that can be read")
            return [_with_units_of(image(), labels) if image is not None else labels]

        return read_one

    seen = group.folders_above()
    for path in _listed(group):
        node = _labels_node(group, path)
        if node is not None and node.folder not in seen:
            seen.add(node.folder)
            yield Entry(node.name, node.path, reader(node), "labels")


def warn_of_labels_left_out(first: Node, others: Sequence[Node]) -> None:
    """Warn of labels that other fields list, but not the first one, whose labels are shown."""
    prefetch_nodes([(node, "labels", None) for node in others[:_ASKED]])
    shown = _label_names(first)
    found = {
        name: node
        for node in reversed(others[:_ASKED])
        for name in _label_names(node)
        if name not in shown
    }
    for name, node in sorted(found.items()):
        warn(
            f"{node.location}/labels: {brief(name)} is left out: {first.location}, "
            "the first field, has no such labels"
        )


def _label_names(image: Node) -> list[str]:
    group = image.child("labels")
    return [name for name in _listed(group) if isinstance(name, str)] if group is not None else []


def is_label_group(node: Node) -> bool:
    """Return whether a group has the metadata of a label image."""
    document = find_document(node)
    return document is not None and "image-label" in document.content


def as_labels(image: Image, node: Node, document: Document) -> Image:
    """Return the image as labels with colours and properties.

    An image of floats stays an image, with a warning.
    """
    dtype = image.levels[0].array.dtype
    if dtype.kind not in "iub":
        warn(f"{node.location}: labels must be integers, these are {dtype}: shown as an image")
        return image
    description = document.content.get("image-label")
    where = f"{node.location}/{document.where}.image-label"
    if description is not None and not isinstance(description, Mapping):
        warn(f"{where} is {brief(description)}, expected an object; ignored")
        description = None
    return replace(
        _squeezed(image),
        kind="labels",
        rgb=False,
        channels=(),
        label_colors=_colors((description or {}).get("colors"), f"{where}.colors"),
        label_properties=_properties((description or {}).get("properties"), f"{where}.properties"),
    )


def _listed(group: Node) -> list[object]:
    document = find_document(group)
    listed = document.content.get("labels") if document is not None else None
    if document is not None and not isinstance(listed, list | None):
        warn(
            f"{group.location}/{document.where}: labels is {brief(listed)}, expected a list; "
            "ignored"
        )
    return listed if isinstance(listed, list) else []


def _labels_node(group: Node, path: object) -> Node | None:
    try:
        node = group.child(as_path(path))
    except LayoutError as error:
        warn(f"{group.location}: labels lists {brief(path)}: {error}")
        return None
    if node is None:
        warn(f"{group.location}: labels lists {brief(path)}, but nothing readable is there")
    elif node.folder in group.folders_above():
        warn(f"{group.location}: labels lists {brief(path)}, a link to a folder above; left out")
        return None
    return node


def _read_label_image(node: Node, ome_version: str | None) -> Image | None:
    document = find_document(node)
    if document is None or not (images := read_multiscales(node, document, ome_version)):
        warn(f"{node.location}: no label image is there; left out")
        return None
    return replace(as_labels(images[0], node, document), name=node.name)


def _squeezed(image: Image) -> Image:
    """Return labels without a channel axis of length 1, as 0.1 and 0.2 have.

    The layers of the image have no such axis.
    """
    axis = image.channel_axis
    if axis is None or image.axes is None or image.levels[0].array.shape[axis] != 1:
        return image
    levels = tuple(
        StoredLevel(
            level.path,
            Squeeze(level.array, axis),
            _without(level.scale, axis),
            _without(level.translation, axis),
        )
        for level in image.levels
    )
    return replace(image, levels=levels, axes=image.axes[:axis] + image.axes[axis + 1 :])


def _without(values: tuple[float, ...] | None, axis: int) -> tuple[float, ...] | None:
    return None if values is None else values[:axis] + values[axis + 1 :]


def _with_units_of(image: Image, labels: Image) -> Image:
    units = {axis.name: axis.unit for axis in image.axes or ()}
    if labels.axes is None or any(axis.unit for axis in labels.axes):
        return labels
    return replace(labels, axes=tuple(Axis(a.name, a.type, units.get(a.name)) for a in labels.axes))


def _colors(listed: object, where: str) -> dict[int, _Color]:
    colors = {}
    for row in _rows(listed, where):
        value, rgba = _label_value(row), row.get("rgba")
        if rgba is None:
            continue  # legal: a value without colour
        if (
            value is None
            or not isinstance(rgba, list)
            or len(rgba) not in (3, 4)
            or not all(_is_byte(x) for x in rgba)
        ):
            warn(f"{where}: {brief(row.get('label-value'))} with rgba {rgba!r:.60} is ignored")
            continue
        colors[value] = (rgba[0], rgba[1], rgba[2], rgba[3] if len(rgba) == 4 else 255)
    return colors


def _properties(listed: object, where: str) -> tuple[Mapping[str, Any], ...]:
    rows = []
    for row in _rows(listed, where):
        value = _label_value(row)
        if value is None:
            warn(f"{where}: label-value {brief(row.get('label-value'))} is not an integer; ignored")
        else:
            rows.append({**row, "label-value": value})
    return tuple(rows)


def _rows(listed: object, where: str) -> list[Mapping[str, Any]]:
    if listed is None:
        return []
    rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    if not isinstance(listed, list) or len(rows) < len(listed):
        warn(f"{where} is not a list of objects; other entries are ignored")
    return rows


def _label_value(row: Mapping[str, Any]) -> int | None:
    """Return the value of a label, or None; whole floats count, as yaozarrs writes 1.0."""
    value = row.get("label-value")
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != value
        or abs(value) > 2**64
    ):
        return None
    return int(value) if value == int(value) else None


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
