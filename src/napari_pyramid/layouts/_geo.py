"""Compute scale and translation of arrays in a geographic grid from an affine of GDAL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.json_values import is_number
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["GeoGrid"]


@dataclass(frozen=True, slots=True)
class GeoGrid:
    """Step and corner of a grid of pixels without rotation, in units of its reference system."""

    step_x: float
    corner_x: float
    step_y: float
    """Usually negative: rows go from north to south."""
    corner_y: float
    """Outer corner of the first pixel, not its centre."""

    @classmethod
    def from_transform(cls, value: Any, where: str) -> GeoGrid | None:
        """Return the grid of ``[a, b, c, d, e, f]``, or None.

        x = a col + b row + c, y = d col + e row + f. None for None; None with a warning for an
        affine that rotates or is not a list of six numbers.
        """
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) != 6
            or not all(is_number(v) for v in value)
            or not value[0]
            or not value[4]
        ):
            warn(
                f"{where}: six numbers [a, b, c, d, e, f] without zero steps are expected, "
                f"not {str(value)[:80]}; ignored"
            )
            return None
        a, b, c, d, e, f = value
        if b or d:
            warn(f"{where}: rotated by {b:g}, {d:g}; only the grid's pixels are shown")
            return None
        return cls(*map(float, (a, c, e, f)))

    @classmethod
    def from_box(cls, value: Any, shape: Sequence[int]) -> GeoGrid | None:
        """Return the grid of a box ``[west, south, east, north]``; None if the box is not usable.

        The last two axes of `shape` are rows and columns.
        """
        if (
            not isinstance(value, list)
            or len(value) != 4
            or not all(is_number(v) for v in value)
            or len(shape) < 2
            or 0 in shape[-2:]
        ):
            return None
        west, south, east, north = value
        if east <= west or north <= south:
            return None
        return cls((east - west) / shape[-1], west, -(north - south) / shape[-2], north)

    def scaled(self, factor_y: float, factor_x: float) -> GeoGrid:
        """Return the grid of a level with larger pixels and the same corner."""
        return GeoGrid(self.step_x * factor_x, self.corner_x, self.step_y * factor_y, self.corner_y)

    def place(
        self, variable: Node, dimensions: Any = None, *, node_registered: bool = False
    ) -> LevelEntry:
        """Return a variable with scale and translation of its pixel centres in this grid.

        Parameters
        ----------
        dimensions
            Names of the vertical and the horizontal axis. Without them, or if the array has other
            names, the last two axes are taken.
        node_registered
            Whether the affine gives the centre of the first pixel instead of its corner.
        """
        if variable.ndim < 2:
            return LevelEntry(variable)
        names = variable.dimension_names
        y, x = variable.ndim - 2, variable.ndim - 1
        if (
            names
            and isinstance(dimensions, list)
            and len(dimensions) == 2
            and all(name in names for name in dimensions)
        ):
            y, x = names.index(dimensions[0]), names.index(dimensions[1])
        half = 0.0 if node_registered else 0.5
        scale, translation = [1.0] * variable.ndim, [0.0] * variable.ndim
        scale[y], translation[y] = self.step_y, self.corner_y + half * self.step_y
        scale[x], translation[x] = self.step_x, self.corner_x + half * self.step_x
        return LevelEntry(variable, tuple(scale), tuple(translation))
