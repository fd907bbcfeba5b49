"""Turn the arrays that a layout names into checked levels, and attributes into numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from napari_pyramid.axes import Axis
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import StoredLevel
from napari_pyramid.layouts._levels import LevelEntry, open_levels
from napari_pyramid.storage.json_values import is_number
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = [
    "Vector",
    "axes_named",
    "checked_levels",
    "find",
    "image_name",
    "numbered_arrays",
    "numbers",
    "shape_ratio",
    "texts",
]

Vector = tuple[float, ...]
_LARGEST = 2**63
"""Limit of a length before division: lengths in broken metadata may overflow a float."""


def find(node: Node, path: object, key: str) -> Node | None:
    """Return the node at a path from the metadata under `key`.

    None, with a warning, if the node is missing or the path leads out of the store.
    """
    try:
        child = node.child(path)
    except LayoutError as error:
        warn(f"{error} ({key})")
        return None
    if child is None:
        warn(f"{node.location}: {key} names {path!r}, which is missing or unreadable; left out")
    return child


def checked_levels(
    node: Node, entries: Iterable[LevelEntry], source: str
) -> tuple[StoredLevel, ...]:
    """Return the levels that can be read, largest first; warnings about the others name `source`.

    For layouts in which the order of levels has no meaning, or is smallest first; where the order
    counts, use `open_levels`. The entries must hold nodes, since the shapes decide the order.
    """
    by_size = sorted(
        entries, key=lambda v: -math.prod(v.array.shape if isinstance(v.array, Node) else ())
    )
    return open_levels(node, by_size, source)


def numbered_arrays(node: Node, pattern: re.Pattern[str]) -> tuple[Node, ...]:
    """Return the arrays directly below a node whose whole names match, in natural order."""
    return tuple(
        child
        for child in node.children()
        if child.kind == "array" and pattern.fullmatch(child.name)
    )


def numbers(value: Any, n: int, where: str, *, default: float | None = None) -> Vector | None:
    """Return `value` as `n` floats, or None if it is not a list of `n` numbers.

    Entries are unusable if they are not finite numbers, or are 0 while the default is not. With a
    `default`, they are replaced by it; without one, the whole list is None. Both give a warning
    that starts with `where`.
    """
    if not isinstance(value, (list, tuple)) or len(value) != n:
        if value is not None:
            warn(f"{where}: a list of {n} numbers is expected, not {str(value)[:60]}; ignored")
        return None
    good = [is_number(v) and (v != 0 or not default) for v in value]
    if not all(good):
        warn(
            f"{where}: {str(value)[:60]} is not a list of usable numbers; "
            f"{'ignored' if default is None else f'replaced by {default:g}'}"
        )
        if default is None:
            return None
    return tuple(float(v) if ok else float(default or 0) for v, ok in zip(value, good, strict=True))


def texts(value: Any, n: int) -> tuple[str | None, ...] | None:
    """Return `value` as `n` strings, or None if it is not a string or a list of `n` entries.

    One string counts for all `n`; entries that are not strings become None.
    """
    if isinstance(value, str):
        return (value,) * n
    if not isinstance(value, (list, tuple)) or len(value) != n:
        return None
    return tuple(v if isinstance(v, str) else None for v in value)


def axes_named(
    names: Sequence[str | None] | None, units: Sequence[str | None] | None, ndim: int
) -> tuple[Axis, ...] | None:
    """Return axes with these names and units; None unless there are `ndim` different names."""
    if (
        names is None
        or len(names) != ndim
        or None in names
        or len(set(names)) != ndim
        or "" in names
    ):
        return None
    return tuple(
        Axis.named(str(name), unit)
        for name, unit in zip(names, units or (None,) * ndim, strict=True)
    )


def image_name(node: Node) -> str:
    """Return the name of a node; for the root, the name of the opened path without its suffixes."""
    return node.name or node.title


def shape_ratio(fine: Sequence[int], coarse: Sequence[int]) -> Vector:
    """Return, per axis, how many samples of `fine` one sample of `coarse` covers."""
    return tuple(
        round(min(f, _LARGEST) / min(max(c, 1), _LARGEST), 6)
        for f, c in zip(fine, coarse, strict=True)
    )
