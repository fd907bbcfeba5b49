"""Add virtual levels to images that napari alone would wait for: too large, or far away.

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

__all__ = ["VISIBLE_KEY", "WHOLE_KEY", "has_virtual_levels", "shows_whole", "with_levels_to_view"]

LARGEST_SIDE = 4096
"""Longest side of a plane that is shown whole without coarser levels."""
LARGEST_CHUNK = 2**27
"""Bytes of a chunk above which coarser levels would not arrive before they are needed."""
VISIBLE_KEY = "visible_when_shown"
"""Key in the origin of a layer for the visibility of a layer that is hidden until it is watched."""
WHOLE_KEY = "is_shown_whole"
"""Key in the origin of a layer whose virtual levels only let it be shown progressively."""


def with_levels_to_view(
    levels: Sequence[LazyArray],
    plane: Sequence[int],
    *,
    depth: int | None,
    nearest: bool,
    is_far: bool = False,
) -> list[LazyArray]:
    """Return `levels`, and virtual levels after them if napari alone would wait for the last one.

    It would if `shows_whole` is False, or if the only level `is_far`: napari reads a layer of one
    level in the GUI thread, and shows one of several levels progressively.

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
    is_far
        Whether the levels are behind a network.
    """
    last = levels[-1]
    chunk = math.prod(last.chunks) * last.dtype.itemsize
    readable = last.is_chunked or len(levels) == 1
    if not readable or (last.is_chunked and chunk > LARGEST_CHUNK):
        return list(levels)
    if not shows_whole(last, plane, depth):
        return [*levels[:-1], *with_virtual_levels(last, plane, depth=depth, nearest=nearest)]
    if is_far and len(levels) == 1:
        return with_virtual_levels(last, plane, depth=depth, nearest=nearest, at_least=1)
    return list(levels)


def shows_whole(level: LazyArray, plane: Sequence[int], depth: int | None) -> bool:
    """Return whether a level can be shown whole.

    Its planes have sides of at most `LARGEST_SIDE`, and its volume has at most the bytes that the
    preferences allow in 3-D.
    """
    return max(level.shape[axis] for axis in plane) <= LARGEST_SIDE and (
        depth is None or _volume_nbytes(level, [*plane, depth]) <= volume_bytes()
    )


def has_virtual_levels(levels: Sequence[Any]) -> bool:
    """Return whether some levels of a layer are not stored."""
    return len(stored_levels(list(levels))) < len(levels)


def _volume_nbytes(level: LazyArray, axes: Sequence[int]) -> int:
    itemsize = level.dtype.itemsize if level.dtype in (np.uint8, np.uint16) else 4
    return math.prod(level.shape[axis] for axis in axes) * itemsize
