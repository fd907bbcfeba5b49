"""Read the "multiscale" attribute of zarr-specs issue 50 (d-v-b): a transform for each level.

``{"scale": {"X": 2, "Y": 2, "Z": 1}, "offset": {...}, "units": {...}}``; X is the last axis of the
array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_pyramid.axes import Axis
from napari_pyramid.image import Image
from napari_pyramid.layouts._candidates import (
    axes_named,
    checked_levels,
    find,
    image_name,
    numbers,
    texts,
)
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "zarr-specs issue 50, multiscale"
_ORDER = "tczyx"


def read(node: Node) -> Sequence[Image] | None:
    """Return the image of a group whose "multiscale" has "datasets".

    "datasets" is an object or, as in the issue, a list of objects with one key.
    """
    described = node.attributes.get("multiscale")
    if not isinstance(described, dict) or node.kind != "group":
        return None
    entries = _entries(described.get("datasets"))
    if not entries:
        warn(f"{node.location}: multiscale has no datasets; ignored")
        return None
    arrays = [(find(node, path, "multiscale"), transform) for path, transform in entries]
    present = [
        (array, transform or array.attributes.get("transform"))
        for array, transform in arrays
        if array is not None
    ]
    levels = checked_levels(
        node, [_entry(array, transform) for array, transform in present], "multiscale"
    )
    if not levels:
        return None
    first, transform = next((a, t) for a, t in present if a.path == levels[0].path)
    return (Image(image_name(node), levels, NAME, node.path, axes=_axes(first, transform)),)


def _entries(datasets: Any) -> list[tuple[Any, Any]]:
    """Return path and transform of every level."""
    if isinstance(datasets, dict):
        return list(datasets.items())
    if not isinstance(datasets, list):
        return []
    return [pair for entry in datasets if isinstance(entry, dict) for pair in _pairs(entry)]


def _pairs(entry: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(entry["path"], entry.get("transform"))] if "path" in entry else list(entry.items())


def _names(transform: Any, array: Node) -> list[str] | None:
    """Return the axis names in array order: the array's, or the transform's as t, c, z, y, x.

    None if neither fits the array.
    """
    scale = transform.get("scale") if isinstance(transform, dict) else None
    if not isinstance(scale, dict) or len(scale) != array.ndim:
        return None
    if array.dimension_names is not None and set(array.dimension_names) == set(scale):
        return list(array.dimension_names)
    names = [str(name) for name in scale]
    if any(name.lower() not in _ORDER or len(name) != 1 for name in names):
        return None
    return sorted(names, key=lambda name: _ORDER.index(name.lower()))


def _entry(array: Node, transform: Any) -> LevelEntry:
    names = _names(transform, array)
    if names is None:
        if transform is not None:
            warn(
                f"{array.location}: transform has no scale for each of the {array.ndim} axes; "
                "ignored"
            )
        return LevelEntry(array)
    scale = numbers(
        _values(transform, "scale", names), array.ndim, f"{array.location}: scale", default=1
    )
    offset = numbers(
        _values(transform, "offset", names), array.ndim, f"{array.location}: offset", default=0
    )
    return LevelEntry(array, scale, offset)


def _axes(array: Node, transform: Any) -> tuple[Axis, ...] | None:
    names = _names(transform, array)
    return axes_named(
        names, names and texts(_values(transform, "units", names), array.ndim), array.ndim
    )


def _values(transform: Any, key: str, names: Sequence[str]) -> list[Any] | None:
    given = transform.get(key)
    return [given.get(name) for name in names] if isinstance(given, dict) else None
