"""Check the shapes and data types of the levels that a layout names, and sort them by size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from napari_pyramid.arrays.virtual import Cast, Crop
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import ArrayLike, StoredLevel
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["LevelEntry", "looks_like_a_pyramid", "looks_rgb", "open_levels", "shrinking"]


@dataclass(frozen=True, slots=True)
class LevelEntry:
    """A level as named by metadata, before any check."""

    array: object
    """Node of the array, or its path relative to the group.

    A level is left out with a warning if this is not a path inside the store.
    """
    scale: tuple[float, ...] | None = None
    translation: tuple[float, ...] | None = None


def open_levels(
    node: Node, entries: Iterable[LevelEntry], source: str, *, any_dtype: bool = False
) -> tuple[StoredLevel, ...]:
    """Return the levels that can be read, largest first; warn of each change to the list.

    A level is left out if it is missing, a group, empty or unreadable, if its rank or data type
    differs from the first level kept, or if it is not smaller than the level before. Levels in the
    wrong order are sorted by size. Levels that are padded beyond the shape that follows from their
    scale are cropped: WEBKNOSSOS pads levels to whole shards.

    Parameters
    ----------
    source
        File and key that name the levels, for messages: ``".zattrs: multiscales[0]"``.
    any_dtype
        Whether the levels may differ in data type, as residuals do, since they are signed. All
        levels are then returned in one type that holds them all.
    """
    opened: list[tuple[StoredLevel, ArrayLike]] = []
    for entry in entries:
        try:
            array_node = _array_node(node, entry.array)
            array = array_node.array()
            _check_fits(array, [a for _, a in opened], any_dtype=any_dtype)
        except LayoutError as error:
            warn(f"{node.location} ({source}): level {brief(_path_of(entry))} is left out: {error}")
            continue
        opened.append((StoredLevel(array_node.path, array, entry.scale, entry.translation), array))
    where = f"{node.location} ({source})"
    levels = shrinking(
        _in_order(_cropped([level for level, _ in opened], [array for _, array in opened]), where),
        where,
    )
    return tuple(_of_one_dtype(levels))


def looks_like_a_pyramid(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Return whether each shape is smaller in some axis than the one before, larger in none."""
    pairs = list(pairwise(shapes))
    return all(
        len(a) == len(b) and a != b and all(m >= n for m, n in zip(a, b, strict=True))
        for a, b in pairs
    )


def looks_rgb(levels: Sequence[StoredLevel]) -> bool:
    """Return whether the last axis seems to hold the colours of an RGB image.

    It does if there are several levels of three axes, if the last axis has 3 or 4 samples in all
    levels, and if the data type is uint8 or float.
    """
    shapes = [level.array.shape for level in levels]
    dtype = levels[0].array.dtype
    kept = len({shape[-1:] for shape in shapes}) == 1 and shapes[0][-1:] in ((3,), (4,))
    return (
        len(levels) > 1 and len(shapes[0]) == 3 and kept and (dtype == "uint8" or dtype.kind == "f")
    )


def _path_of(entry: LevelEntry) -> object:
    return entry.array.path if isinstance(entry.array, Node) else entry.array


def _array_node(node: Node, path: object) -> Node:
    found = path if isinstance(path, Node) else node.child(path)
    if found is None:
        raise LayoutError("there is no array")
    if found.kind == "group":
        raise LayoutError("it is a group, not an array")
    if found.ndim == 0:
        raise LayoutError("it has no axes")
    if not all(0 < n < 2**63 for n in found.shape):
        raise LayoutError(f"its shape is {found.shape}")
    return found


def _check_fits(array: ArrayLike, others: Sequence[ArrayLike], *, any_dtype: bool) -> None:
    if not others:
        return
    first = others[0]
    if array.ndim != first.ndim:
        raise LayoutError(f"it has {array.ndim} axes, the levels before have {first.ndim}")
    if _native(array.dtype) != _native(first.dtype) and not any_dtype:
        raise LayoutError(f"its dtype is {array.dtype}, the levels before have {first.dtype}")


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return (
        dtype if dtype.isnative else dtype.newbyteorder("=")
    )  # numpy's strings have no such method


