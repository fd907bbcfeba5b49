"""Read xarray datasets without a list of levels: groups scale0, scale1, ..., or one dataset.

multiscale-spatial-image writes the groups scale0, scale1, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from napari_pyramid.image import Image
from napari_pyramid.layouts._dataset import data_variables, is_dataset, placed, pyramids
from napari_pyramid.layouts._levels import LevelEntry, looks_like_a_pyramid
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "xarray"
_NUMBERED = re.compile(r"(.*?)(\d+)")
_PREFIX = "scale"
_MAX_DEPTH = 8
_MOST = 64
"""Limit of missing levels in a warning: an array halved 64 times has no sample left."""
_OTHER_LAYOUTS = ("ome", "multiscales", "plate", "well")


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of groups that hold a variable at several resolutions, or of a dataset.

    A dataset is a group whose variables have coordinates; the groups below it are read as well.
    """
    if node.kind != "group":
        return None
    groups = [child for child in node.children() if child.kind == "group"]
    levels = [group for group in groups if _number(group, _PREFIX) is not None]
    if any(map(is_dataset, levels)) or any(_shrink(found) for found in _by_variable(levels)):
        _warn_of_gaps(node, levels)
        return pyramids(node, levels, "multiscale-spatial-image") or None
    if not data_variables(node) and _are_numbered(groups) and _are_one_place(groups):
        return pyramids(node, groups, f"{NAME} groups") or None
    return _tree(node) or None if is_dataset(node) else None


def _tree(node: Node, depth: int = 0) -> list[Image]:
    """Return the variables of xarray's DataTree: of a dataset and the groups below it.

    Groups below may have no coordinates: they inherit the coordinates of the group above. Groups of
    another layout, or with variables without named axes, are not part of the tree.
    """
    images = list(pyramids(node, [node], NAME))
    for group in node.children():
        if group.kind == "group" and depth < _MAX_DEPTH and _is_part(group):
            below = _tree(group, depth + 1)
            images += [replace(image, name=f"{group.name}/{image.name}") for image in below]
    return images


def _is_part(group: Node) -> bool:
    return not any(key in group.attributes for key in _OTHER_LAYOUTS) and all(
        variable.dimension_names for variable in data_variables(group)
    )


def _number(group: Node, prefix: str) -> int | None:
    match = _NUMBERED.fullmatch(group.name)
    return int(match[2]) if match and match[1] == prefix else None


def _warn_of_gaps(node: Node, levels: Sequence[Node]) -> None:
    numbers = {_number(level, _PREFIX) or 0 for level in levels}
    missing = [f"{_PREFIX}{k}" for k in range(min(max(numbers), _MOST)) if k not in numbers]
    if missing:
        warn(f"{node.location}: levels {', '.join(missing)} are missing; left out")


def _are_numbered(groups: Sequence[Node]) -> bool:
    """Return whether there are several groups, whose names differ only in the number at the end."""
    matches = [_NUMBERED.fullmatch(group.name) for group in groups]
    return len(groups) > 1 and all(matches) and len({match[1] for match in matches if match}) == 1


def _by_variable(groups: Sequence[Node]) -> Iterator[list[tuple[Node, Node]]]:
    """Yield the pairs of group and array, for every variable that several groups have."""
    pairs = [(group, variable) for group in groups for variable in data_variables(group)]
    for name in dict.fromkeys(variable.name for _, variable in pairs):
        found = [(group, variable) for group, variable in pairs if variable.name == name]
        if len(found) > 1:
            yield found


def _shrink(found: Sequence[tuple[Node, Node]]) -> bool:
    shapes = sorted((variable.shape for _, variable in found), reverse=True)
    return len({len(shape) for shape in shapes}) == 1 and looks_like_a_pyramid(shapes)


def _are_one_place(groups: Sequence[Node]) -> bool:
    """Return whether variables shrink from group to group, and cover the same rectangle.

    Otherwise numbered groups are separate images: positions, timepoints, tiles.
    """
    series = [found for found in _by_variable(groups) if _shrink(found)]
    return bool(series) and all(
        _cover_the_same(a, b)
        for found in series
        for a, b in pairwise([(variable, placed(group, variable)) for group, variable in found])
    )


def _cover_the_same(a: tuple[Node, LevelEntry], b: tuple[Node, LevelEntry]) -> bool:
    """Return whether the edges of two placed variables are less than a pixel apart.

    The pixel is of the coarser variable; only the last two axes are compared.
    """
    scale_a, scale_b = a[1].scale, b[1].scale
    if scale_a is None or scale_b is None:
        return False
    return all(
        abs(edge_a - edge_b) < max(abs(scale_a[axis]), abs(scale_b[axis]))
        for axis in (-2, -1)
        for edge_a, edge_b in zip(_edges(*a, axis), _edges(*b, axis), strict=True)
    )


def _edges(variable: Node, placed: LevelEntry, axis: int) -> tuple[float, float]:
    """Return the start of the first pixel and the end of the last one, along an axis."""
    scale, translation = (placed.scale or ())[axis], (placed.translation or ())[axis]
    start = translation - scale / 2
    return start, start + scale * variable.shape[axis]
