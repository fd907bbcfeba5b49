"""Find the store that holds the chunks of an array, and their keys in it.

N5 is presented as zarr by a store around the one that holds the blocks, and a folder of a zip by a
store around the zip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zarr
from zarr.abc.store import Store

__all__ = ["Key", "chunk_places", "inner_store"]

Key = Callable[[tuple[int, ...]], str]
"""Returns the key of a chunk or shard from its index."""


def inner_store(store: Store) -> Store:
    """Return the store of the container: the one inside `store` if it is N5, or `store` itself."""
    inner: Store = getattr(store, "inner", store)
    return inner


def chunk_places(array: zarr.Array[Any]) -> tuple[Store, Key]:
    """Return the store that holds the chunks of `array`, and the function of their keys in it."""
    start, encode = f"{array.path}/" if array.path else "", array.metadata.encode_chunk_key
    store = inner_store(array.store)
    folder: str = getattr(store, "folder", "")
    block_key: Callable[[str], str] | None = getattr(array.store, "block_key", None)
    if block_key is None:
        start = folder + start
        return _archive(store), lambda index: start + encode(index)
    return _archive(store), lambda index: folder + block_key(start + encode(index))


def _archive(store: Store) -> Store:
    """Return the zip of which `store` is a folder, or `store` itself."""
    archive: Store = getattr(store, "archive", store)
    return archive
