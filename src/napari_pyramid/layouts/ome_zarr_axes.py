"""Read the axes of a multiscale, from OME-Zarr 0.1 to 0.6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_pyramid.axes import Axis, clean_unit, default_axes
from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts.coordinate_systems import axes_of_system, intrinsic_system
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["read_axes"]


def read_axes(multiscale: Mapping[str, Any], first: Node, where: str) -> tuple[Axis, ...] | None:
    """Return the listed axes; without a list, t, c, z, y, x for 5-D arrays (0.1 and 0.2).

    For other arrays, the axes follow from the dimension names of the array, if it has any.

    Parameters
    ----------
    first
        The array of the first level.
    where
        Place of the multiscale, for warnings.
    """
    listed = multiscale.get("axes")
    if listed is None and (systems := multiscale.get("coordinateSystems")) is not None:
        listed = axes_of_system(systems, intrinsic_system(multiscale))
    if listed is not None:
        try:
            return _parse_axes(listed, first.ndim)
        except LayoutError as error:
            warn(f"{where}: axes are ignored: {error}")
    elif first.ndim == 5:
        return default_axes(5)
    names = first.dimension_names
    return tuple(Axis.named(n) for n in names) if names and len(set(names)) == len(names) else None


def _parse_axes(listed: object, ndim: int) -> tuple[Axis, ...]:
    """Return the axes of a list of names (0.3) or objects (0.4 and later).

    Raises
    ------
    LayoutError
        If the list does not have `ndim` different names.
    """
    if not isinstance(listed, list) or len(listed) != ndim:
        count = f"{len(listed)} axes are" if isinstance(listed, list) else f"{brief(listed)} is"
        raise LayoutError(f"{count} listed for arrays of {ndim} axes")
    axes = tuple(_parse_axis(entry) for entry in listed)
    if len({a.name for a in axes}) < ndim:
        raise LayoutError(f"names {', '.join(a.name for a in axes)} are not all different")
    return axes


def _parse_axis(entry: object) -> Axis:
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    if not isinstance(name, str) or not name:
        raise LayoutError(f"{brief(entry)} has no name")
    implied = Axis.named(name)
    if not isinstance(entry, Mapping):
        return implied
    kind, unit = entry.get("type"), entry.get("unit")
    return Axis(
        name,
        kind if isinstance(kind, str) else implied.type,
        clean_unit(unit) if isinstance(unit, str) else None,
    )
