"""Find what a place is in a zarr hierarchy, from its metadata files, without opening it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from napari_pyramid.storage.file_names import NODE_FILES
from napari_pyramid.storage.folder import Folder, Place

__all__ = ["is_array", "is_label_place", "is_zarr", "store_root"]

P = TypeVar("P", Path, Folder)


def is_zarr(directory: Place) -> bool:
    """Return whether a directory is a group or array of zarr."""
    return any((directory / name).is_file() for name in NODE_FILES)


def is_array(directory: Place) -> bool:
    """Return whether a directory is an array of zarr."""
    if (directory / ".zarray").is_file():
        return True
    try:
        document = json.loads((directory / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("node_type") == "array"


def store_root(path: P) -> P:
    """Return the outermost zarr group that contains a path, or the path itself."""
    root = path
    for parent in path.parents:
        if is_zarr(parent):
            root = parent
        elif root != path:
            break
    return root


def is_label_place(directory: Place) -> bool:
    """Return whether a directory is ``labels/NAME`` of an image."""
    labels = directory.parent
    return labels.name == "labels" and is_zarr(labels.parent)
