"""Find files and directories in consolidated metadata, for servers that list nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["consolidated_documents", "directory_index"]


def consolidated_documents(read: Callable[[str], bytes | None]) -> dict[str, Any]:
    """Return the metadata files in the consolidated metadata of the root, by key."""
    for file in ("zarr.json", ".zmetadata"):
        try:
            root = json.loads(read(file) or b"null")
            found = (root["consolidated_metadata"] if file == "zarr.json" else root)["metadata"]
            return {
                key if file == ".zmetadata" else f"{key}/zarr.json": document
                for key, document in found.items()
                if isinstance(document, dict)
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return {}


def directory_index(keys: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of the subdirectories of each directory, from the keys of all files."""
    index: dict[str, set[str]] = {}
    for key in keys:
        directory, _, _ = key.rpartition("/")
        while directory:
            parent, _, name = directory.rpartition("/")
            siblings = index.setdefault(parent, set())
            if name in siblings:
                break
            siblings.add(name)
            directory = parent
    return index
