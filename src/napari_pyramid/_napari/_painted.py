"""Draw edits over the samples of a layer that are on the screen: `Painted`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from napari_pyramid._napari._progressive_layer import ProgressiveLayer
from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.old_values import OldValues
from napari_pyramid.arrays.progressive import Role
from napari_pyramid.regions import Region

__all__ = ["Painted"]

_Array = npt.NDArray[Any]


class Painted:
    """The edits of a layer, and the samples on the screen."""

    def __init__(
        self, level_0: EditedArray, old_values: OldValues, shown: ProgressiveLayer
    ) -> None:
        self.level_0, self.old_values = level_0, old_values
        self.grids, self.axes = shown.grids, shown.axes
        self.level = 0
        self.ranges: tuple[range, ...] = ()
        """Samples of `level` that are shown, along each axis of the array."""
        self.hidden: Mapping[int, int] = {}
        """Index in level 0 of the slice, along each hidden axis of the array."""

    def overlay(
        self,
        level: int,
        view: LazyArray,
        role: Role,
        hidden: Mapping[int, int],
        pixels: _Array,
    ) -> _Array:
        """Return `pixels` with the edits over them, as an array that can be painted on."""
        ranges = tuple(r if isinstance(r, range) else range(r, r + 1) for r in view.ranges)
        fixed = {a: r for a, r in enumerate(view.ranges) if isinstance(r, int)}
        planes = {a: hidden.get(a, r.start) for a, r in enumerate(ranges) if len(r) == 1}
        planes = {a: p for a, p in planes.items() if a in hidden or a in fixed}
        if role == "view":
            self.level, self.ranges, self.hidden = level, ranges, planes
        painted = pixels.reshape([len(r) for r in ranges]).copy()
        self.lay_over(level, ranges, planes, painted)
        return painted.reshape(view.shape)

    def lay_over(
        self,
        level: int,
        ranges: Sequence[range],
        planes: Mapping[int, int],
        out: _Array,
    ) -> None:
        edits = self.level_0.edits
        if level == 0:
            edits.lay_over(ranges, out)
        else:
            edits.lay_over_coarser(ranges, self.grids[level].factors, planes, out)

    def in_tile(self, region: Region, displayed: Sequence[int]) -> Region | None:
        """Return the samples on the screen that `region` of level 0 covers.

        None if it is not on the screen. There is one slice for each axis of the layer; along hidden
        axes it has no meaning.
        """
        factors = self.grids[self.level].factors
        found = []
        for axis, part in enumerate(region):
            of_array = self.axes[axis]
            shown, factor = self.ranges[of_array], factors[of_array]
            if axis not in displayed:
                if not part.start <= self.hidden.get(of_array, part.start) < part.stop:
                    return None
                found.append(slice(0, 1))
                continue
            start = max(shown.start, int(part.start // factor))
            stop = min(shown.stop, int(-(-part.stop // factor)))
            if start >= stop:
                return None
            found.append(slice(start - shown.start, stop - shown.start))
        return tuple(found)

    def lay_over_tile(self, tile: Region, samples: _Array) -> None:
        """Draw the edits over `samples`, a part of the samples on the screen."""
        ranges = list(self.ranges)
        for axis, part in enumerate(tile):
            of_array = self.axes[axis]
            if len(ranges[of_array]) > 1:
                ranges[of_array] = ranges[of_array][part]
        out = samples.reshape([len(r) for r in ranges])
        self.lay_over(self.level, ranges, self.hidden, out)
