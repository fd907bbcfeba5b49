"""Add virtual levels to images whose coarsest stored level is too large to show whole.

Imports no napari.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_pyramid._napari._preferences import volume_bytes
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual_level import stored_levels, with_virtual_levels

__all__ = ["VISIBLE_KEY", "has_virtual_levels", "with_levels_to_view"]

LARGEST_SIDE = 4096
"""Longest side of a plane that is shown whole without coarser levels."""
LARGEST_CHUNK = 2**27
"""Bytes of a chunk above which coarser levels would not arrive before they are needed."""
VISIBLE_KEY = "visible_when_shown"
"""Key in the origin of a layer for the visibility of a layer that is hidden until it is watched."""


def with_levels_to_view(
    levels: Sequence[LazyArray], plane: Sequence[int], *, depth: int | None, nearest: bool
) -> list[LazyArray]:
    """Return `levels`, and virtual levels after them if the coarsest one is too large.

    A level is too large if a plane is longer than `LARGEST_SIDE`, or the volume has more bytes than
    the preferences allow in 3-D.

    Parameters
    ----------
    levels
        The stored levels, largest first.
    plane
        The two axes that napari displays at first.
    depth
        The axis that it displays in addition in 3-D.
    nearest
        Whether the samples are labels.
    """
    last = levels[-1]
    chunk = math.prod(last.chunks) * last.dtype.itemsize
    is_shown_whole = max(last.shape[axis] for axis in plane) <= LARGEST_SIDE and (
        depth is None or _volume_nbytes(last, [*plane, depth]) <= volume_bytes()
    )
    readable = last.is_chunked or len(levels) == 1
    if is_shown_whole or not readable or (last.is_chunked and chunk > LARGEST_CHUNK):
        return list(levels)
    return [*levels[:-1], *with_virtual_levels(last, plane, depth=depth, nearest=nearest)]


def has_virtual_levels(levels: Sequence[Any]) -> bool:
    """Return whether some levels of a layer are not stored."""
    return len(stored_levels(list(levels))) < len(levels)


def _volume_nbytes(level: LazyArray, axes: Sequence[int]) -> int:
    itemsize = level.dtype.itemsize if level.dtype in (np.uint8, np.uint16) else 4
    return math.prod(level.shape[axis] for axis in axes) * itemsize
