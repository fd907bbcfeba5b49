"""Tell sources apart, so that a stopped build is resumed with the same source only."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, MemoryStore, ObjectStore

from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.build.source_places import place_read, stored_array
from napari_pyramid.image import Image
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.node_keys import takes_any_key

__all__ = ["identity_of_file", "identity_of_stored", "is_presented"]

_SAMPLED = 4096
"""Bytes of a chunk that are compared."""


def identity_of_stored(array: Any) -> dict[str, Any] | None:
    """Return the place of a zarr array, its geometry and a digest of its metadata.

    A store of another package has no address that tells it from others. Its digest covers the first
    bytes of a few chunks too, unless a session (of icechunk) names a snapshot.

    Returns
    -------
    dict or None
        None for all that is not a zarr array in a store which is known to keep its pixels.
    """
    if isinstance(array, Transpose):
        inner = identity_of_stored(array.array)
        return None if inner is None else {**inner, "order": array.order}
    place = place_read(array)
    if place is None:
        return None
    foreign = _foreign_store(array)
    names = ["zarr.json", ".zarray", ".zattrs"]
    if foreign is None:
        names.append("attributes.json")
    found = hashlib.sha256()
    for name in names:
        try:
            found.update((place / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
    geometry = {"shape": list(array.shape), "dtype": str(array.dtype), "chunks": list(array.chunks)}
    identity: dict[str, Any] = {"path": str(place.resolve()), **geometry}
    session = getattr(foreign, "session", None)
    if (snapshot := getattr(session, "snapshot_id", None)) is not None:
        identity["snapshot"] = snapshot
    elif isinstance(place, Folder) and foreign is not None:
        for key in _some_chunks(array):
            found.update((place / key).read_start(_SAMPLED))
    return {**identity, "metadata": found.hexdigest()}


def _foreign_store(array: zarr.Array[Any]) -> Store | None:
    """Return the store of an array if it is of another package; None for all known stores."""
    known = isinstance(array.store, ObjectStore | FsspecStore | MemoryStore)
    return None if known or takes_any_key(array.store) else array.store


def _some_chunks(array: Any) -> list[str]:
    """Return the keys of a few chunks (or shards) of an array from the first to the last.

    Where chunks differ in size, the last one is the last that the longest chunks would have.
    """
    block = getattr(array, "shards", None) or array.chunks  # `Irregular` has no shards
    last = [max(0, -(-n // b) - 1) for n, b in zip(array.shape, block, strict=True)]
    chosen = {tuple(k * n // 2 for n in last) for k in range(3)}
    stored = stored_array(array)
    assert stored is not None
    return [stored.metadata.encode_chunk_key(index) for index in sorted(chosen)]


def is_presented(array: Any) -> bool:
    """Return whether a package presents another format as zarr, such as tifffile does."""
    stored = stored_array(array)
    return stored is not None and _foreign_store(stored) is not None


def identity_of_file(array: Any, origin: Path | None, image: Image | None) -> dict[str, Any] | None:
    """Return the file that an array is read from: path, image, size, time of change; or None.

    Such files are a TIFF, a zip, a memory-mapped array. Neuroglancer's precomputed volumes are
    folders: their file is ``info``, which describes them.
    """
    path = getattr(array, "filename", None) or origin
    if path is not None and Path(path).is_dir():
        path = Path(path) / "info"
    if path is None or not Path(path).is_file():
        return None
    stat = Path(path).stat()
    named = None if image is None else [image.path, image.name]
    geometry = {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "order": getattr(array, "order", None),
        "memory": _place_in_map(array),
    }
    return {
        "path": str(Path(path).resolve()),
        "image": named,
        "size": stat.st_size,
        "changed": stat.st_mtime_ns,
        **geometry,
    }


def _place_in_map(array: Any) -> list[int] | None:
    """Return the first byte and strides of a view of a memory-mapped file; None for all else."""
    mapped = array
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if not isinstance(array, np.memmap) or not isinstance(mapped, mmap.mmap):
        return None
    start = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    return [array.__array_interface__["data"][0] - start, *array.strides]
