"""Read ITK's xarray pyramids: "_MULTISCALE_LEVELS" lists groups of one variable.

"_SPATIAL_IMAGE" names the variable. Source: zarr-specs issue 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis, clean_unit
from napari_pyramid.image import Affine, Image
from napari_pyramid.layouts._candidates import find
from napari_pyramid.layouts._dataset import data_variables, pyramid
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "ITK _MULTISCALE_LEVELS"


def read(node: Node) -> Sequence[Image] | None:
    """Return the image of a group with "_MULTISCALE_LEVELS"; ``""`` stands for the group itself."""
    paths = node.attributes.get("_MULTISCALE_LEVELS")
    if paths is None or node.kind != "group":
        return None
    if not isinstance(paths, list):
        warn(f"{node.location}: _MULTISCALE_LEVELS is not a list; ignored")
        return None
    groups = [node if path == "" else find(node, path, "_MULTISCALE_LEVELS") for path in paths]
    name = _variable_name(node)
    present = []
    for group in groups:
        variable = group.child(name) if group is not None and name else None
        if group is not None and variable is None:
            warn(f"{group.location}: has no array {name!r} (_SPATIAL_IMAGE); level left out")
        elif group is not None and variable is not None:
            present.append((group, variable))
    image = pyramid(node, present, NAME, name)
    if image is None:
        return None
    if image.axes is None:
        return (image,)
    first = next(variable for _, variable in present if variable.path == image.levels[0].path)
    return (replace(image, axes=_with_units(image.axes, first), affine=_direction(image, first)),)


def _variable_name(node: Node) -> str | None:
    name = node.attributes.get("_SPATIAL_IMAGE")
    if isinstance(name, str) and name:
        return name
    variables = data_variables(node)
    return variables[0].name if variables else None


def _with_units(axes: tuple[Axis, ...], variable: Node) -> tuple[Axis, ...]:
    """Return the axes with the unit of space, which ITK keeps on the image, not on coordinates."""
    unit = variable.attributes.get("units")
    if not isinstance(unit, str):
        return axes
    return tuple(
        replace(axis, unit=clean_unit(unit)) if axis.is_spatial and axis.unit is None else axis
        for axis in axes
    )


def _direction(image: Image, variable: Node) -> Affine | None:
    """Return the direction cosines as an affine around the first sample; None for the identity.

    ITK writes them for x, y, z (the last array axis first):
    physical = origin + direction @ (spacing * index).
    """
    given: Any = variable.attributes.get("direction")
    if given is None or image.axes is None:
        return None
    spatial = [i for i, axis in enumerate(image.axes) if axis.is_spatial]
    try:
        direction = np.array(given, np.float64)[::-1, ::-1]
    except (TypeError, ValueError, OverflowError):
        direction = np.empty(0)
    if (
        direction.shape != (len(spatial),) * 2
        or not np.isfinite(direction).all()
        or abs(np.linalg.det(direction)) < 1e-9
    ):
        warn(
            f"{variable.location}: direction is not an invertible matrix of {len(spatial)} axes; "
            "ignored"
        )
        return None
    if np.allclose(direction, np.eye(len(spatial))):
        return None
    origin = np.array(image.levels[0].translation or (0.0,) * len(image.axes))[spatial]
    kept = [i for i in range(len(image.axes)) if i != image.channel_axis]
    positions = [kept.index(i) for i in spatial]
    affine = np.eye(len(kept) + 1)
    affine[np.ix_(positions, positions)] = direction
    affine[positions, -1] = origin - direction @ origin
    return affine
