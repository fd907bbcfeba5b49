"""Keep the consolidated metadata of a group and the groups above it up to date.

zarr-python's own function is not used: it warns that zarr v3 does not specify consolidated
metadata, and silencing a warning silences it for all threads of the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.json_files import write_json

__all__ = ["has_consolidated", "refresh_consolidated", "rewrite_consolidated"]

_V2_FILES = (".zgroup", ".zarray", ".zattrs")


def has_consolidated(group: Place) -> bool:
    """Return whether a group has consolidated metadata.

    They are ``.zmetadata`` in zarr v2, and ``consolidated_metadata`` in v3.
    """
    if (group / ".zmetadata").is_file():
        return True
    document = _read(group / "zarr.json")
    return document is not None and document.get("consolidated_metadata") is not None


def refresh_consolidated(group: Place, *, staging: Place | None = None) -> None:
    """Rewrite the consolidated metadata of `group` and of every zarr group above it that has any.

    Parameters
    ----------
    staging
        Directory in which they are written first; see `write_json`.
    """
    for directory in (group, *group.parents):
        if not any((directory / name).is_file() for name in ("zarr.json", ".zgroup")):
            return
        if has_consolidated(directory):
            rewrite_consolidated(directory, staging=staging)


def rewrite_consolidated(group: Place, *, staging: Place | None = None) -> None:
    """Write the consolidated metadata of one group from the files of all nodes below it."""
    document = _read(group / "zarr.json")
    if document is None:
        write_json(
            group / ".zmetadata",
            {"metadata": dict(_files_v2(group)), "zarr_consolidated_format": 1},
            staging=staging,
        )
        return
    document["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": dict(_nodes_v3(group)),
    }
    write_json(group / "zarr.json", document, staging=staging)


def _nodes_v3(group: Place, below: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and metadata of every node below a group; chunks are not looked at."""
    for name in _folders(group):
        document = _read(group / name / "zarr.json")
        if document is not None:
            own = {k: v for k, v in document.items() if k != "consolidated_metadata"}
            yield f"{below}{name}", own
        # A folder without metadata may hold nodes, too: a level may be at "scale/0".
        if document is None or document.get("node_type") == "group":
            yield from _nodes_v3(group / name, f"{below}{name}/")


def _files_v2(group: Place, below: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and content of the metadata files of a group and of every node below it."""
    for file in _V2_FILES:
        if (document := _read(group / file)) is not None:
            yield f"{below}{file}", document
    if (group / ".zarray").is_file():
        return
    for name in _folders(group):
        yield from _files_v2(group / name, f"{below}{name}/")


def _folders(directory: Place) -> list[str]:
    """Return the names of the folders in a directory.

    Hidden folders are left out, and links that lead back to the directory or above it.
    """
    above = {folder.resolve() for folder in (directory, *directory.parents)}
    return sorted(
        folder.name
        for folder in directory.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.resolve() not in above
    )


def _read(file: Place) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
