"""Load the finest level that fits while a layer is shown in 3-D, coarser levels first.

napari shows the coarsest level in 3-D unless a level is locked. A level is locked once all of it
has been read, so that neither reading nor composing it blocks the window; it is unlocked in 2-D.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_pyramid._napari._preferences import volume_bytes
from napari_pyramid._napari._private import largest_texture
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.progressive import ProgressiveLevels

__all__ = ["VolumeLevels", "finest_that_fits", "hidden_index"]

_TEXTURES = ("uint8", "uint16", "float32")
"""Data types that napari uploads to the graphics card unchanged; others become float32."""


def finest_that_fits(
    views: Sequence[LazyArray], displayed: Sequence[int], budget: int, side: int
) -> int:
    """Return the finest level whose displayed axes fit into `budget` bytes and `side` samples.

    If no level fits, return the coarsest.
    """
    itemsize = views[0].dtype.itemsize if views[0].dtype.name in _TEXTURES else 4
    for level, view in enumerate(views):
        lengths = [view.shape[axis] for axis in displayed]
        if max(lengths) <= side and math.prod(lengths) * itemsize <= budget:
            return level
    return len(views) - 1


class VolumeLevels:
    """Choice of the level of one layer in 3-D.

    Parameters
    ----------
    layer
        Returns the layer, or None after its removal.
    view_of
        Returns the part of a level that the 3-D view shows, or None in 2-D.
    """

    def __init__(
        self,
        layer: Callable[[], Any],
        views: Sequence[LazyArray],
        levels: ProgressiveLevels,
        view_of: Callable[[int], LazyArray | None],
    ) -> None:
        self._layer, self._views, self._levels, self._view_of = layer, views, levels, view_of
        self._target: int | None = None
        """Finest level to load; None in 2-D, or if the user locked a level."""
        self._locked: int | None = None
        """Level that this object locked."""

    def enter(self, displayed: Sequence[int]) -> None:
        """Start to load finer levels, as the view is in 3-D now."""
        layer = self._layer()
        if layer is None or getattr(layer, "locked_data_level", 0) is not None:
            return  # this napari cannot lock levels, or the user has locked one
        self._target = finest_that_fits(self._views, displayed, volume_bytes(), largest_texture())
        self._prepare(len(self._views) - 2)

    @property
    def is_loading(self) -> bool:
        """Whether finer levels are being loaded, or have been."""
        return self._target is not None

    def leave(self) -> None:
        """Return to napari's choice of levels: of the view in 2-D, and the coarsest one in 3-D."""
        layer, locked = self._layer(), self._locked
        self._target = self._locked = None
        self._levels.unprepare()
        if layer is not None and locked is not None and layer.locked_data_level == locked:
            layer.locked_data_level = None

    def advance(self) -> bool:
        """Show the prepared level if all of it has been read, and prepare the next one.

        Return whether a level was shown.
        """
        layer, ready = self._layer(), self._levels.prepared_level
        if layer is None or ready is None or self._target is None:
            return False
        if layer.locked_data_level != self._locked:  # the user has chosen another one
            self._target = None
            return False
        self._locked = ready
        layer.locked_data_level = ready
        self._prepare(ready - 1)
        return True

    def _prepare(self, level: int) -> None:
        if self._target is not None and level >= self._target:
            view = self._view_of(level)
            if view is not None:
                self._levels.prepare(level, view)


def hidden_index(position: float, plane: int | None) -> int | slice:
    """Return the index of a level along one axis: all of it if displayed, else one plane."""
    if np.isnan(position):
        return slice(None)
    return plane if plane is not None else int(np.round(position))
