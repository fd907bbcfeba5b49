"""Walk a hierarchy that is not an image itself, and collect the images below it, within limits."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts._dataset import auxiliaries
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.paths import natural_key

__all__ = ["walk"]

_MAX_DEPTH = 8
_MAX_IMAGES = 256
"""Limit of the images opened at once: a viewer with thousands of layers stops responding."""
_MAX_NODES = 10_000
_MAX_FOLDERS = 1000
"""Limit of the folders without metadata that are searched: a disk has millions."""
_REPEATED = 16
"""Repetitions of a name in a path that show a link to a folder above.

No store nests as deep, and operating systems follow 40 links.
"""
_NO_NUMBERS = re.compile(
    r"^[<>|=]?[OSUVMm]\d*(\[|$)|^\[|string|bytes|utf|datetime|timedelta|struct"
)
"""Data types of texts, dates, objects and records, as zarr v2 and v3 write them."""


def walk(root: Node, read: Callable[[Node], Sequence[Image] | None]) -> list[Image]:
    """Return the images below a group that no layout recognised, in natural order of their paths.

    The walk stops at the first recognised node of each branch, 8 groups deep, and with a warning at
    256 images. An image that cannot be read is left out with a warning. A folder is visited once,
    under its own name even if links lead to it.
    """
    found: list[tuple[Node, Sequence[Image]]] = []
    visited = {root.folder}
    waiting, links = _below((root,)), deque[tuple[Node, ...]]()
    n_images = n_nodes = n_folders = 0
    while waiting or links:
        first_time = bool(waiting)
        chain = waiting.pop() if first_time else links.popleft()
        node = chain[-1]
        if node.is_link and first_time:
            links.append(chain)
            continue
        if node.folder in visited:
            continue
        n_nodes += 1
        n_folders += node.is_implicit
        if node.is_implicit and n_folders > _MAX_FOLDERS:
            continue
        if n_images >= _MAX_IMAGES or n_nodes > _MAX_NODES:
            warn(
                f"{root.location}: only the first {n_images} images are shown; "
                "open a group below for the others"
            )
            break
        visited.add(node.folder)
        if _is_no_image(node):
            continue
        try:
            images = read(node)
        except LayoutError as error:
            warn(f"{node.location} is left out: {error}")
            continue
        if images is not None:
            n_images += len(images)
            found.append((node, images))
            visited |= {root.folder_at(path) for image in images for path in _paths(image)}
        elif node.kind == "group" and len(chain) <= _MAX_DEPTH and not _repeats(chain):
            waiting += _below(chain)
    found.sort(key=lambda entry: [natural_key(part) for part in entry[0].path.split("/")])
    images = [image for _, images in found for image in images]
    planes = [image for image in images if len(image.levels[0].array.shape) > 1]
    # Beside images, an array of one axis is a column of a table or a coordinate.
    return _with_unique_names(planes or images)


def _below(chain: tuple[Node, ...]) -> list[tuple[Node, ...]]:
    """Return the chains that lead to the children of the last node, without coordinates.

    They are in reverse natural order, since the walk takes the last one first.
    """
    node, auxiliary = chain[-1], auxiliaries(chain[-1])
    children = [child for child in node.children() if child.name not in auxiliary]
    return [
        (*chain, child)
        for child in sorted((*children, *node.folders()), key=lambda n: natural_key(n.name))[::-1]
        if not child.name.startswith(".")  # snapshots of file systems, hidden files
    ]


def _paths(image: Image) -> Iterator[str]:
    yield image.path
    yield from (level.path for level in image.levels)


def _repeats(chain: Sequence[Node]) -> bool:
    """Return whether the last group is a link to a group above it.

    Servers that follow links show no real path, so the group must look like the group above, and
    the path from one to the other must lead to a group however often it is repeated.
    """
    node = chain[-1]
    for above in chain[:-1]:
        step = node.path.removeprefix(above.path).strip("/")
        if _looks(node) == _looks(above) and node.child("/".join([step] * _REPEATED)) is not None:
            return True
    return False


def _looks(group: Node) -> tuple[object, ...]:
    return group.metadata, group.attributes, [(c.name, c.metadata) for c in group.children()]


def _is_no_image(node: Node) -> bool:
    """Return whether a node is part of a table: an array of texts or dates, or anndata's group."""
    if node.kind == "group":
        return "encoding-type" in node.attributes
    return _NO_NUMBERS.search(_data_type(node)) is not None


def _data_type(node: Node) -> str:
    """Return the name of the data type: in zarr v3 it may be an object, in v2 a list of fields."""
    given = node.data_type
    return str(given.get("name")) if isinstance(given, dict) else str(given)


def _with_unique_names(images: list[Image]) -> list[Image]:
    """Return the images with unique names: images that share a name are named by their path."""
    names = Counter(image.name for image in images)
    paths = Counter(image.path for image in images if names[image.name] > 1)
    return [
        image if names[image.name] == 1 else replace(image, name=_full_name(image, paths))
        for image in images
    ]


def _full_name(image: Image, paths: Counter[str]) -> str:
    """Return the path; followed by the name if variables of one group share the path."""
    parts = [image.path, image.name] if paths[image.path] > 1 else [image.path or image.name]
    return "/".join(filter(None, parts))
