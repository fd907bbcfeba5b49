"""Open a path or URL as a read-only zarr store: a directory, zip, N5 container or remote store."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import LocalStore, ZipStore

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import is_url, local_path, parse_address
from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.fetch_files import fetch_files
from napari_pyramid.storage.file_names import NODE_FILES
from napari_pyramid.storage.node import Node, root_node
from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.read_only import ReadOnlyStore
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.transport import Span
from napari_pyramid.storage.web_page import WEB_PAGE

__all__ = ["Found", "is_url", "look_at", "open_above", "open_root", "root_of", "withheld"]

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_IN_N5 = re.compile(r"\.n5(/|$)", re.IGNORECASE)
_NAMED_FILE = re.compile(r"\.(?!(zarr|n5|levels|precomputed)$)[a-z][a-z0-9]{1,7}$", re.IGNORECASE)
"""Last parts of URLs that are rather files than folders."""
_START = 16
"""Number of first bytes of a file that show its format."""
_ROOT_FILES = (
    *NODE_FILES,
    ".zattrs",
    ".zmetadata",
    ".zlevels",
    "attributes.json",
    "datasource-properties.json",
    "info",
)
"""Files that show the format of a store on another host, fetched in one round trip."""


def open_root(
    path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Node:
    """Return the root node of a directory, zip file or URL.

    A directory without zarr metadata is a group without attributes.

    Parameters
    ----------
    path
        A directory, a zip file (recognised by its content, read in place), or a URL (``http``,
        ``https``, ``s3``, ...).
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing is there, it is neither a directory nor a zip, its metadata cannot be read, the
        server refuses every request, or the module for the URL's scheme is not installed.
    """
    path = local_path(os.fspath(path))
    if is_url(path):
        return root_of(look_at(path, storage_options))
    if Path(path).name in ("", "..") and "\0" not in path:
        path = os.path.abspath(path)  # "." has no name to call an image by
    opened = path.rstrip("/\\") or path
    return root_node(_open_local(Path(path)), opened)


def open_above(node: Node) -> Node:
    """Return the root above a node: the opened store, or the directory above it.

    The directory above is returned if the node is itself the root of the opened store.

    Raises
    ------
    LayoutError
        As `open_root`.
    """
    store = inner_store(node.store)
    if not isinstance(store, RemoteStore):
        opened = os.path.realpath(node.opened)
        return open_root(opened if node.path else os.path.dirname(opened))
    connection = store.connection
    above = store.address if node.path else store.address.parent
    try:
        found = _look_for_folder(RemoteStore(connection.at(above)))
    except OSError as error:
        raise LayoutError(str(error)) from error
    return root_of(found)


def is_zip(path: Path) -> bool:
    """Return whether the file starts as zip files do; its name does not matter."""
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
    """Return whether a directory is N5: it has "attributes.json", or is in a directory "*.n5"."""
    if any((path / name).exists() for name in NODE_FILES):
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
        raise LayoutError(f"{path} is not a readable zip file: {error}") from error
    return _in_zip(store, keys)


def _in_zip(store: Store, keys: list[str]) -> Store:
    """Return the store in a zip, of zarr or of N5 presented as zarr.

    A single folder that wraps all files is skipped.
    """
    folder = _wrapping_folder(keys)
    wrapped: Store = _Subfolder(store, folder) if folder else store
    names = {key.rpartition("/")[2] for key in keys}
    # The root of N5 may have no attributes.
    is_n5 = "attributes.json" in names and names.isdisjoint(NODE_FILES)
    return _n5_store(wrapped) if is_n5 else wrapped


def _wrapping_folder(keys: list[str]) -> str:
    """Return ``"x.zarr/"`` if all files of a zip are in that one folder, else ``""``.

    Such a folder is common, but does not conform to the specification.
    """
    tops = {key.partition("/")[0] for key in keys if not key.startswith("__MACOSX/")}
    if len(tops) != 1 or any("/" not in key for key in keys):
        return ""
    return f"{tops.pop()}/"


@dataclass(frozen=True, slots=True)
class Found:
    """The store or file at a URL, after one round trip or two."""

    store: RemoteStore
    """The store at the URL; where a file is there, the store of the folder that it is in."""
    files: Mapping[str, bytes | None]
    """The files of `_ROOT_FILES`, None for those that are missing."""
    key: str = ""
    """Name of the file in the store, "" for a folder."""
    start: bytes = b""
    """The first bytes of the file."""

    @property
    def is_zip(self) -> bool:
        """Whether the file begins as zip files do."""
        return self.start[:4] in _ZIP_MAGIC


def look_at(url: str, options: Mapping[str, Any] | None = None) -> Found:
    """Find whether a URL is a folder with the files of a store, or a file with known first bytes.

    Raises
    ------
    LayoutError
        If the host cannot be reached, refuses every request, or the options or the URL are wrong.
    """
    from napari_pyramid.storage.open_url import open_remote  # only URLs pay for it

    address = parse_address(url)
    folder = Found(open_remote(address, options), {})
    is_file_first = _NAMED_FILE.search(address.name) is not None
    try:
        if is_file_first and (file := _look_for_file(folder.store)) is not None:
            return file
        folder = _look_for_folder(folder.store)
        if any(content is not None for content in folder.files.values()):
            return folder
        if not is_file_first and (file := _look_for_file(folder.store)) is not None:
            return file
    except OSError as error:
        raise LayoutError(str(error)) from error
    if folder.store.refusal is not None:
        raise LayoutError(_refused(folder.store, folder.store.refusal))
    return folder


def _look_for_folder(store: RemoteStore) -> Found:
    return Found(store, fetch_files(store, _ROOT_FILES))


def _look_for_file(store: RemoteStore) -> Found | None:
    address = store.address
    if not address.path:
        return None
    above = RemoteStore(store.connection.at(address.parent))
    start = run(above.fetch(address.key, Span(0, _START)))
    return Found(above, {}, address.key, start) if start else None


def withheld(node: Node) -> str | None:
    """Return the message for a store that its server refuses to send, or None."""
    store = inner_store(node.store)
    if not isinstance(store, RemoteStore) or store.withheld is None:
        return None
    return _refused(store, store.withheld)


_ACCESS = {
    **dict.fromkeys(
        ("http", "https"),
        "a URL that is signed, name:password@ before the host, or a header "
        "(--storage-option headers.NAME=VALUE)",
    ),
    "s3": "a profile or keys (--storage-option profile=NAME), or anonymous=true "
    "where the bucket is public",
    "gs": "a key file (--storage-option service_account=PATH), or anonymous=true "
    "where the bucket is public",
    **dict.fromkeys(
        ("az", "abfs"),
        "the key of the account (--storage-option account_key=KEY) or a sas_token, or "
        "anonymous=true where the container is public",
    ),
}
"""How to get access, by scheme."""


def _refused(store: RemoteStore, refusal: str) -> str:
    """Return the message for a store that the server refuses, with what to do."""
    public = store.address.public
    if refusal == WEB_PAGE:
        return (
            f"{public}: the server answers with a web page: give the address of the "
            "store itself, or log in first and give a signed one"
        )
    how = _ACCESS.get(store.address.scheme, _ACCESS["s3"])
    return (
        f"{public}: the server answers {refusal}: it is private, or not there. "
        f"Check the address, or give {how}"
    )


def root_of(found: Found) -> Node:
    """Return the root of the store that was found; see `open_root`."""
    if found.key:
        return _remote_file(found)
    store, address = found.store, found.store.address
    is_zarr = any(found.files[name] is not None for name in NODE_FILES)
    named = address.format == "n5" or _IN_N5.search(address.path) is not None
    if not is_zarr and (named or found.files["attributes.json"] is not None):
        return root_node(_n5_store(store), address.public, fetched={})
    return root_node(store, address.public, fetched=found.files)


def _remote_file(found: Found) -> Node:
    public = found.store.address.below(found.key).public
    if not found.is_zip:
        raise LayoutError(f"{public} is a file, but neither a zip nor a TIFF: it holds no image")
    from napari_pyramid.storage.remote_zip import RemoteZipStore

    try:
        store = RemoteZipStore(found.store, found.key)
    except (OSError, BadZipFile, ValueError, NotImplementedError) as error:
        raise LayoutError(f"{public} is not a readable zip file: {error}") from error
    opened = _in_zip(store, store.keys())
    return root_node(opened, public, fetched={})


async def _keys(store: Store) -> list[str]:
    return [key async for key in store.list()]


class _Subfolder(ReadOnlyStore):
    """A folder of a zip as a store."""

    def __init__(self, archive: Store, folder: str) -> None:
        super().__init__()
        self.archive = archive
        self.folder = folder

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Subfolder)
            and self.archive == other.archive
            and self.folder == other.folder
        )

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return await self.archive.get(self.folder + key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        return await self.archive.exists(self.folder + key)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for key in self.archive.list_prefix(self.folder + prefix):
            yield key.removeprefix(self.folder)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async for name in self.archive.list_dir(self.folder + prefix):
            yield name

    def close(self) -> None:
        self.archive.close()
        super().close()
