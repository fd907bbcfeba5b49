"""Find the store that holds the chunks of an array, and their keys in it.

N5 is presented as zarr by a store around the one that holds the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zarr
from zarr.abc.store import Store

__all__ = ["chunk_key", "inner_store"]


def inner_store(store: Store) -> Store:
    """Return the store that holds the chunks: the one inside `store`, or `store` itself."""
    inner: Store = getattr(store, "inner", store)
    return inner


def chunk_key(array: zarr.Array[Any]) -> Callable[[tuple[int, ...]], str]:
    """Return a function from the index of a chunk or shard to its key in `inner_store`."""
    start, encode = f"{array.path}/" if array.path else "", array.metadata.encode_chunk_key
    block_key: Callable[[str], str] | None = getattr(array.store, "block_key", None)
    if block_key is None:
        return lambda index: start + encode(index)
    return lambda index: block_key(start + encode(index))
