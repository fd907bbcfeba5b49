"""ndpyramid's pyramids: "multiscales" as in zarr-specs issue 50, but of xarray groups, and the coarsest first."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts._candidates import find
from napari_pyramid.layouts._dataset import data_variables, pyramids
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "ndpyramid"
_KEY = "multiscales"


def read(node: Node) -> Sequence[Image] | None:
    """A list "multiscales" whose datasets are groups that hold variables; datasets that are arrays are another layout."""
    paths = _paths(node)
    if not any(_is_group_with_variables(node, path) for path in paths):
        return None
    groups = [
        group
        for path in paths
        if (group := find(node, path, _KEY)) is not None and group.kind == "group"
    ]
    return pyramids(node, groups, NAME) or None


def _paths(node: Node) -> list[str]:
    entries = node.attributes.get(_KEY)
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return []
    datasets = entries[0].get("datasets")
    if not isinstance(datasets, list):
        return []
    return [d["path"] for d in datasets if isinstance(d, dict) and isinstance(d.get("path"), str)]


def _is_group_with_variables(node: Node, path: str) -> bool:
    try:
        group = node.child(path)
    except LayoutError:  # a path out of the store: for the layout of arrays to tell
        return False
    return group is not None and group.kind == "group" and bool(data_variables(group))
