"""Find the places of the arrays of a source, on this machine or in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.storage.destination import place_in_bucket
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.node_keys import takes_any_key
from napari_pyramid.storage.objects import Objects
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.store_objects import name_of

__all__ = ["directory_of", "place_compared", "place_read"]


def directory_of(array: Any) -> Path | None:
    """Return the directory of a zarr array, with or without reordered axes; None for all else."""
    if isinstance(array, Transpose):
        array = array.array
    if isinstance(array, zarr.Array) and isinstance(array.store, LocalStore):
        return Path(array.store.root) / array.path
    return None


def place_read(array: Any) -> Place | None:
    """Return the place that a zarr array is read from, also if it cannot be written; or None."""
    if isinstance(array, Transpose):
        array = array.array
    if not isinstance(array, zarr.Array):
        return None
    store = getattr(array.store, "inner", array.store)  # N5 is presented by a store around it
    if isinstance(store, LocalStore):
        return Path(store.root) / array.path
    if isinstance(store, RemoteStore):
        return Folder(Objects(store, store.address.public, {}), array.path)
    if isinstance(store, ObjectStore | FsspecStore | MemoryStore) or not takes_any_key(store):
        return Folder(Objects(store, name_of(store)), array.path)
    return None


def place_compared(array: Any) -> Place | None:
    """Return the place of a zarr array as a destination would name it, or None.

    None for arrays that no destination can be around or in, such as those of a web server.
    """
    place = place_read(array)
    if isinstance(place, Folder) and isinstance(place.objects.store, RemoteStore):
        store = place.objects.store
        return None if store.address.is_http else place_in_bucket(store, place.path)
    return place
