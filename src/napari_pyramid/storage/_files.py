"""Small files and names inside a zarr store, read synchronously. Knows nothing of what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Coroutine
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, ZipStore

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.private_names import run

__all__ = ["Files", "files_of"]

T = TypeVar("T")

_MAX_METADATA_BYTES = 64 * 2**20
"""A plate's consolidated metadata may reach tens of megabytes; anything beyond this is no metadata."""

_MAX_ENTRIES = 200_000
"""Directories with more entries than this hold chunks; their later names are not looked at."""


class Files(Protocol):
    """How a `Node` looks at its store: by key, without knowing where the bytes are."""

    lists_folders_only: bool
    """Whether `names` are those of directories and of nothing else."""

    def read(self, key: str) -> bytes | None:
        """The file's bytes, None when there is no such file; OSError when it cannot be read."""

    def names(self, directory: str) -> list[str]:
        """Names in a directory that may be directories themselves, in any order; [] when there is none."""

    def folder(self, path: str) -> str:
        """Return what tells a directory from all others, whichever links lead to it; `path` itself in a store without links."""


class _LocalFiles:
    """A directory on a local disk, read without zarr's event loop: a plate of 384 wells is thousands of small files."""

    lists_folders_only = True

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)

    def read(self, key: str) -> bytes | None:
        try:
            with open(os.path.join(self._root, key), "rb") as file:
                return _bounded(file.read(_MAX_METADATA_BYTES + 1), key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def names(self, directory: str) -> list[str]:
        try:
            with os.scandir(os.path.join(self._root, directory)) as entries:
                return [entry.name for entry in islice(entries, _MAX_ENTRIES) if _is_folder(entry)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folder(self, path: str) -> str:
        return _real(self._root, path)


class _StoreFiles:
    """Any other store, asked one file at a time."""

    lists_folders_only = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: dict[str, set[str]] | None = None
        self._local_root = _local_root(store)

    def read(self, key: str) -> bytes | None:
        buffer = _answer(self._store.get(key, default_buffer_prototype()))
        return None if buffer is None else _bounded(buffer.to_bytes(), key)

    def names(self, directory: str) -> list[str]:
        if names := self._listed(directory):
            return names
        if self._index is None:
            self._index = _directory_index(self._consolidated_keys())
        return list(self._index.get(directory, ()))

    def folder(self, path: str) -> str:
        if self._local_root is None:
            return path
        return _real(os.fspath(self._local_root), path)

    def _listed(self, directory: str) -> list[str]:
        if not self._store.supports_listing:
            return []
        try:
            return _answer(_collect(self._store.list_dir(directory)))
        except OSError:
            return []  # most web servers answer "not found", "forbidden" or "not supported"

    def _consolidated_keys(self) -> list[str]:
        """Most web servers list nothing: consolidated metadata are then the only names, stale or not."""
        for file in ("zarr.json", ".zmetadata"):
            try:
                root = json.loads(self.read(file) or b"null")
                found = (root["consolidated_metadata"] if file == "zarr.json" else root)["metadata"]
                return [key if file == ".zmetadata" else f"{key}/zarr.json" for key in found]
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                continue
        return []


class _IndexedFiles(_StoreFiles):
    """A store that lists all its keys at once (zip): the names of every directory are found in one pass."""

    lists_folders_only = True

    def names(self, directory: str) -> list[str]:
        if self._index is None:
            self._index = _directory_index(_answer(_collect(self._store.list())))
        return list(self._index.get(directory, ()))


def files_of(store: Store) -> Files:
    """The quickest way to read small files from the store."""
    if isinstance(store, LocalStore):
        return _LocalFiles(store.root)
    archive: Any = getattr(store, "archive", store)  # a folder of a zip
    return _IndexedFiles(store) if isinstance(archive, ZipStore) else _StoreFiles(store)


def _local_root(store: Store) -> Path | None:
    """Return the directory that a store presents in another format, None for stores that are no directory."""
    inner = getattr(store, "inner", store)
    return inner.root if isinstance(inner, LocalStore) else None


def _real(root: str, path: str) -> str:
    """Return the path without links, with slashes on every system."""
    return os.path.realpath(os.path.join(root, path)).replace(os.sep, "/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other in a circle
        return False


def _answer(request: Coroutine[Any, Any, T]) -> T:
    """What a store answers; whatever it raises is an OSError, or one of ours."""
    try:
        return run(request)
    except (OSError, LayoutError):
        raise
    # Not narrower: zlib and zipfile for damaged archives, aiohttp and botocore for servers have errors of their own.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


async def _collect(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


def _bounded(content: bytes, key: str) -> bytes:
    if len(content) > _MAX_METADATA_BYTES:
        raise OSError(f"{key} is larger than {_MAX_METADATA_BYTES} bytes, too large for metadata")
    return content


def _directory_index(keys: list[str]) -> dict[str, set[str]]:
    """Directory -> names of its subdirectories, from the keys of all files."""
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
