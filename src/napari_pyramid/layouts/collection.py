"""Walks a hierarchy that is no image itself and gathers the images below. Knows how far to look, not what it looks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.storage.node import Node, warn

__all__ = ["walk"]

_MAX_DEPTH = 8
_MAX_IMAGES = 256
"""More are no collection to open at once; a viewer with thousands of layers does not answer any more."""
_MAX_NODES = 10_000
_NO_NUMBERS = re.compile(
    r"^[<>|=]?[OSUVMm]\d*(\[|$)|^\[|string|bytes|utf|datetime|timedelta|struct"
)
"""Data types of texts, dates, objects and records, as zarr v2 and v3 write them."""


def walk(root: Node, read: Callable[[Node], Sequence[Image] | None]) -> list[Image]:
    """The images below a group that no layout recognised, in natural order of their paths.

    It stops at the first recognised node of each branch, 8 groups deep, and with a warning at 256 images.
    An image that cannot be read is left out with a warning.
    """
    images: list[Image] = []
    waiting = [(child, 1) for child in reversed(root.children())]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if len(images) >= _MAX_IMAGES or seen > _MAX_NODES:
            warn(
                f"{root.location}: only the first {len(images)} images are shown; open a group below for the others"
            )
            break
        if _is_no_image(node):
            continue
        try:
            found = read(node)
        except LayoutError as error:
            warn(f"{node.location} is left out: {error}")
            continue
        if found is not None:
            images += found
        elif node.kind == "group" and depth < _MAX_DEPTH:
            waiting += [(child, depth + 1) for child in reversed(node.children())]
    planes = [image for image in images if len(image.levels[0].array.shape) > 1]
    return _told_apart(
        planes or images
    )  # beside images, an array of one axis is a column of a table or a coordinate


def _is_no_image(node: Node) -> bool:
    """Whether it is part of a table: an array of texts and the like, or anything of anndata's."""
    if node.kind == "group":
        return "encoding-type" in node.attributes
    return _NO_NUMBERS.search(_data_type(node)) is not None


def _data_type(node: Node) -> str:
    """Its name; in zarr v3 it may be an object with a name, in v2 a list of fields."""
    given = node.data_type
    return str(given.get("name")) if isinstance(given, dict) else str(given)


def _told_apart(images: list[Image]) -> list[Image]:
    """Images with names of which none is there twice: the path stands in for a name that is not enough."""
    counts = Counter(image.name for image in images)
    return [
        replace(image, name=image.path or image.name) if counts[image.name] > 1 else image
        for image in images
    ]
