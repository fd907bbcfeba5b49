"""Turn an opened store of another package into a node.

Such stores are a zarr Group, Array or Store, an icechunk session, a mapping and others.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, StorePath

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import public_url
from napari_pyramid.storage.node import Node, root_node

__all__ = ["is_opened_store", "is_path", "name_of", "open_object", "place_of", "store_and_path"]


def is_path(given: object) -> bool:
    """Return whether `given` is a path or URL rather than an opened store."""
    return isinstance(given, str | os.PathLike)


def open_object(given: object) -> Node:
    """Return the node of an opened store, or of a group or array in one.

    Parameters
    ----------
    given
        A zarr Group, Array, Store or StorePath; any object whose attribute ``store`` is a zarr
        store (an icechunk session); an object store of obstore; a mapper of fsspec; a dictionary of
        keys and bytes.

    Raises
    ------
    LayoutError
        If it is something else, or its metadata cannot be read.
    """
    store, path = store_and_path(given)
    root = root_node(store, name_of(store))
    node = root.child(path) if path else root
    if node is None:
        raise LayoutError(f"{root.location}/{path}: there is no group or array")
    return node


def place_of(given: object) -> str:
    """Return where an opened store, or a path, is: for messages and metadata."""
    if isinstance(given, str | os.PathLike):
        return public_url(os.fspath(given))
    store, path = store_and_path(given)
    return f"{name_of(store)}/{path}" if path else name_of(store)


def store_and_path(given: Any, *, read_only: bool = True) -> tuple[Store, str]:
    """Return the zarr store of an opened store, and the path in it; see `open_object`.

    Parameters
    ----------
    read_only
        Whether a store that is made around an object of another package refuses writes.

    Raises
    ------
    LayoutError
        If it is no opened store.
    """
    if isinstance(given, zarr.Group | zarr.Array):
        return given.store, given.path
    if isinstance(given, StorePath):
        return given.store, given.path
    if isinstance(given, Store):
        return given, ""
    if type(given).__module__.startswith("obstore"):
        return ObjectStore(given, read_only=read_only), ""
    if isinstance(getattr(given, "store", None), Store):
        return given.store, ""
    if hasattr(given, "fs") and hasattr(given, "root"):
        return FsspecStore.from_mapper(given, read_only=read_only), ""
    if isinstance(given, MutableMapping):
        return MemoryStore(dict(given) if read_only else given, read_only=read_only), ""
    raise LayoutError(
        f"a {type(given).__name__} cannot be opened: expected a path, a URL, "
        "or a zarr Group, Array or Store"
    )


def is_opened_store(given: object) -> bool:
    """Return whether `given` is an opened store, or a group or array in one; see `open_object`."""
    try:
        store_and_path(given)
    except LayoutError:
        return False
    return True


def name_of(store: Store) -> str:
    """Return where a store is, without secrets; the name of its type if that is unknown."""
    if isinstance(store, LocalStore):
        return str(store.root)
    if isinstance(store, FsspecStore):
        return public_url(f"{_scheme_of(store)}://{store.path}")
    address = getattr(store, "address", None)
    return getattr(address, "public", None) or type(store).__name__


def _scheme_of(store: FsspecStore) -> str:
    protocol = store.fs.protocol
    return str(protocol if isinstance(protocol, str) else protocol[0])
