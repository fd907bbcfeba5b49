"""Stand in for a level while napari slices it, with the samples in memory: `ShownArray`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.progressive import ProgressiveLevels, Role

__all__ = ["Overlay", "ShownArray"]

Overlay = Callable[[int, LazyArray, Role, Mapping[int, int], npt.NDArray[Any]], npt.NDArray[Any]]
"""Returns the samples to show: from a level, the part of it that is shown, the role of the slice,
the index in level 0 along each hidden axis of the array, and the samples as they are stored."""


class ShownArray:
    """A level as napari slices it: indexed like the level, with values from memory.

    Parameters
    ----------
    view
        The level, or a part of it.
    level
        Number of the level.
    levels
        Source of the values.
    planes
        Index along each hidden axis, in place of napari's index, which is half a sample off.
    """

    def __init__(
        self,
        view: LazyArray,
        level: int,
        levels: ProgressiveLevels,
        role: Role,
        planes: Mapping[int, int],
    ) -> None:
        self._view, self._level, self._levels, self._role = view, level, levels, role
        self._planes = planes
        self.overlay: Overlay | None = None
        self.hidden: Mapping[int, int] = {}
        """Index in level 0 of the slice, along each hidden axis of the array."""
        self.shape, self.dtype, self.ndim, self.size = view.shape, view.dtype, view.ndim, view.size
        self.chunks = view.chunks

    def __getitem__(self, key: Any) -> ShownArray:
        keys = list(key) if isinstance(key, tuple) else [key]
        planes = self._planes if self.ndim == len(keys) else {}
        for axis, plane in planes.items():
            if isinstance(keys[axis], slice):
                if len(range(*keys[axis].indices(self.shape[axis]))) == 1:
                    keys[axis] = slice(plane, plane + 1)
            else:
                keys[axis] = plane
        view = self._view[tuple(keys)]
        kept = {} if view.ndim < self.ndim else self._planes
        shown = ShownArray(view, self._level, self._levels, self._role, kept)
        shown.overlay, shown.hidden = self.overlay, self.hidden
        return shown

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        pixels = self._levels.show(self._level, self._view, self._role)
        if self.overlay is not None:
            pixels = self.overlay(self._level, self._view, self._role, self.hidden, pixels)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)