def _of_one_dtype(levels: list[StoredLevel]) -> list[StoredLevel]:
    """Return the levels in one data type that holds all of them.

    If only byte orders differ, it is the type of the largest level, which is then read as stored.
    """
    dtypes = [level.array.dtype for level in levels]
    if len(set(dtypes)) < 2:
        return levels
    dtype = dtypes[0] if len(set(map(_native, dtypes))) == 1 else np.result_type(*dtypes)
    return [
        level if level.array.dtype == dtype else replace(level, array=Cast(level.array, dtype))
        for level in levels
    ]


def _in_order(levels: list[StoredLevel], where: str) -> list[StoredLevel]:
    """Return the levels largest first; as listed if the listed order or no order fits the sizes."""
    by_size = sorted(levels, key=lambda level: -math.prod(level.array.shape))
    if _never_grows(levels) or not _never_grows(by_size):
        return levels
    listed_backwards = [level.path for level in by_size] == [level.path for level in levels[::-1]]
    warn(
        f"{where}: the order of levels is "
        f"{'smallest' if listed_backwards else 'not largest'} first; sorted by size"
    )
    return by_size


def _never_grows(levels: Sequence[StoredLevel]) -> bool:
    return all(
        m >= n
        for a, b in pairwise(levels)
        for m, n in zip(a.array.shape, b.array.shape, strict=True)
    )


def shrinking(levels: list[StoredLevel], where: str) -> list[StoredLevel]:
    """Return the levels that are smaller than the level before.

    Every other level is left out with a warning that starts with `where`.
    """
    kept = levels[:1]
    for level in levels[1:]:
        shape, before = level.array.shape, kept[-1].array.shape
        if looks_like_a_pyramid([before, shape]):
            kept.append(level)
        else:
            warn(
                f"{where}: level {level.path!r} is left out: its shape {shape} is not smaller than "
                f"{before} of level {kept[-1].path!r}"
            )
    return kept


def _cropped(levels: list[StoredLevel], arrays: Sequence[ArrayLike]) -> list[StoredLevel]:
    """Return the levels, with padding to whole shards cut off.

    The shape without padding is ceil(finest shape / factor), where the factor follows from the
    scales. Levels are only cut if some level does not shrink, which shows that levels are padded.
    The finest level has the smallest scale; sizes do not show which level is the finest, since they
    include the padding.
    """
    shapes = [level.array.shape for level in levels]
    grows = any(n > m for a, b in pairwise(shapes) for m, n in zip(a, b, strict=True))
    repeats = any(a == b for a, b in pairwise(shapes))
    if not grows and not (repeats and any(map(_shards, arrays))):
        return levels
    scales = [level.scale for level in levels]
    areas = [math.prod(abs(s) for s in scale) for scale in scales if scale is not None]
    first = levels[areas.index(min(areas)) if len(areas) == len(levels) else 0]
    cells = [_shards(array) or array.chunks for array in arrays]
    return [
        level if level is first else _crop(level, first, cell)
        for level, cell in zip(levels, cells, strict=True)
    ]


def _shards(array: ArrayLike) -> tuple[int, ...] | None:
    shards: tuple[int, ...] | None = getattr(array, "shards", None)
    return shards


def _crop(level: StoredLevel, first: StoredLevel, cells: tuple[int, ...]) -> StoredLevel:
    if level.scale is None or first.scale is None:
        return level
    stored, full = level.array.shape, first.array.shape
    expected = tuple(
        min(n, max(1, math.ceil(round(m * abs(s0 / s), 6))))
        for n, m, s0, s in zip(stored, full, first.scale, level.scale, strict=True)
    )
    padded = [
        n > e and n == cell * math.ceil(e / cell)
        for n, e, cell in zip(stored, expected, cells, strict=True)
    ]
    if not any(padded):
        return level
    return replace(
        level,
        array=Crop(
            level.array, [e if p else n for n, e, p in zip(stored, expected, padded, strict=True)]
        ),
    )
