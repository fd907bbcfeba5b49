"""Turns the arrays that a layout names into checked levels, and attributes into numbers. Knows no layout."""

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
from napari_pyramid.storage.node import Node, warn

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
"""Shapes in metadata may be larger than any array, and then larger than a float, too."""


def find(node: Node, path: object, key: str) -> Node | None:
    """The node at a path that the metadata under `key` give; None, with a warning, when it is missing or not inside the store."""
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
    """Return the levels that can be read, largest first; warnings about any other name `source`.

    For layouts whose order says nothing, or is smallest first; where it counts, use `open_levels`
    itself. The entries hold nodes of arrays, since their shapes decide.
    """
    by_size = sorted(
        entries, key=lambda v: -math.prod(v.array.shape if isinstance(v.array, Node) else ())
    )
    return open_levels(node, by_size, source)


def numbered_arrays(node: Node, pattern: re.Pattern[str]) -> tuple[Node, ...]:
    """The arrays directly below whose whole names match, in natural order."""
    return tuple(
        child
        for child in node.children()
        if child.kind == "array" and pattern.fullmatch(child.name)
    )


def numbers(value: Any, n: int, where: str, *, default: float | None = None) -> Vector | None:
    """`value` as `n` numbers, or None when it is no such list.

    With a `default`, entries that are not finite numbers, or zero where the default is not, become the default with a
    warning that begins with `where`; without, such a list is None.
    """
    if not isinstance(value, (list, tuple)) or len(value) != n:
        if value is not None:
            warn(f"{where}: a list of {n} numbers is expected, not {str(value)[:60]}; ignored")
        return None
    good = [is_number(v) and (v != 0 or not default) for v in value]
    if not all(good):
        warn(
            f"{where}: {str(value)[:60]} is not a list of usable numbers; {'ignored' if default is None else f'replaced by {default:g}'}"
        )
        if default is None:
            return None
    return tuple(float(v) if ok else float(default or 0) for v, ok in zip(value, good, strict=True))


def texts(value: Any, n: int) -> tuple[str | None, ...] | None:
    """`value` as `n` strings; one string counts for all, an entry that is no string is None; None when it is no such list."""
    if isinstance(value, str):
        return (value,) * n
    if not isinstance(value, (list, tuple)) or len(value) != n:
        return None
    return tuple(v if isinstance(v, str) else None for v in value)


def axes_named(
    names: Sequence[str | None] | None, units: Sequence[str | None] | None, ndim: int
) -> tuple[Axis, ...] | None:
    """Axes of these names and units; None when there are not `ndim` different names."""
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
    """Return the node's name; for the root, the name of what was opened without its suffixes."""
    return node.name or node.title


def shape_ratio(fine: Sequence[int], coarse: Sequence[int]) -> Vector:
    """How many samples of `fine` one of `coarse` stands for, per axis."""
    return tuple(
        round(min(f, _LARGEST) / min(max(c, 1), _LARGEST), 6)
        for f, c in zip(fine, coarse, strict=True)
    )
