"""xarray datasets without any list of levels: groups scale0, scale1, ... (multiscale-spatial-image), or one dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari_pyramid.image import Image
from napari_pyramid.layouts._dataset import data_variables, is_dataset, pyramids
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "xarray"
_LEVEL = re.compile(r"scale\d+")


def read(node: Node) -> Sequence[Image] | None:
    """Groups named scale0, scale1, ... that hold the same variables, or a group whose variables have coordinates."""
    if node.kind != "group":
        return None
    levels = [
        child for child in node.children() if child.kind == "group" and _LEVEL.fullmatch(child.name)
    ]
    if levels and all(data_variables(level) for level in levels) and is_dataset(levels[0]):
        return pyramids(node, levels, "multiscale-spatial-image") or None
    return pyramids(node, [node], NAME) or None if is_dataset(node) else None
