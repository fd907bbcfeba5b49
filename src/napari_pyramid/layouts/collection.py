"""Walk a hierarchy that is not an image itself, and collect the images below it, within limits."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts._dataset import auxiliaries
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.paths import natural_key

__all__ = ["list_below", "walk"]

_T = TypeVar("_T")

_MAX_DEPTH = 8
_MAX_IMAGES = 256
"""Limit of the images opened at once: a viewer with thousands of layers stops responding."""
_MAX_LISTED = 100_000
"""Limit of the entries that are listed, not opened."""
_MAX_NODES = 200_000
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
    found = list(_visit(root, read, _paths, _MAX_IMAGES))
    found.sort(key=lambda entry: [natural_key(part) for part in entry[0].path.split("/")])
    images = [image for _, images in found for image in images]
    planes = [image for image in images if len(image.levels[0].array.shape) > 1]
    # Beside images, an array of one axis is a column of a table or a coordinate.
    return _with_unique_names(planes or images)


def list_below(
    root: Node, read: Callable[[Node], Sequence[Entry] | None]
) -> Iterator[tuple[Node, Sequence[Entry]]]:
    """Yield the entries of each recognised node below a group, as the walk reaches them.

    Visits the same groups as `walk`, but without its limit on the number of images.

    Parameters
    ----------
    read
        Function that lists the entries of a node, or returns None.
    """
    return _visit(root, read, lambda entry: iter([entry.path]), _MAX_LISTED)


def _visit(
    root: Node,
    read: Callable[[Node], Sequence[_T] | None],
    paths: Callable[[_T], Iterator[str]],
    most: int,
) -> Iterator[tuple[Node, Sequence[_T]]]:
    """Yield each recognised node below a group, with what `read` returned for it.

    Nodes are loaded when the walk reaches them. Links come last, so that a folder is found under
    its own name.
    """
    visited = {root.folder}
    branches, links = [_below((root,))], deque[tuple[Node, ...]]()
    n_found = n_nodes = n_folders = 0
    while branches or links:
        chain = next(branches[-1], None) if branches else links.popleft()
        if chain is None:
            branches.pop()
            continue
        node = chain[-1]
        if node.is_link and branches:
            links.append(chain)
            continue
        if node.folder in visited:
            continue
        n_nodes += 1
        n_folders += node.is_implicit
        if node.is_implicit and n_folders > _MAX_FOLDERS:
            continue
        if n_found >= most or n_nodes > _MAX_NODES:
            warn(
                f"{root.location}: only the first {n_found} images are shown; "
                "open a group below for the others"
            )
            break
        visited.add(node.folder)
        if _is_no_image(node):
            continue
        try:
            found = read(node)
        except LayoutError as error:
            warn(f"{node.location} is left out: {error}")
            continue
        if found is not None:
            n_found += len(found)
            visited |= {root.folder_at(path) for one in found for path in paths(one)}
            yield node, found
        elif node.kind == "group" and len(chain) <= _MAX_DEPTH and not _repeats(chain):
            branches.append(_below(chain))


def _below(chain: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """Yield the chains that lead to the children of the last node, without coordinates.

    Groups come first, in natural order. Arrays come last, because all of them must be loaded to
    find the coordinates among them.
    """
    node = chain[-1]
    arrays = []
    for child in node.below():
        if child.name.startswith("."):  # snapshots of file systems, hidden files
            continue
        if child.kind == "array":
            arrays.append(child)
        else:
            yield (*chain, child)
    auxiliary = auxiliaries(node) if arrays else frozenset()
    yield from ((*chain, child) for child in arrays if child.name not in auxiliary)


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
        if _look_alike(node, above) and node.child("/".join([step] * _REPEATED)) is not None:
            return True
    return False


def _look_alike(group: Node, above: Node) -> bool:
    """Return whether two groups have the same metadata and the same children.

    The children are loaded only if everything before is equal.
    """
    if (group.metadata, group.attributes) != (above.metadata, above.attributes):
        return False
    if group.candidate_names != above.candidate_names:
        return False
    children, theirs = group.children(), above.children()
    return [(c.name, c.metadata) for c in children] == [(c.name, c.metadata) for c in theirs]


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
