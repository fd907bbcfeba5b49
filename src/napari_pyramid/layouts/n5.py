"""Read pyramids of n5-viewer and neuroglancer: groups of s0, s1, ... in N5 or zarr.

All vectors in these attributes are in N5's order, the last array axis first, also in zarr.

Sources: saalfeldlab/n5-viewer README; n5-universe, N5ViewerMultiscaleMetadataParser; neuroglancer,
datasource/n5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.half_pixel import centre_shift
from napari_pyramid.image import Affine, Channel, Image, StoredLevel
from napari_pyramid.layouts._bdv_xml import affine_zyx
from napari_pyramid.layouts._candidates import (
    Vector,
    axes_named,
    checked_levels,
    image_name,
    numbered_arrays,
    numbers,
    shape_ratio,
    texts,
)
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = [
    "FILES",
    "NAME",
    "SUFFIXES",
    "beside",
    "first_level",
    "level_entries",
    "read",
    "spatial_axes",
]

NAME = "N5 viewer"
FILES = ("attributes.json",)
SUFFIXES = (".n5",)
_LEVEL = re.compile(r"s\d+")
_CHANNEL = re.compile(r"c\d+")
_ARRAY_KEYS = ("downsamplingFactors", "resolution", "pixelResolution")
_GROUP_KEYS = ("scales", "downsamplingFactors", "multiScale", "resolution", "pixelResolution")


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of an array with a resolution, or of a group of s0, s1, ...

    The group or its arrays must have a resolution or factors; without them, the layout is `bare`.
    """
    if node.kind == "array":
        return _single(node)
    arrays = numbered_arrays(node, _LEVEL)
    if not arrays:
        return _channels(node) or None
    if not (
        any(key in node.attributes for key in _GROUP_KEYS)
        or any(key in array.attributes for key in _ARRAY_KEYS for array in arrays)
    ):
        return None
    image = _image(node, arrays)
    return None if image is None else (image,)


def _channels(node: Node) -> list[Image]:
    """Return the images of groups c0, c1, ... of levels, whose attributes are on the group above.

    [] if the group has other groups, too.
    """
    groups = [child for child in node.children() if child.kind == "group"]
    if not any(key in node.attributes for key in _GROUP_KEYS) or not all(
        _CHANNEL.fullmatch(group.name) for group in groups
    ):
        return []
    images = [
        _image(group, arrays, (node,))
        for group in groups
        if (arrays := numbered_arrays(group, _LEVEL))
    ]
    return [image for image in images if image is not None]


def _image(node: Node, arrays: Sequence[Node], parents: Sequence[Node] = ()) -> Image | None:
    levels = checked_levels(node, level_entries(node, arrays, parents=parents), "s0, s1, ...")
    if not levels:
        return None
    first = first_level(arrays, levels)
    axes = spatial_axes(node, first, parents)
    affine = _affine((node, first, *parents), axes, first.ndim)
    return Image(
        image_name(node),
        levels,
        NAME,
        node.path,
        axes=axes,
        channels=_channel_names(node, axes, first),
        affine=affine,
    )


def first_level(arrays: Sequence[Node], levels: Sequence[StoredLevel]) -> Node:
    """Return the node of the largest level that was kept."""
    return next(array for array in arrays if array.path == levels[0].path)


def _channel_names(node: Node, axes: Sequence[Axis] | None, array: Node) -> tuple[Channel, ...]:
    """Return the channels that neuroglancer's "coordinateArrays" name; () without names."""
    given = node.attributes.get("coordinateArrays")
    for axis, size in zip(axes or (), array.shape, strict=False):
        names = (
            texts(given.get(axis.name), size)
            if isinstance(given, dict) and axis.type == "channel"
            else None
        )
        if names is not None:
            return tuple(Channel(name) for name in names)
    return ()


def _single(node: Node) -> Sequence[Image] | None:
    """Return the image of an array with a resolution, which its factors, if any, multiply."""
    if "pixelResolution" not in node.attributes and "resolution" not in node.attributes:
        return None
    factors = _reversed(
        node.attributes.get("downsamplingFactors"),
        node.ndim,
        f"{node.location}: downsamplingFactors",
        default=1,
    )
    placed = _placed(
        node, _resolution((node,), node.ndim), factors or (1.0,) * node.ndim, (0.0,) * node.ndim
    )
    levels = checked_levels(node, [placed], "resolution")
    axes = spatial_axes(node, node)
    return (
        (
            Image(
                image_name(node),
                levels,
                NAME,
                node.path,
                axes=axes,
                affine=_affine((node,), axes, node.ndim),
            ),
        )
        if levels
        else None
    )


def _affine(owners: Sequence[Node], axes: Sequence[Axis] | None, ndim: int) -> Affine | None:
    """Return the "affineTransform" of the first owner that has one, over all axes but channels.

    It has the rows of x, y and z, flat or as lists, and is applied after the resolution and the
    factors (n5-universe, buildTransform).
    """
    owner = next(
        (owner for owner in owners if owner.attributes.get("affineTransform") is not None), None
    )
    if owner is None:
        return None
    where, given = f"{owner.location}: affineTransform", owner.attributes["affineTransform"]
    if isinstance(given, list) and all(isinstance(row, list) for row in given):
        given = [value for row in given for value in row]
    values = numbers(given, 12, where)
    matrix = affine_zyx(values) if values is not None else None
    kinds = [axis.type for axis in axes] if axes is not None else ["space"] * ndim
    others = [kind for kind in kinds[:-3] if kind != "channel"]
    if values is not None and (matrix is None or kinds[-3:] != ["space"] * 3):
        warn(f"{where} is singular, or the image has no x, y and z; not applied")
        return None
    return None if matrix is None else beside(matrix, len(others))


