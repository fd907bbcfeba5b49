"""Read groups of xarray: data variables with named axes, and 1-D coordinates with their positions.

The module reads one group, and makes one pyramid of the same variable in several groups. The
layouts decide which groups belong together.

Sources: xarray, "Zarr encoding specification"; CF conventions 1.11, sections 4, 5 and 7.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.image import Image
from napari_pyramid.layouts._candidates import (
    Vector,
    axes_named,
    checked_levels,
    image_name,
)
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = [
    "auxiliaries",
    "data_variables",
    "is_dataset",
    "placed",
    "pyramid",
    "pyramids",
    "variable_axes",
]

_BOUNDS = re.compile(r".*_(bnds|bounds)", re.IGNORECASE)
_BOUNDS_DIMENSION = re.compile(r"n?bnds?|n?bounds?|nv|n?vertex|n?vertices|corners?", re.IGNORECASE)
_AUXILIARY_KEYS = ("coordinates", "bounds", "climatology", "grid_mapping")
_COORDINATE_NAME = re.compile(r"(nav_|x)?(lat|lon|long|latitude|longitude)|time", re.IGNORECASE)
_COORDINATE_STANDARD_NAME = re.compile(
    r"time|(grid_)?(latitude|longitude)|projection_[xy]_(angular_)?coordinate"
)
_DEGREES_NORTH_OR_EAST = re.compile(r"degrees?_?(north|east|N|E)")
_TIME_UNIT = re.compile(r"\bsince\b")
_DEGREES = re.compile(r"degrees?_?(north|east|N|E|south|west)?")


def coordinates(group: Node) -> dict[str, Node]:
    """Return the 1-D arrays of a group that have the name of their axis."""
    return {
        c.name: c
        for c in group.children()
        if c.kind == "array" and c.ndim == 1 and c.dimension_names in ((c.name,), None)
    }


def auxiliaries(group: Node) -> frozenset[str]:
    """Return the names of arrays that describe variables: coordinates, bounds, grid mappings.

    Coordinates may have any rank. The arrays are found by the attributes that name them (CF
    conventions 1.11, sections 5 and 7), by their own dimensions, and by their own attributes
    (section 4).
    """
    arrays = _arrays(group)
    axes = {name for array in arrays for name in array.dimension_names or ()}
    named = {
        name
        for owner in (group, *arrays)
        for name in _named_auxiliaries(owner)
        if owner.kind == "group" or name != owner.name
    }
    return frozenset(named) | {
        array.name
        for array in arrays
        if (array.ndim == 1 and array.name in axes) or _is_coordinate(array) or _is_bounds(array)
    }


def data_variables(group: Node) -> tuple[Node, ...]:
    """Return the arrays of a group with at least two axes that are not in `auxiliaries`."""
    auxiliary = auxiliaries(group)
    return tuple(
        array for array in _arrays(group) if array.ndim >= 2 and array.name not in auxiliary
    )


def _arrays(group: Node) -> list[Node]:
    return [child for child in group.children() if child.kind == "array"]


def _is_coordinate(array: Node) -> bool:
    """Return whether an array with named axes holds positions or times.

    The coordinates of curved grids have two axes, so the rank does not decide.
    """
    if array.dimension_names is None:
        return False
    attributes = array.attributes
    return (
        _COORDINATE_NAME.fullmatch(array.name) is not None
        or attributes.get("axis") in ("X", "Y", "Z", "T")
        or _COORDINATE_STANDARD_NAME.fullmatch(str(attributes.get("standard_name"))) is not None
        or "_CoordinateAxisType" in attributes
        or _DEGREES_NORTH_OR_EAST.fullmatch(str(attributes.get("units"))) is not None
    )


def _is_bounds(array: Node) -> bool:
    return _BOUNDS.fullmatch(array.name) is not None or any(
        _BOUNDS_DIMENSION.fullmatch(name) for name in array.dimension_names or ()
    )


def is_dataset(group: Node) -> bool:
    """Return whether a group has a variable with a coordinate along each of its last two axes."""
    if group.kind != "group":
        return False
    known = coordinates(group)
    return any(
        set(variable.dimension_names[-2:]) <= known.keys()
        for variable in data_variables(group)
        if variable.dimension_names
    )


def placed(group: Node, variable: Node) -> LevelEntry:
    """Return a variable with the scale and translation of its coordinates, if it has any.

    The scale is the mean spacing (negative where a coordinate descends), the translation the first
    coordinate. An axis without numeric coordinates has scale 1 and translation 0; so has a time
    axis counted from an epoch.
    """
    if variable.dimension_names is None:
        return LevelEntry(variable)
    known = coordinates(group)
    spacings = [
        _spacing(known[name], size) if name in known else None
        for name, size in zip(variable.dimension_names, variable.shape, strict=True)
    ]
    if not any(spacings):
        return LevelEntry(variable)
    scale: Vector = tuple(s[0] if s else 1.0 for s in spacings)
    translation: Vector = tuple(s[1] if s else 0.0 for s in spacings)
    return LevelEntry(variable, scale, translation)


def variable_axes(group: Node, variable: Node) -> tuple[Axis, ...] | None:
    """Return the axes of a variable, with the units of its coordinates; None without axis names."""
    known = coordinates(group)
    names = variable.dimension_names
    return axes_named(
        names,
        [_unit(known[name]) if name in known else None for name in names or ()],
        variable.ndim,
    )


def pyramids(node: Node, groups: Sequence[Node], layout: str) -> tuple[Image, ...]:
    """Return one image per variable of the groups, which are levels of one dataset in any order.

    If a group lacks a variable, the variable has no such level, and a warning says so. An array
    that is a coordinate in one of the groups counts as a coordinate in all of them.
    """
    auxiliary = {name for group in groups for name in auxiliaries(group)}
    found = {
        group.path: {
            variable.name: variable
            for variable in data_variables(group)
            if variable.name not in auxiliary
        }
        for group in groups
    }
    names = dict.fromkeys(name for variables in found.values() for name in variables)
    images = []
    for name in names:
        present = [
            (group, found[group.path][name]) for group in groups if name in found[group.path]
        ]
        for group in groups:
            if name not in found[group.path]:
                warn(f"{group.location}: has no variable {name!r}; level left out")
        image = pyramid(node, present, layout, name)
        if image is not None:
            images.append(image)
    return tuple(images)


def pyramid(
    node: Node, present: Sequence[tuple[Node, Node]], layout: str, name: str | None = None
) -> Image | None:
    """Return an image of (group, variable) pairs, largest first; None if none can be opened."""
    levels = checked_levels(node, [placed(group, variable) for group, variable in present], layout)
    if not levels:
        return None
    group, variable = next((g, v) for g, v in present if v.path == levels[0].path)
    return Image(
        name or image_name(node), levels, layout, node.path, axes=variable_axes(group, variable)
    )


def _named_auxiliaries(owner: Node) -> Iterable[str]:
    for key in _AUXILIARY_KEYS:
        value = owner.attributes.get(key)
        if isinstance(value, str):
            yield from value.replace(":", " ").split()
    measures = owner.attributes.get("cell_measures")
    if isinstance(measures, str):  # "area: name volume: name"
        yield from (word for word in measures.split() if not word.endswith(":"))


def _spacing(coordinate: Node, size: int) -> tuple[float, float] | None:
    """Return spacing and first value of a coordinate.

    None for times, texts, a single value, and values that are not finite or do not change.
    """
    if (
        coordinate.shape != (size,)
        or size < 2
        or _TIME_UNIT.search(str(coordinate.attributes.get("units", "")))
    ):
        return None
    try:
        array = coordinate.array()
        if array.dtype.kind not in "iuf":
            return None
        first, last = (float(np.asarray(array[i])) for i in (0, size - 1))
    # Every exception: codecs raise errors of their own, and pixels can be shown without
    # coordinates.
    except Exception as error:
        warn(f"{coordinate.location}: coordinates cannot be read ({type(error).__name__}); ignored")
        return None
    factor, offset = (
        _number(coordinate.attributes.get(key), default)
        for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    spacing, start = (last - first) * factor / (size - 1), first * factor + offset
    if not np.isfinite([spacing, start]).all() or spacing == 0:
        return None
    return spacing, start


def _number(value: object, default: float) -> float:
    return (
        float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default
    )


def _unit(coordinate: Node) -> str | None:
    unit = coordinate.attributes.get("units")
    if not isinstance(unit, str) or _TIME_UNIT.search(unit):
        return None
    return "degree" if _DEGREES.fullmatch(unit) else unit
