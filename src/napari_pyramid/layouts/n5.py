"""Pyramids of n5-viewer and neuroglancer, old and new: groups of s0, s1, ... with factors, in N5 or in zarr.

All vectors of these attributes are in N5's order, the last array axis first, inside zarr as well.
Sources: saalfeldlab/n5-viewer README; n5-universe, N5ViewerMultiscaleMetadataParser; neuroglancer, datasource/n5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from napari_pyramid.axes import Axis
from napari_pyramid.layouts._candidates import (
    Candidate,
    Vector,
    axes_named,
    checked_levels,
    image_name,
    numbered_arrays,
    numbers,
    shape_ratio,
    texts,
)
from napari_pyramid.layouts._image import Image
from napari_pyramid.layouts._node import Node

__all__ = ["NAME", "candidates", "read"]

NAME = "N5 viewer"
_LEVEL = re.compile(r"s\d+")
_GROUP_KEYS = ("scales", "downsamplingFactors", "multiScale", "resolution", "pixelResolution")


def read(node: Node) -> Sequence[Image] | None:
    """A group that says how large its pixels are or how its s0, s1, ... were downsampled; with neither it is `bare`."""
    if node.kind == "array":
        return _single(node)
    arrays = numbered_arrays(node, _LEVEL)
    if not arrays or not (
        any(key in node.attributes for key in _GROUP_KEYS)
        or any("downsamplingFactors" in array.attributes or "pixelResolution" in array.attributes for array in arrays)
    ):
        return None
    levels = checked_levels(node, candidates(node, arrays), "s0, s1, ...")
    if not levels:
        return None
    return (Image(image_name(node), levels, NAME, node.path, axes=spatial_axes(node, arrays[0])),)


def _single(node: Node) -> Sequence[Image] | None:
    """One array that says how large its pixels are, or those that it was downsampled from."""
    if "pixelResolution" not in node.attributes and "resolution" not in node.attributes:
        return None
    factors = _reversed(node.attributes.get("downsamplingFactors"), node.ndim, f"{node.location}: downsamplingFactors", default=1)
    placed = _placed(node, _resolution(node, node), factors or (1.0,) * node.ndim, (0.0,) * node.ndim)
    levels = checked_levels(node, [placed], "resolution")
    return (Image(image_name(node), levels, NAME, node.path, axes=spatial_axes(node, node)),) if levels else None


def candidates(node: Node, arrays: Sequence[Node], offset: Vector | None = None, parents: Sequence[Node] = ()) -> list[Candidate]:
    """The arrays with the scale and translation that their own attributes and those of the group give.

    A level of factor f covers f pixels of level 0 from the first on, so its centre lies (f - 1) / 2 of them further.

    Parameters
    ----------
    node
        The group.
    arrays
        Its levels s0, s1, ...
    offset
        Translation of level 0, in array order.
    parents
        Groups above that may know the factors, too.
    """
    ndim = arrays[0].ndim
    resolution = _resolution(node, arrays[0])
    start = offset or (0.0,) * ndim
    found = []
    for index, array in enumerate(arrays):
        if array.ndim != ndim:
            found.append(Candidate(array))
            continue
        found.append(_placed(array, resolution, _factors((node, *parents), arrays, index), start))
    return found


def _placed(array: Node, resolution: Vector, factors: Vector, start: Vector) -> Candidate:
    scale = tuple(r * f for r, f in zip(resolution, factors, strict=True))
    return Candidate(array, scale, tuple(s + r * (f - 1) / 2 for s, r, f in zip(start, resolution, factors, strict=True)))


def _factors(owners: Sequence[Node], arrays: Sequence[Node], index: int) -> Vector:
    """Factors of a level to level 0, in array order: its own, the group's, or the ratio of the shapes."""
    array, ndim = arrays[index], arrays[0].ndim
    found = _reversed(array.attributes.get("downsamplingFactors"), ndim, f"{array.location}: downsamplingFactors", default=1)
    number = int(array.name[1:])
    for owner in owners:
        for key in ("scales", "downsamplingFactors"):
            per_level = owner.attributes.get(key)
            if found is None and isinstance(per_level, list) and number < len(per_level):
                found = _reversed(per_level[number], ndim, f"{owner.location}: {key}", default=1)
    return found or shape_ratio(arrays[0].shape, array.shape)


def _resolution(node: Node, array: Node) -> Vector:
    """Size of a pixel of level 0 per array axis; 1 where nobody says."""
    for owner in (node, array):
        for key, given in (("pixelResolution", _dimensions(owner)), ("resolution", owner.attributes.get("resolution"))):
            if isinstance(given, list):
                found = _reversed(given, array.ndim, f"{owner.location}: {key}", default=1)
                if found is not None:
                    return found
    return (1.0,) * array.ndim


def _dimensions(owner: Node) -> Any:
    """``pixelResolution`` is an object with dimensions and a unit, or (old) the list itself."""
    given = owner.attributes.get("pixelResolution")
    return given.get("dimensions") if isinstance(given, dict) else given


def _reversed(value: Any, ndim: int, where: str, *, default: float) -> Vector | None:
    """Numbers in array order; three numbers of a 4-D array are those of its space, the others are 1."""
    if isinstance(value, list) and 0 < len(value) < ndim:
        value = [*value, *[default] * (ndim - len(value))]
    found = numbers(value, ndim, where, default=default)
    return found and found[::-1]


def spatial_axes(node: Node, array: Node) -> tuple[Axis, ...] | None:
    """Axes as the group (neuroglancer's "axes", "units") or the unit of the resolution name them; z, y, x for three."""
    ndim = array.ndim
    names = texts(node.attributes.get("axes"), ndim) or texts(array.attributes.get("axes"), ndim)
    names = names[::-1] if names is not None and len(set(names)) == ndim else array.dimension_names
    units = texts(node.attributes.get("units"), ndim) or texts(_unit(node) or _unit(array), ndim)
    units = units and units[::-1]
    return axes_named(names or (("z", "y", "x")[-ndim:] if ndim <= 3 else None), units, ndim)


def _unit(owner: Node) -> str | None:
    given = owner.attributes.get("pixelResolution")
    unit = given.get("unit") if isinstance(given, dict) else owner.attributes.get("unit")
    return unit if isinstance(unit, str) else None
