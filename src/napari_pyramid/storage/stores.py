"""Opens a path or URL as a read-only zarr store: directory, zip, N5 or remote. Knows no layout."""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zipfile import BadZipFile

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import FsspecStore, LocalStore, ZipStore

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.node import Node, root_node
from napari_pyramid.storage.private_names import run

__all__ = ["is_url", "open_root"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_IN_N5 = re.compile(r"\.n5(/|$)", re.IGNORECASE)
_NAMED_ZIP = re.compile(r"\.(zip|ozx)$", re.IGNORECASE)
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")
_MODULE_OF_SCHEME = {
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
"""What fsspec needs besides itself for a scheme."""
_NOT_IN_EXTRA = ("gcsfs", "adlfs")
"""Those that ``napari-pyramid[remote]`` does not bring; they bring fsspec."""


def open_root(path: str | os.PathLike[str]) -> Node:
    """The root of what the user opened; a directory without zarr metadata is a group without attributes.

    Parameters
    ----------
    path
        A directory, a zip file (recognised by its content, read in place), or a URL (``http``, ``https``, ``s3``, ...).

    Raises
    ------
    LayoutError
        If nothing is there, it is neither a directory nor a zip, its metadata cannot be read, or the
        module for the URL's scheme is not installed.
    """
    path = os.fspath(path)
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    if not is_url(path) and Path(path).name in ("", "..") and "\0" not in path:
        path = os.path.abspath(path)  # "." has no name to call an image by
    opened = path.rstrip("/\\") or path
    return root_node(_open_url(opened) if is_url(path) else _open_local(Path(path)), opened)


def is_url(path: str) -> bool:
    """Whether the path starts with a scheme ("https://"); a drive letter is none."""
    return _URL.match(path) is not None


def is_zip(path: Path) -> bool:
    """Whether the file starts as zip files do; its name does not matter."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _ZIP_MAGIC
    except OSError:
        return False


def _open_local(path: Path) -> Store:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"
        ) from error
    if stat.S_ISDIR(mode):
        store = LocalStore(path, read_only=True)
        return _n5_store(store) if _is_n5(path) else store
    if stat.S_ISREG(mode) and is_zip(path):
        return _open_zip(path)
    raise LayoutError(
        f"{path} is neither a directory nor a zip file, so it holds no zarr or N5 store"
    )


def _is_n5(path: Path) -> bool:
    """N5 has "attributes.json", or nothing at all in the groups below a directory named ".n5"."""
    if any((path / name).exists() for name in _ZARR_FILES):
        return False
    named = any(part.lower().endswith(".n5") for part in path.parts)
    return named or (path / "attributes.json").is_file()


def _n5_store(store: Store) -> Store:
    from napari_pyramid.storage.n5_store import N5Store  # only N5 pays for its codecs

    return N5Store(store)


def _open_zip(path: Path) -> Store:
    try:
        store = run(ZipStore.open(path, mode="r"))
        keys = run(_keys(store))
    except (OSError, BadZipFile, ValueError, NotImplementedError) as error:
        raise LayoutError(f"{path} is no readable zip file: {error}") from error
    folder = _wrapping_folder(keys)
    wrapped: Store = _Subfolder(store, folder) if folder else store
    is_zarr = any(key.rpartition("/")[2] in _ZARR_FILES for key in keys)
    is_n5 = any(
        key.rpartition("/")[2] == "attributes.json" for key in keys
    )  # the root of N5 may have none
    return _n5_store(wrapped) if is_n5 and not is_zarr else wrapped


def _wrapping_folder(keys: list[str]) -> str:
    """``"x.zarr/"`` when all files of a zip sit in that one folder (not conforming, and common), else ``""``."""
    tops = {key.partition("/")[0] for key in keys if not key.startswith("__MACOSX/")}
    if len(tops) != 1 or any("/" not in key for key in keys):
        return ""
    return f"{tops.pop()}/"


def _open_url(url: str) -> Store:
    if _NAMED_ZIP.search(urlsplit(url).path):
        raise LayoutError(
            f"{url} is a zip file on another host, which is not read in place: download it and open the copy"
        )
    scheme = url.partition("://")[0].lower()
    backend = _MODULE_OF_SCHEME.get(scheme, "fsspec")
    for module in ("fsspec", backend):
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing = (
                f"{backend}: pip install {backend}"
                if backend in _NOT_IN_EXTRA
                else f'{module}: pip install "napari-pyramid[remote]"'
            )
            raise LayoutError(f'{url}: "{scheme}" needs the package {missing}') from error
    try:
        store = FsspecStore.from_url(url, read_only=True)
    # Not narrower: fsspec and its back ends raise their own classes for unknown schemes, hosts and credentials.
    except Exception as error:
        raise LayoutError(f"{url} cannot be opened: {type(error).__name__}: {error}") from error
    return _n5_store(store) if _IN_N5.search(urlsplit(url).path) else store


async def _keys(store: Store) -> list[str]:
    return [key async for key in store.list()]


class _Subfolder(Store):
    """A folder of a zip as a store of its own, which is only read."""

    def __init__(self, archive: ZipStore, folder: str) -> None:
        super().__init__(read_only=True)
        self.archive = archive
        self.folder = folder

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Subfolder)
            and self.archive == other.archive
            and self.folder == other.folder
        )

    # ---- reading ----

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return await self.archive.get(self.folder + key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Any
    ) -> list[Buffer | None]:
        return await self.archive.get_partial_values(
            prototype, [(self.folder + key, part) for key, part in key_ranges]
        )

    async def exists(self, key: str) -> bool:
        return await self.archive.exists(self.folder + key)

    # ---- listing ----

    @property
    def supports_listing(self) -> bool:
        return True

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for key in self.archive.list_prefix(self.folder + prefix):
            yield key.removeprefix(self.folder)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async for name in self.archive.list_dir(self.folder + prefix):
            yield name

    # ---- what a read-only store does not do ----

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    async def set(self, key: str, value: Buffer) -> None:
        raise ValueError(f"{key}: a folder of a zip is read-only")

    async def delete(self, key: str) -> None:
        raise ValueError(f"{key}: a folder of a zip is read-only")

    def close(self) -> None:
        self.archive.close()
        super().close()
