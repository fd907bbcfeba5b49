"""Read the metadata documents of one group or array, of zarr v3 or v2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.storage._files import Files
from napari_pyramid.storage.file_names import NODE_FILES
from napari_pyramid.storage.layout_warnings import brief
from napari_pyramid.storage.paths import join

__all__ = ["Kind", "read_json", "read_metadata"]

Kind = Literal["group", "array"]
"""Files that make a directory a group or an array, in the order in which they are looked for."""


def read_metadata(
    files: Files, path: str, *, above: Literal[2, 3] | None = None
) -> dict[str, Any] | None:
    """Return the metadata of a node, zarr v3 before v2; None if it has no metadata.

    On another host, where each file is a round trip, fetched files and the format of the group
    above come first.
    """
    order: Sequence[str] = NODE_FILES
    if files.is_far:
        if path in files.expected_groups and files.has(join(path, ".zattrs")):
            return {"zarr_format": 2}
        if above is not None:
            order = ("zarr.json",) if above == 3 else (".zarray", ".zgroup", "zarr.json")
        order = sorted(order, key=lambda file: not files.has(join(path, file)))
        if not files.has(join(path, order[0])):
            files.prefetch(join(path, file) for file in order)
    for file in order:
        key = join(path, file)
        metadata = read_json(files, key)
        if metadata is None:
            continue
        if not isinstance(metadata, dict):
            raise LayoutError(f"{key}: not an object but {brief(metadata)}")
        if file == "zarr.json" and metadata.get("node_type") not in ("array", "group"):
            raise LayoutError(
                f'{key}: "node_type" is {brief(metadata.get("node_type"))}, '
                'expected "array" or "group"'
            )
        if file == "zarr.json":
            return {**metadata, "zarr_format": 3}
        return (
            {"zarr_format": 2, **metadata}
            if file == ".zgroup"
            else {"shape": None, **metadata, "zarr_format": 2}
        )
    return None


def read_json(files: Files, key: str) -> Any:
    """Return the contents of a JSON file; None if the file is missing.

    Raises
    ------
    LayoutError
        If the file cannot be read; the message names the key.
    """
    try:
        content = files.read(key)
        return None if content is None else json.loads(content)
    except LayoutError:  # of a store that presents another format, and names the file that there is
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise LayoutError(f"{key} cannot be read: {one_line(error)}") from error
