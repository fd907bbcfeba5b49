"""Read small files and names of directories of a zarr store synchronously."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, ZipStore

from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.consolidated_files import consolidated_documents, directory_index
from napari_pyramid.storage.fetch_files import (
    LARGEST_FILE,
    answer_of,
    bounded,
    collected,
    fetch_all,
    names_in,
)
from napari_pyramid.storage.file_names import METADATA_FILES, NODE_FILES, ZARR_FILES

__all__ = ["Files", "files_of"]

_MAX_ENTRIES = 200_000
"""Directories with more entries than this hold chunks; their later names are not looked at."""


class Files(Protocol):
    """Access of a `Node` to the small files of its store, by key."""

    lists_folders_only: bool
    """Whether `names` returns the names of directories only."""

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a file; None if it is missing, OSError if it cannot be read."""

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory that may be directories themselves, in any order.

        Empty if there is no such directory.
        """

    is_far: bool
    """Whether a read takes a round trip to another host, so that `prefetch` saves time."""
    expected_groups: set[str]
    """Paths of groups according to other metadata.

    In zarr v2, only the attributes of such a group are requested.
    """

    def prefetch(self, keys: Iterable[str], *, directories: Iterable[str] = ()) -> None:
        """Read many files and names in directories in parallel, if each takes a round trip.

        Later calls of `read` and `names` then need no request.
        """

    def has(self, key: str) -> bool:
        """Return whether the file was fetched before, and exists."""

    def folder(self, path: str) -> str:
        """Return the identity of a directory, whichever links lead to it.

        `path` itself in a store without links.
        """


class _LocalFiles:
    """A directory on a local disk, read without the event loop of zarr.

    A plate of 384 wells is thousands of small files.
    """

    is_far = False
    lists_folders_only = True

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self.expected_groups: set[str] = set()

    def prefetch(self, keys: Iterable[str], *, directories: Iterable[str] = ()) -> None:
        pass

    def has(self, key: str) -> bool:
        return False

    def read(self, key: str) -> bytes | None:
        try:
            with open(os.path.join(self._root, key), "rb") as file:
                return bounded(file.read(LARGEST_FILE + 1), key)
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
    """Any other store, with one request for each file."""

    is_far = False
    lists_folders_only = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self.expected_groups: set[str] = set()
        self._index: dict[str, set[str]] | None = None
        self._local_root = _local_root(store)
        # Stores of other packages, such as icechunk, may refuse keys that no zarr node has.
        self._takes_any_key = type(store).__module__.startswith(("zarr.", "napari_pyramid."))

    def read(self, key: str) -> bytes | None:
        try:
            buffer = answer_of(self._store.get(key, default_buffer_prototype()))
        except OSError:
            if self._takes_any_key or key.rpartition("/")[2] in ZARR_FILES:
                raise
            return None
        return None if buffer is None else bounded(buffer.to_bytes(), key)

    def prefetch(self, keys: Iterable[str], *, directories: Iterable[str] = ()) -> None:
        pass

    def has(self, key: str) -> bool:
        return False

    def names(self, directory: str) -> list[str]:
        if names := self._listed(directory):
            return names
        if self._index is None:
            self._index = directory_index(self._consolidated_keys())
        return list(self._index.get(directory, ()))

    def folder(self, path: str) -> str:
        if self._local_root is None:
            return path
        return _real(os.fspath(self._local_root), path)

    def _listed(self, directory: str) -> list[str]:
        if not self._store.supports_listing:
            return []
        try:
            names = answer_of(names_in(self._store, directory))
            return [name for name in names if name not in METADATA_FILES]
        except OSError:
            return []  # most web servers answer "not found", "forbidden" or "not supported"

    def _consolidated_keys(self) -> list[str]:
        """Return the keys that consolidated metadata list, for web servers that list nothing."""
        return list(consolidated_documents(self.read))


class _RemoteFiles(_StoreFiles):
    """A store on another host, whose files are read in parallel and kept.

    Consolidated metadata replace the files that they hold.
    """

    is_far = True

    def __init__(self, store: Store, fetched: Mapping[str, bytes | None]) -> None:
        super().__init__(store)
        self._fetched = dict(fetched)
        self._names: dict[str, list[str]] = {}
        self._add_consolidated()

    def read(self, key: str) -> bytes | None:
        if key not in self._fetched:
            self._fetched[key] = super().read(key)
        return self._fetched[key]

    def has(self, key: str) -> bool:
        return self._fetched.get(key) is not None

    def prefetch(self, keys: Iterable[str], *, directories: Iterable[str] = ()) -> None:
        wanted = [key for key in dict.fromkeys(keys) if key not in self._fetched]
        listed = [name for name in directories if self._must_be_listed(name)]
        # A file that cannot be read now fails again, with its name, in `read`.
        files, names = fetch_all(self._store, wanted, listed)
        self._fetched |= files
        self._names |= names

    def names(self, directory: str) -> list[str]:
        if self._must_be_listed(directory):
            self._names[directory] = self._listed(directory)
        if directory in self._names:
            return self._names[directory]
        return list(self._consolidated_index().get(directory, ()))

    def _must_be_listed(self, directory: str) -> bool:
        """Return whether the contents of a directory are still unknown."""
        if directory in self._names:
            return False
        index = self._consolidated_index()
        parent, _, name = directory.rpartition("/")
        return directory not in index and name not in index.get(parent, ())

    def _consolidated_index(self) -> dict[str, set[str]]:
        if self._index is None:
            self._index = directory_index(self._consolidated_keys())
        return self._index

    def _add_consolidated(self) -> None:
        held = consolidated_documents(self._fetched.get)
        for key, document in held.items():
            self._fetched.setdefault(key, json.dumps(document).encode())
        # A node in the consolidated metadata has no other files, so none is requested.
        for key in held:
            directory, _, name = key.rpartition("/")
            if name in NODE_FILES:
                for other in (*NODE_FILES, ".zattrs"):
                    self._fetched.setdefault(f"{directory}/{other}".lstrip("/"), None)


class _IndexedFiles(_StoreFiles):
    """A store that lists all its keys at once (zip), so one pass finds all names."""

    lists_folders_only = True

    def names(self, directory: str) -> list[str]:
        if self._index is None:
            self._index = directory_index(answer_of(collected(self._store.list())))
        return list(self._index.get(directory, ()))


def files_of(store: Store, fetched: Mapping[str, bytes | None] | None = None) -> Files:
    """Return the quickest way to read small files from the store.

    Parameters
    ----------
    fetched
        For a store on another host: files that were read already, None for those that are missing.
    """
    if fetched is not None:
        return _RemoteFiles(store, fetched)
    if isinstance(store, LocalStore):
        return _LocalFiles(store.root)
    archive: Any = getattr(store, "archive", store)  # a folder of a zip
    return _IndexedFiles(store) if isinstance(archive, ZipStore) else _StoreFiles(store)


def _local_root(store: Store) -> Path | None:
    """Return the directory that a store presents in another format, or None for other stores."""
    inner = inner_store(store)
    return inner.root if isinstance(inner, LocalStore) else None


def _real(root: str, path: str) -> str:
    """Return the path without links, with slashes on every system."""
    return os.path.realpath(os.path.join(root, path)).replace(os.sep, "/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other in a circle
        return False
