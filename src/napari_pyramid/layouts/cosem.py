"""COSEM and CellMap pyramids: a "transform" per level in array order, or (their first proposal) "gridSpacing" per level.

"transform" is in array order in N5 as well, unless it says ``"order": "F"``; "gridSpacing" and "origin" are x first.
Sources: janelia-cosem/schemas, multiscale.md; n5-universe, N5CosemMetadata.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
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
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "COSEM"
_LEVEL = re.compile(r".*?\d+")


def read(node: Node) -> Sequence[Image] | None:
    """Levels listed in "multiscales" with transforms or in "multiscale" with grid spacings; or arrays with transforms, not listed."""
    if node.kind == "array":
        return (
            _images(node, [(node, node.attributes.get("transform"))])
            if _is_transform(node.attributes.get("transform"))
            else None
        )
    listed = _listed(node)
    if listed is None:
        listed = [
            (c, c.attributes.get("transform"))
            for c in node.children()
            if c.kind == "array" and _LEVEL.fullmatch(c.name)
        ]
        listed = [(child, transform) for child, transform in listed if _is_transform(transform)]
        if not _is_series([child for child, _ in listed]):
            return None
    return _images(node, listed)


def _images(node: Node, listed: Sequence[tuple[Node, Any]]) -> Sequence[Image] | None:
    levels = checked_levels(
        node, [_entry(node, array, transform) for array, transform in listed], "transform"
    )
    if not levels:
        return None
    first, transform = next(
        (array, transform) for array, transform in listed if array.path == levels[0].path
    )
    name = _first_entry(node).get("name")
    title = name if isinstance(name, str) and name else image_name(node)
    return (Image(title, levels, NAME, node.path, axes=_axes(first, transform)),)


def _listed(node: Node) -> list[tuple[Node, Any]] | None:
    """Arrays and what is said of them, in the order of the group's list; None when the group has no such list."""
    datasets = _first_entry(node).get("datasets")
    if isinstance(datasets, list) and any(_is_transform(_get(d, "transform")) for d in datasets):
        if any("coordinateTransformations" in d for d in datasets if isinstance(d, dict)):
            return None  # OME-Zarr, with COSEM's key beside it
        key, entries = "multiscales", [(_get(d, "path"), _get(d, "transform")) for d in datasets]
    else:
        spacings = node.attributes.get("multiscale")
        if not isinstance(spacings, list) or not any(
            "gridSpacing" in s for s in spacings if isinstance(s, dict)
        ):
            return None
        key, entries = (
            "multiscale",
            [(_get(s, "name"), _from_spacing(s, node.attributes)) for s in spacings],
        )
    found = [(find(node, path, key), transform) for path, transform in entries]
    return [
        (array, transform or array.attributes.get("transform"))
        for array, transform in found
        if array is not None
    ]


def _first_entry(node: Node) -> dict[str, Any]:
    entries = node.attributes.get("multiscales")
    return (
        entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    )


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_transform(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("scale"), list)


def _is_series(arrays: Sequence[Node]) -> bool:
    """Whether the arrays can be levels of one image: none is larger than the one before, along any axis."""
    same_rank = len({array.ndim for array in arrays}) == 1
    return same_rank and all(
        c <= f for a, b in pairwise(arrays) for f, c in zip(a.shape, b.shape, strict=True)
    )


def _from_spacing(entry: Any, root: Any) -> dict[str, Any] | None:
    """Grid spacing and origin of a level as a transform; those of the group apply after them."""
    spacing, origin = _get(entry, "gridSpacing"), _get(entry, "origin")
    if not isinstance(spacing, list):
        return None
    n = len(spacing)
    scale = numbers(spacing, n, "multiscale: gridSpacing", default=1) or ()
    shift = numbers(origin, n, "multiscale: origin", default=0) or (0.0,) * n
    outer = numbers(root.get("gridSpacing"), n, "gridSpacing", default=1) or (1.0,) * n
    start = numbers(root.get("origin"), n, "origin", default=0) or (0.0,) * n
    return {
        "scale": [s * o for s, o in zip(scale, outer, strict=True)],
        "translate": [t * o + s for t, o, s in zip(shift, outer, start, strict=True)],
        "order": "F",
    }


def _entry(node: Node, array: Node, transform: Any) -> LevelEntry:
    if array.kind != "array" or not _is_transform(transform):
        return LevelEntry(array)
    where = f"{node.location}: transform of {array.name!r}"
    scale = numbers(transform["scale"], array.ndim, f"{where}, scale", default=1)
    translation = numbers(transform.get("translate"), array.ndim, f"{where}, translate", default=0)
    if _is_reversed(transform):
        scale, translation = scale and scale[::-1], translation and translation[::-1]
    return LevelEntry(array, scale, translation)


def _axes(array: Node, transform: Any) -> tuple[Axis, ...] | None:
    if not isinstance(transform, dict):
        return None
    names, units = (
        texts(transform.get("axes"), array.ndim),
        texts(transform.get("units"), array.ndim),
    )
    if _is_reversed(transform):
        names, units = names and names[::-1], units and units[::-1]
    return axes_named(names or array.dimension_names, units, array.ndim)


def _is_reversed(transform: dict[str, Any]) -> bool:
    return transform.get("order", transform.get("ordering")) == "F"
