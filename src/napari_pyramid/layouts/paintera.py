"""Read Paintera datasets: a group with "painteraData", and raw data or labels as pyramid "data".

Vectors are in N5's order, as in `n5`. Source: saalfeldlab/paintera README, "Paintera data format".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts import n5
from napari_pyramid.layouts._candidates import checked_levels, image_name, numbered_arrays, numbers
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "Paintera"
_LEVEL = re.compile(r"s\d+")


def read(node: Node) -> Sequence[Image] | None:
    """Return the image or labels of a group with "painteraData".

    () with a warning for label multisets, which are not arrays of numbers.
    """
    description = node.attributes.get("painteraData")
    if not isinstance(description, dict):
        if description is not None:
            warn(f"{node.location}: painteraData is not an object; ignored")
        return None
    data = node.child("data") or node
    if data.attributes.get("isLabelMultiset") is True:
        warn(
            f"{data.location}: isLabelMultiset: a label multiset is not an array of numbers, "
            "so it is left out; convert it to plain labels"
        )
        return ()
    arrays = (data,) if data.kind == "array" else numbered_arrays(data, _LEVEL)
    if not arrays:
        warn(f"{data.location}: painteraData, but no readable s0, s1, ... in it")
        return None
    levels = _levels(data, arrays)
    if not levels:
        return None
    is_label = description.get("type") == "label" or any(
        "maxId" in n.attributes for n in (data, node)
    )
    kind: Literal["image", "labels"] = (
        "labels" if is_label and levels[0].array.dtype.kind in "ui" else "image"
    )
    axes = n5.spatial_axes(data, n5.first_level(arrays, levels))
    return (Image(image_name(node), levels, NAME, node.path, kind, axes=axes),)


def _levels(data: Node, arrays: Sequence[Node]) -> tuple[StoredLevel, ...]:
    """Return the levels in `arrays`, with the offset that "data" has for all of them."""
    offset = numbers(
        data.attributes.get("offset"), arrays[0].ndim, f"{data.location}: offset", default=0
    )
    entries = n5.level_entries(data, arrays, offset and offset[::-1])
    return checked_levels(data, entries, "painteraData")
