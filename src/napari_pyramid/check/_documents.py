"""Check the metadata beside the levels: consolidated copies, omero, labels and axes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from napari_pyramid.check._finding import Finding
from napari_pyramid.check._geometry import check_geometry
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.storage.json_values import is_number, objects
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.ome_keys import ome_part

__all__ = [
    "check_consolidated",
    "check_documents",
    "check_labels",
    "groups_above",
    "has_sound_base",
    "is_repairable",
    "listed_node",
    "omero_problems",
]

_TYPE_ORDER = {"time": 0, "channel": 1, "space": 3}


def is_repairable(image: Image) -> bool:
    """Return whether `repair_store` can write the image's document: OME-Zarr 0.4 and 0.5."""
    return (image.ome_version or "").startswith(("0.4", "0.5"))


def has_sound_base(ome: Mapping[str, Any], image: Image) -> bool:
    """Return whether the scales of all levels can be derived from level 0.

    They can if level 0 has a scale, or if no level has one: then the scale of level 0 is 1.
    """
    name = image.levels[0].path.removeprefix(f"{image.path}/")
    for entry in objects(ome.get("multiscales")):
        for dataset in objects(entry.get("datasets")):
            if dataset.get("path") == name:
                scales = [
                    t.get("scale")
                    for t in objects(dataset.get("coordinateTransformations"))
                    if t.get("type") == "scale"
                ]
                is_stated = bool(scales) or not any(level.scale for level in image.levels)
                return is_stated and all(
                    _is_scale(scale, image.levels[0].array.ndim) for scale in scales
                )
    return False


def _is_scale(scale: object, ndim: int) -> bool:
    return (
        isinstance(scale, list)
        and len(scale) == ndim
        and all(is_number(s) and s != 0 for s in scale)
    )


def check_consolidated(group: Node, levels: Iterable[str]) -> Iterator[Finding]:
    """Yield a fault for each consolidated copy that differs from the node's own file.

    zarr-python trusts the copy.
    """
    entries = _consolidated_entries(group)
    for key in consolidated_keys(group, levels):
        own = read_json(group, key)
        if key not in entries:
            problem = f"do not list {key}, which is there" if own is not None else ""
        elif own is None:
            problem = f"list {key}, which is not there"
        else:
            problem = (
                f"differ from {key}"
                if _without_copies(own) != _without_copies(entries[key])
                else ""
            )
        if problem:
            yield Finding(group.path, "consolidated metadata", problem, is_repairable=True)


def consolidated_keys(group: Node, levels: Iterable[str]) -> list[str]:
    """Return the files that the consolidated metadata of a group copy, or should copy.

    The metadata of the levels should be copied. Empty for a group without consolidated metadata.
    """
    entries = _consolidated_entries(group)
    prefix = f"{group.path}/" if group.path else ""
    inside = sorted(
        level.removeprefix(prefix)
        for level in levels
        if entries and level and level.startswith(prefix)
    )
    files = ("zarr.json",) if group.zarr_format == 3 else (".zarray", ".zattrs")
    return list(
        dict.fromkeys([*entries, *(f"{level}/{file}" for level in inside for file in files)])
    )


def _consolidated_entries(root: Node) -> dict[str, Any]:
    """Return the copies of files in consolidated metadata, of either zarr format, by key."""
    if root.zarr_format == 3:
        inside = root.metadata.get("consolidated_metadata")
        copies = inside.get("metadata") if isinstance(inside, dict) else None
        return (
            {f"{path}/zarr.json": copy for path, copy in copies.items()}
            if isinstance(copies, dict)
            else {}
        )
    document = read_json(root, ".zmetadata")
    copies = document.get("metadata") if isinstance(document, dict) else None
    return dict(copies) if isinstance(copies, dict) else {}


def groups_above(images: Iterable[Image]) -> list[str]:
    """Return the paths of the images and of all groups above them; ``""`` is the root.

    Each of them may have consolidated metadata.
    """
    parts = (image.path.split("/") if image.path else [] for image in images)
    return sorted({"/".join(part[:n]) for part in parts for n in range(len(part) + 1)} | {""})


