"""Find the places of the arrays of a source, on this machine or in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.destination import place_in_bucket
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.irregular import Irregular
from napari_pyramid.storage.node_keys import takes_any_key
from napari_pyramid.storage.objects import Objects
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.store_objects import name_of

__all__ = ["directory_of", "place_compared", "place_read", "stored_array"]


def stored_array(array: Any) -> zarr.Array[Any] | None:
    """Return a zarr array, or the one that `array` shows with other axes or chunks, or None."""
    found = array.array if isinstance(array, Transpose) else array
    found = found.array if isinstance(found, Irregular) else found
    return found if isinstance(found, zarr.Array) else None


def directory_of(array: Any) -> Path | None:
    """Return the directory of a zarr array, with or without reordered axes; None for all else."""
    stored = stored_array(array)
    if stored is not None and isinstance(stored.store, LocalStore):
        return Path(stored.store.root) / stored.path
    return None


def place_read(array: Any) -> Place | None:
    """Return the place that a zarr array is read from, also if it cannot be written; or None."""
    stored = stored_array(array)
    if stored is None:
        return None
    store = inner_store(stored.store)
    if isinstance(store, LocalStore):
        return Path(store.root) / stored.path
    if isinstance(store, RemoteStore):
        return Folder(Objects(store, store.address.public, {}), stored.path)
    if isinstance(store, ObjectStore | FsspecStore | MemoryStore) or not takes_any_key(store):
        return Folder(Objects(store, name_of(store)), stored.path)
    return None


def place_compared(array: Any) -> Place | None:
    """Return the place of a zarr array as a destination would name it.

    None for arrays that no destination can overlap, such as arrays on a web server.
    """
    place = place_read(array)
    if isinstance(place, Folder) and isinstance(place.objects.store, RemoteStore):
        store = place.objects.store
        return None if store.address.is_http else place_in_bucket(store, place.path)
    return place