def beside(matrix: Affine, n: int) -> Affine:
    """Return the matrix with `n` more axes before its own, on which it is the identity."""
    larger = np.eye(len(matrix) + n)
    larger[n:, n:] = matrix
    return larger


def level_entries(
    node: Node, arrays: Sequence[Node], offset: Vector | None = None, parents: Sequence[Node] = ()
) -> list[LevelEntry]:
    """Return the arrays with scale and translation from the attributes of the arrays and groups.

    The first sample of a level covers level 0 from its first sample on; see `centre_shift`.

    Parameters
    ----------
    node
        The group of the levels.
    arrays
        Its levels s0, s1, ...
    offset
        Translation of level 0, in array order.
    parents
        Groups above that may have factors and a resolution, too.
    """
    ndim = arrays[0].ndim
    resolution = _resolution((node, arrays[0], *parents), ndim)
    start = offset or (0.0,) * ndim
    found = []
    for index, array in enumerate(arrays):
        if array.ndim != ndim:
            found.append(LevelEntry(array))
            continue
        found.append(_placed(array, resolution, _factors((node, *parents), arrays, index), start))
    return found


def _placed(array: Node, resolution: Vector, factors: Vector, start: Vector) -> LevelEntry:
    scale = tuple(r * f for r, f in zip(resolution, factors, strict=True))
    shift = centre_shift(resolution, scale)
    return LevelEntry(array, scale, tuple(s + d for s, d in zip(start, shift, strict=True)))


def _factors(owners: Sequence[Node], arrays: Sequence[Node], index: int) -> Vector:
    """Return the factors of a level to level 0, in array order.

    They are the array's own, else the group's, else the ratio of the resolutions, else of the
    shapes.
    """
    array, ndim = arrays[index], arrays[0].ndim
    found = _reversed(
        array.attributes.get("downsamplingFactors"),
        ndim,
        f"{array.location}: downsamplingFactors",
        default=1,
    )
    number = int(array.name[1:])
    for owner in owners:
        for key in ("scales", "downsamplingFactors"):
            per_level = owner.attributes.get(key)
            if found is None and isinstance(per_level, list) and number < len(per_level):
                found = _reversed(per_level[number], ndim, f"{owner.location}: {key}", default=1)
    return found or _resolution_ratio(arrays[0], array) or shape_ratio(arrays[0].shape, array.shape)


def _resolution_ratio(first: Node, array: Node) -> Vector | None:
    """Return the ratio of two arrays' resolutions; None if one is missing, or both are equal."""
    fine, coarse = _own_resolution(first, first.ndim), _own_resolution(array, first.ndim)
    if fine is None or coarse is None or fine == coarse:
        return None
    return tuple(c / f for f, c in zip(fine, coarse, strict=True))


def _resolution(owners: Sequence[Node], ndim: int) -> Vector:
    """Return the pixel size of level 0 per array axis, from the first owner that has it; else 1."""
    return next(
        (found for owner in owners if (found := _own_resolution(owner, ndim)) is not None),
        (1.0,) * ndim,
    )


def _own_resolution(owner: Node, ndim: int) -> Vector | None:
    """Return the size of a pixel per array axis, from the attributes of one node."""
    for key, given in (
        ("pixelResolution", _dimensions(owner)),
        ("resolution", owner.attributes.get("resolution")),
    ):
        if isinstance(given, list):
            found = _reversed(given, ndim, f"{owner.location}: {key}", default=1)
            if found is not None:
                return found
    return None


def _dimensions(owner: Node) -> Any:
    """Return the numbers of ``pixelResolution``: an object with "dimensions", or a list (old)."""
    given = owner.attributes.get("pixelResolution")
    return given.get("dimensions") if isinstance(given, dict) else given


def _reversed(value: Any, ndim: int, where: str, *, default: float) -> Vector | None:
    """Return the numbers in array order.

    If there are fewer numbers than axes, they are for the last axes; the first axes get `default`.
    """
    if isinstance(value, list) and 0 < len(value) < ndim:
        value = [*value, *[default] * (ndim - len(value))]
    found = numbers(value, ndim, where, default=default)
    return found and found[::-1]


def spatial_axes(node: Node, array: Node, parents: Sequence[Node] = ()) -> tuple[Axis, ...] | None:
    """Return axes from neuroglancer's "axes" and "units", else z, y, x with the unit of pixels."""
    ndim, owners = array.ndim, (node, array, *parents)
    names = next(
        (found for owner in owners if (found := texts(owner.attributes.get("axes"), ndim))), None
    )
    names = names[::-1] if names is not None and len(set(names)) == ndim else array.dimension_names
    units = next(
        (found for owner in owners if (found := texts(owner.attributes.get("units"), ndim))), None
    )
    units = units or texts(next(filter(None, map(_unit, owners)), None), ndim)
    units = units and units[::-1]
    return axes_named(names or (("z", "y", "x")[-ndim:] if ndim <= 3 else None), units, ndim)


def _unit(owner: Node) -> str | None:
    given = owner.attributes.get("pixelResolution")
    unit = given.get("unit") if isinstance(given, dict) else owner.attributes.get("unit")
    return unit if isinstance(unit, str) else None