def check_documents(root: Node, image: Image) -> Iterator[Finding]:
    """Yield faults in the metadata of an image's group: levels, axes, channels and labels."""
    node = root.child(image.path) if image.path else root
    if node is None or node.kind != "group":
        yield from check_geometry(image, repairable=False)
        return
    ome = ome_part(node.attributes)
    yield from check_geometry(image, repairable=is_repairable(image) and has_sound_base(ome, image))
    if image.ome_version is not None and image.axes is not None:
        yield from _check_axes(image)
    if isinstance(omero := ome.get("omero"), dict):
        n_channels = (
            1 if image.channel_axis is None else image.levels[0].array.shape[image.channel_axis]
        )
        for key, message in omero_problems(omero, n_channels):
            yield Finding(image.path, key, message, is_repairable=is_repairable(image))
    yield from check_labels(node)


def omero_problems(omero: Mapping[str, Any], n_channels: int) -> Iterator[tuple[str, str]]:
    """Yield the key and a message for each value in omero that a viewer cannot use."""
    channels = omero.get("channels")
    if not isinstance(channels, list):
        yield "omero.channels", "is not a list"
        return
    if len(channels) != n_channels:
        yield "omero.channels", f"has {len(channels)} entries, the image {n_channels} channels"
    for i, channel in enumerate(channels):
        key = f"omero.channels[{i}]"
        if not isinstance(channel, dict):
            yield key, "is not an object"
            continue
        color = channel.get("color")
        if color is not None and not (
            isinstance(color, str) and re.fullmatch(r"#?[0-9A-Fa-f]{6}", color)
        ):
            yield f"{key}.color", f"{color!r} is not a colour: expected six hexadecimal digits"
        window = channel.get("window")
        if window is not None and not _is_window(window):
            yield f"{key}.window", "start and end must be numbers, start below end"


def _is_window(window: object) -> bool:
    if not isinstance(window, dict):
        return False
    start, end = window.get("start"), window.get("end")
    return isinstance(start, int | float) and isinstance(end, int | float) and start < end


def _check_axes(image: Image) -> Iterator[Finding]:
    """Yield faults in the order of the axes: time, then channel or others, then space.

    Source: OME-Zarr 0.4, "axes" metadata.
    """
    order = [_TYPE_ORDER.get(axis.type or "", 2) for axis in image.axes or ()]
    if order != sorted(order) and not (image.ome_version or "").startswith("0.6"):
        names = ", ".join(axis.name for axis in image.axes or ())
        yield Finding(
            image.path,
            "multiscales.axes",
            f"{names} are out of order: time comes first, then channel, then space",
        )


def check_labels(node: Node) -> Iterator[Finding]:
    """Yield the labels that are listed and absent, and those that exist and are not listed.

    Viewers show listed labels only.
    """
    group = node.child("labels") if node.attributes else None
    if group is None or group.kind != "group":
        return
    listed = ome_part(group.attributes).get("labels")
    where = group.path
    if not isinstance(listed, list):
        if listed is not None or group.child_names():
            yield Finding(where, "labels", "is missing or no list", is_repairable=True)
        return
    names = group.child_names()
    for name in listed:
        if listed_node(group, name) is None:
            yield Finding(
                where, "labels", f"lists {name!r}, which is not there", is_repairable=True
            )
    for name in names:
        child = group.child(name)
        if (
            child is not None
            and child.kind == "group"
            and name not in listed
            and "multiscales" in ome_part(child.attributes)
        ):
            yield Finding(
                where, "labels", f"does not list {name!r}, which is there", is_repairable=True
            )


def listed_node(group: Node, path: object) -> Node | None:
    """Return the node at a listed path, or None.

    The path may lead through directories without metadata.
    """
    try:
        return group.child(path)
    except LayoutError:
        return None


def read_json(group: Node, key: str) -> Any:
    """Return a JSON document below a group, or None if it is missing or not JSON."""
    try:
        return json.loads(group.read_bytes(key) or b"null")
    except (ValueError, RecursionError):
        return None


def _without_copies(document: Any) -> Any:
    """Return a document without the empty consolidated copies that copies may hold."""
    if not isinstance(document, dict):
        return document
    return {
        key: value
        for key, value in document.items()
        if key not in ("consolidated_metadata", "attributes") or (key == "attributes" and value)
    }
