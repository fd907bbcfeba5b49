"""Read xcube's directories "*.levels": datasets 0.zarr, 1.zarr, ..., or links to datasets.

A link is a text file with a path. xcube uses links to share level 0 with the cube that it was made
from, so links out of the store are followed, with a warning each; links to other hosts are not
followed.

Source: xcube-dev/xcube, docs/source/mldatasets.md and xcube/core/mldataset/fs.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from zarr.storage import LocalStore

from napari_pyramid.errors import LayoutError, LayoutNotice
from napari_pyramid.image import Image
from napari_pyramid.layouts._dataset import pyramids
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.stores import is_url, open_root

__all__ = ["FILES", "NAME", "SUFFIXES", "read"]

NAME = "xcube levels"
_FILE = ".zlevels"
FILES = (_FILE,)
SUFFIXES = (".levels",)
_DATASET = re.compile(r"(\d+)(\.zarr)?")
_NAMED = re.compile(r"\.levels(\.zip)?$", re.IGNORECASE)
_LINKS = (".link", ".lnk")
_MAX_LEVELS = 64


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of a directory or zip named ``*.levels``, or with a file ".zlevels"."""
    if not node.is_implicit or not (
        _NAMED.search(node.path or node.opened) or node.read_bytes(_FILE) is not None
    ):
        return None
    groups = list(_levels(node))
    images = pyramids(node, groups, NAME)
    if not images:
        warn(f"{node.location}: none of the levels 0.zarr, 1.zarr, ... (or 0.link) can be read")
        return None
    return images


def _levels(node: Node) -> Iterator[Node]:
    """Yield the readable levels, by number."""
    stored = {
        int(match[1]): child
        for child in node.children()
        if (match := _DATASET.fullmatch(child.name))
    }
    for number in range(max(stored, default=-1) + 1 if stored else 1):
        if number >= _MAX_LEVELS:
            warn(f"{node.location}: more than {_MAX_LEVELS} levels; the others are left out")
            return
        level = stored.get(number) or _linked(node, number)
        if level is not None:
            yield level


def _linked(node: Node, number: int) -> Node | None:
    for suffix in _LINKS:
        file = f"{number}{suffix}"
        content = node.read_bytes(file)
        if content is not None:
            try:
                return _follow(node, file, content.decode().strip())
            except (LayoutError, UnicodeDecodeError, OSError) as error:
                warn(f"{node.location}/{file}: level {number} is left out: {error}")
                return None
    warn(f"{node.location}: level {number} is missing")
    return None


def _follow(node: Node, file: str, target: str) -> Node:
    """Return the root of the dataset that a link names, relative to the directory of the levels.

    Raises
    ------
    LayoutError
        If the link is not one path, leads to another host or back to levels, or does not lead to a
        dataset.
    """
    where = f"{node.location}/{file}"
    if not target or "\n" in target or "\0" in target:
        raise LayoutError("the link is not one path")
    if is_url(target):
        raise LayoutError(f"the link leads to another host, {target[:80]}, and is not followed")
    if not isinstance(node.store, LocalStore):
        raise LayoutError(
            f"the link {target[:80]!r} is not in a directory on this machine; not followed"
        )
    directory = os.path.join(os.fspath(node.store.root), node.path)
    path = os.path.realpath(os.path.join(directory, target))
    if f"{os.path.realpath(directory)}{os.sep}".startswith(f"{path}{os.sep}"):
        raise LayoutError(f"the link {target[:80]!r} leads back to the levels themselves: a cycle")
    if path.endswith(".levels") or os.path.isfile(os.path.join(path, _FILE)):
        raise LayoutError(
            f"the link {target[:80]!r} leads to other levels instead of one dataset; "
            "not followed, it may be a cycle"
        )
    if not path.startswith(f"{os.path.realpath(directory)}{os.sep}"):
        warn(f"{where}: level is read from {path}, outside the opened store", LayoutNotice)
    root = open_root(path)
    if root.is_implicit:
        raise LayoutError(f"{path} is not a zarr dataset")
    return root
