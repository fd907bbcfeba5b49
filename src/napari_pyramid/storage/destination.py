"""Open what a build writes to: a directory, a bucket, or a folder of an opened store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from napari_pyramid.errors import DestinationError, LayoutError
from napari_pyramid.storage.address import disk_path, parse_address
from napari_pyramid.storage.connection import Connection
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.fsspec_transport import FsspecTransport
from napari_pyramid.storage.node_keys import NodeKeysStore, takes_any_key
from napari_pyramid.storage.objects import Objects, StoreError
from napari_pyramid.storage.obstore_transport import ObstoreTransport
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.store_objects import name_of, store_and_path

__all__ = ["is_anonymous", "open_destination", "place_in_bucket", "place_of_array"]

_NOT_OF_A_NODE = ".building/state.json"


def open_destination(given: Any, storage_options: Mapping[str, Any] | None = None) -> Place:
    """Return the place that a path, a URL or an opened store is; nothing is written.

    Parameters
    ----------
    given
        A path; a URL (``s3``, ``gs``, ``az``, or of a file system of fsspec); a writable zarr
        Store, StorePath or Group; an object store of obstore; a mapper of fsspec; a dictionary; a
        `Folder`, which is returned as it is.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    DestinationError
        If it cannot be written to, or is not a path, URL or opened store.
    """
    if isinstance(given, Folder):
        return given
    if isinstance(given, str | os.PathLike):
        on_disk = disk_path(given)
        return _of_url(os.fspath(given), storage_options) if on_disk is None else on_disk
    try:
        store, path = store_and_path(given, read_only=False)
    except LayoutError as error:
        raise DestinationError(error.message) from error
    if isinstance(given, zarr.Array):
        raise DestinationError("an array holds chunks only: give a Group, a Store or a path")
    return _of_store(store, path)


def place_of_array(array: Any) -> Place | None:
    """Return the place of a zarr array, so that levels can be put beside it.

    None for all that is not a zarr array, and for stores that cannot be written, like a zip.

    Raises
    ------
    DestinationError
        If the array is on a web server.
    """
    if not isinstance(array, zarr.Array):
        return None
    store = array.store
    if isinstance(store, LocalStore):
        return Path(store.root) / array.path
    if isinstance(store, RemoteStore):
        return place_in_bucket(store, array.path)
    if not store.supports_writes or getattr(store, "inner", None) is not None:
        return None
    try:
        return _of_store(store.with_read_only(False) if store.read_only else store, array.path)
    except NotImplementedError:
        return None


def place_in_bucket(store: RemoteStore, path: str = "") -> Folder:
    """Return the writable place of a path in a store that was opened for reading.

    Raises
    ------
    DestinationError
        If the store is on a web server.
    """
    above = _of_connection(store)
    return above / path if path else above


def is_anonymous(place: Folder) -> bool:
    """Return whether requests to a bucket are not signed, because there are no credentials."""
    opened = getattr(place.objects.store, "store", None)
    config = getattr(opened, "config", None) or {}
    return str(config.get("skip_signature", "")).lower() == "true"


def _of_url(url: str, options: Mapping[str, Any] | None) -> Folder:
    from napari_pyramid.storage.open_url import open_remote  # only URLs pay for it

    try:
        return _of_connection(open_remote(parse_address(url), options))
    except LayoutError as error:
        raise DestinationError(error.message) from error


def _of_connection(store: RemoteStore) -> Folder:
    address, connection = store.address, store.connection
    if address.is_http:
        raise DestinationError(
            f"{address.public}: a web server cannot be written to: give s3://, gs://, az:// or a "
            "directory"
        )
    transport = connection.transports()[0]
    if isinstance(transport, ObstoreTransport):
        opened: Store = ObjectStore(transport.store)
        path = transport.prefix.strip("/")
    else:
        assert isinstance(transport, FsspecTransport)
        path, above = transport.prefix.strip("/"), ""
        if transport.prefix.startswith("/"):  # keys of zarr are relative, such paths are not
            above, _, path = path.partition("/")
            above = f"/{above}"
        opened = FsspecStore(_asynchronous(transport.system), path=above)
    root = address.public.removesuffix(path).removesuffix("/")
    opener = partial(_objects_of, connection)
    return Folder(Objects(opened, root, dict(connection.given), opener=opener), path)


def _objects_of(connection: Connection) -> Objects:
    return _of_connection(RemoteStore(connection)).objects


def _asynchronous(system: Any) -> Any:
    if system.async_impl:
        return system
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    return AsyncFileSystemWrapper(system, asynchronous=True)


def _of_store(store: Store, path: str) -> Place:
    if isinstance(store, LocalStore):
        return Path(store.root) / path
    able = store.supports_writes and store.supports_deletes and store.supports_listing
    if store.read_only or _session_is_read_only(store) or not able:
        raise DestinationError(
            f"{name_of(store)} is read-only, or does not list or delete objects: "
            "give a store that can be written"
        )
    objects = Objects(store, name_of(store))
    if not takes_any_key(store) and _takes_keys_of_nodes_only(objects):
        objects = Objects(NodeKeysStore.of(store), objects.root)
    return Folder(objects, path)


def _session_is_read_only(store: Store) -> bool:
    """Return whether a store is of a session that takes no writes; its own flag may differ."""
    return bool(getattr(getattr(store, "session", None), "read_only", False))


def _takes_keys_of_nodes_only(objects: Objects) -> bool:
    try:
        objects.get(_NOT_OF_A_NODE)
    except StoreError:
        return True
    return False
