"""Read levels by names and shapes alone: numbered arrays, sub-resolutions, single arrays."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from napari_pyramid.axes import Axis
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts._dataset import auxiliaries
from napari_pyramid.layouts._levels import LevelEntry, looks_like_a_pyramid, looks_rgb, open_levels
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "arrays"

_NUMBERED = re.compile(r"(.*?)(\d+)$")
_MAGNIFICATION = re.compile(r"\d+-\d+-\d+")
"""Names of levels in WEBKNOSSOS: 1, 2-2-1, 4-4-2."""


def read(node: Node) -> Sequence[Image] | None:
    """Return the image of an array, or of a group whose arrays look like levels."""
    if node.kind == "array":
        return _array_with_arrays(node) or _single_array(node)
    return _base_and_sub_resolutions(node) or _numbered_series(node)


def _base_and_sub_resolutions(node: Node) -> list[Image] | None:
    """Return the image of an array "base" and a group "sub-resolutions" of arrays 01, 02, ...

    Source: zarr-specs issue 50.
    """
    base, group = node.child("base"), node.child("sub-resolutions")
    if base is None or group is None or base.kind == "group" or group.kind == "array":
        return None
    below = [f"sub-resolutions/{child.name}" for child in group.children() if child.kind == "array"]
    return _image(node, ["base", *below], "base + sub-resolutions", is_writable=False)


def _numbered_series(node: Node) -> list[Image] | None:
    """Return the images of arrays with one prefix and a number, such as 0, 1, ... or s0, s1, ...

    Also Resolution_0, ... and 1, 2-2-1, ... The shapes must shrink or grow with the number: arrays
    of equal or unrelated shapes are separate images.
    """
    series: dict[str, list[Node]] = defaultdict(list)
    auxiliary = auxiliaries(node)
    for child in node.children():
        if child.name in auxiliary:
            continue
        if child.kind == "array" and (match := _NUMBERED.match(child.name)):
            series["" if _MAGNIFICATION.fullmatch(child.name) else match[1]].append(child)
    pyramids = [arrays for arrays in series.values() if _is_pyramid(arrays)]
    images = [
        image
        for arrays in pyramids
        for image in _image(node, [a.name for a in arrays], "numbered arrays", is_writable=True)
        or ()
    ]
    if len(images) > 1:
        images = [replace(image, name=image.levels[0].path) for image in images]
    return images or None


def _is_pyramid(arrays: Sequence[Node]) -> bool:
    """Return whether the shapes shrink or grow, apart from arrays that cannot be levels.

    Such arrays are left out later, with a warning.
    """
    sound = [a for a in arrays if a.ndim and all(n > 0 for n in a.shape)]
    shapes = [
        a.shape for a in sound if a.data_type == sound[0].data_type and a.ndim == sound[0].ndim
    ]
    return len(shapes) > 1 and (looks_like_a_pyramid(shapes) or looks_like_a_pyramid(shapes[::-1]))


def _array_with_arrays(node: Node) -> list[Image] | None:
    """Return the image of a zarr v2 array whose directory holds the smaller levels 0, 1, ...

    Source: mmorehea's zarrPyramid.
    """
    below = [child for child in _numbered_below(node) if child.ndim == node.ndim]
    by_size = sorted(below, key=lambda child: -math.prod(child.shape))
    if not below or not looks_like_a_pyramid([node.shape, *(child.shape for child in by_size)]):
        return None
    single = _single_array(node)
    if single is None:
        return None
    levels = (
        *single[0].levels,
        *open_levels(node, [LevelEntry(child.name) for child in by_size], "arrays in the array"),
    )
    return [
        Image(
            node.title,
            levels,
            "array with arrays",
            node.path,
            axes=_axes(node),
            rgb=looks_rgb(levels),
            is_writable=True,
        )
    ]


def _numbered_below(node: Node) -> Iterator[Node]:
    """Yield the arrays 0 (or 1), ... below an array.

    They are tried one by one instead of listed, because the directory may hold a million chunks.
    """
    for number in count() if node.zarr_format == 2 else ():
        child = node.child(str(number))
        if child is not None and child.kind == "array":
            yield child
        elif number:
            return


def _single_array(node: Node) -> list[Image] | None:
    if not node.ndim or not all(n > 0 for n in node.shape):
        return None
    level = StoredLevel(node.path, node.array())
    return [Image(node.title, (level,), "array", node.path, axes=_axes(node), is_writable=True)]


def _image(
    node: Node, paths: Sequence[str], layout: str, *, is_writable: bool
) -> list[Image] | None:
    levels = open_levels(node, [LevelEntry(path) for path in paths], layout)
    if not levels:
        return None
    first = node.child(levels[0].path.removeprefix(node.path).lstrip("/"))
    return [
        Image(
            node.title,
            levels,
            layout,
            node.path,
            axes=_axes(first) if first else None,
            rgb=looks_rgb(levels),
            is_writable=is_writable,
        )
    ]


def _axes(node: Node) -> tuple[Axis, ...] | None:
    """Return the axes with the array's dimension names; None unless all names differ."""
    names = node.dimension_names
    return (
        tuple(Axis.named(name) for name in names)
        if names and len(set(names)) == len(names)
        else None
    )
