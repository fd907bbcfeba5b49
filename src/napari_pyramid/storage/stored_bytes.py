"""Count the bytes that the files of an array take on a disk or in a zip."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, ZipStore

__all__ = ["stored_bytes"]


def stored_bytes(array: zarr.Array[Any]) -> int | None:
    """Return the bytes of all files of an array, its metadata included.

    Returns None for stores that are neither a local directory nor a zip file.
    """
    prefix, store = array.path, array.store
    # Our own stores present another one: an N5 container (inner), or a folder of a zip (archive).
    while (inner := getattr(store, "archive", getattr(store, "inner", None))) is not None:
        prefix, store = (getattr(store, "folder", "") + prefix).rstrip("/"), inner
    if isinstance(store, LocalStore):
        return _directory_bytes(Path(store.root) / prefix)
    if isinstance(store, ZipStore) and store.path is not None:  # None: a file object
        with zipfile.ZipFile(store.path) as archive:
            return sum(
                f.compress_size
                for f in archive.infolist()
                if f.filename.startswith(f"{prefix}/" if prefix else "")
            )
    return None


def _directory_bytes(root: Path) -> int:
    """Return the bytes of all files below a directory; links are not followed."""
    return sum(
        os.lstat(os.path.join(directory, name)).st_size
        for directory, _, names in os.walk(root)
        for name in names
    )
