"""Find out by listing a bucket which chunks of an array are absent, before requesting them.

A request for a missing chunk costs as much as one for a chunk; a listing names a thousand.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import ObjectStore, StorePath, WrapperStore

from napari_pyramid.storage.file_names import ARRAY_FILES
from napari_pyramid.storage.objects import as_folder
from napari_pyramid.storage.present_chunks import index_of
from napari_pyramid.storage.remote_store import RemoteStore

__all__ = ["ListedBlocks"]

MOST_LISTED = 2**14
"""Most blocks below a prefix that is listed: 16 requests.

Arrays with more are listed by the first indices in the keys, where blocks are read.
"""
_MOST_KEPT = 256
"""Prefixes whose blocks are kept in memory, of one byte a block."""
_PAGE = 1000
"""Keys of one answer."""


class ListedBlocks:
    """The chunks (or shards) that a bucket lists below the path of an array.

    Parameters
    ----------
    bucket
        An object store of obstore.
    prefix
        What the keys of the array begin with in the bucket.
    """

    def __init__(self, array: zarr.Array[Any], bucket: Any, prefix: str) -> None:
        block = array.shards or array.chunks
        self._grid = tuple(-(-n // b) for n, b in zip(array.shape, block, strict=True))
        self._key = array.metadata.encode_chunk_key
        self._bucket, self._prefix = bucket, prefix
        self._depth = self._depth_of_prefixes()
        self._maps: OrderedDict[tuple[int, ...], npt.NDArray[np.bool_]] = OrderedDict()
        self._lists: bool | None = None
        self._guard = threading.Lock()

    @classmethod
    def of(cls, array: Any) -> ListedBlocks | None:
        """Return the listed blocks of a zarr array in a bucket; None for all else."""
        if not isinstance(array, zarr.Array):
            return None
        store = array.store
        if isinstance(store, RemoteStore):
            found = store.bucket
        elif isinstance(store, ObjectStore) and type(store.store).__name__ != "HTTPStore":
            found = store.store, ""
        else:
            found = None
        return None if found is None else cls(array, found[0], as_folder(found[1] + array.path))

    def _depth_of_prefixes(self) -> int | None:
        """Return how many indices a listed prefix has; None if no listing is short enough.

        Keys that separate their indices by dots have no folders that could be listed.
        """
        has_folders = self._key((0,) * len(self._grid)).count("/") >= len(self._grid) - 1
        for depth in range(max(1, len(self._grid))):
            if math.prod(self._grid[depth:]) <= MOST_LISTED:
                return depth if depth == 0 or has_folders else None
        return None

    def _folder(self, lead: tuple[int, ...]) -> str:
        """Return the folder, below the array, of all blocks with some first indices."""
        n_rest = len(self._grid) - len(lead)
        parts = self._key((*lead, *(0,) * n_rest)).split("/")
        return as_folder("/".join(parts[:-n_rest])) if lead else ""

    def any_in(self, blocks: tuple[slice, ...]) -> bool:
        """Return whether any block may exist in a region of the grid of blocks."""
        if self._depth is None or not self._is_listed():
            return True
        leads = itertools.product(*(range(s.start, s.stop) for s in blocks[: self._depth]))
        # All of them are listed, for `is_absent`.
        found = [self._map(lead)[blocks[self._depth :]].any() for lead in leads]
        return any(found)

    def is_absent(self, index: tuple[int, ...]) -> bool:
        """Return whether a block is known to be absent; makes no request."""
        if self._depth is None or len(index) != len(self._grid):
            return False
        found = self._maps.get(index[: self._depth])
        inside = all(i < n for i, n in zip(index, self._grid, strict=True))
        return found is not None and inside and not found[index[self._depth :]]

    def _map(self, lead: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        with self._guard:
            found = self._maps.get(lead)
            if found is None:
                found = self._maps[lead] = self._listed(lead)
            self._maps.move_to_end(lead)
            if len(self._maps) > _MOST_KEPT:
                self._maps.popitem(last=False)
        return found

    def without_absent(self, array: zarr.Array[Any]) -> zarr.Array[Any]:
        """Return the array with a store that answers for absent blocks without a request.

        The store knows the absent blocks of the regions that `any_in` was asked for.
        """
        at = StorePath(ListedStore(array.store, self, as_folder(array.path)), array.path)
        return zarr.Array(zarr.AsyncArray(array.metadata, at))

    def _is_listed(self) -> bool:
        """Return whether the bucket lists the array: its metadata, or at least a block.

        A listing without both may come from a server that has no listing.
        """
        with self._guard:
            if self._lists is None:
                keys = self._keys("", most=_PAGE)
                self._lists = keys is not None and any(
                    key in ARRAY_FILES or index_of(key) is not None for key in keys
                )
            return self._lists

    def _listed(self, lead: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Return which blocks with some first indices exist; all of them if listing fails."""
        shape = self._grid[len(lead) :]
        folder = self._folder(lead)
        keys = self._keys(folder)
        if keys is None:
            return np.ones(shape, bool)
        found = np.zeros(shape, bool)
        for key in keys:
            index = index_of(folder + key)
            if index is None or len(index) != len(self._grid) or index[: len(lead)] != lead:
                continue
            if all(i < n for i, n in zip(index, self._grid, strict=True)):
                found[index[len(lead) :]] = True
        return found

    def _keys(self, below: str, most: int | None = None) -> list[str] | None:
        """Return the keys in a folder of the array, or the first of them; None if that fails."""
        start = self._prefix + below
        try:
            found = list(itertools.islice(_paths(self._bucket, start), most))
        # Not narrower: the right to list may be missing, and obstore has classes of its own.
        except Exception:
            return None
        if not all(path.startswith(start) for path in found):
            return None
        return [path[len(start) :] for path in found]


class ListedStore(WrapperStore[Any]):
    """A store that makes no request for the blocks of an array that are known to be absent."""

    def __init__(self, store: Store, present: ListedBlocks, prefix: str) -> None:
        super().__init__(store)
        self._present, self._prefix = present, prefix

    @property
    def address(self) -> Any:
        """Address of the store, for messages; None if it has none."""
        return getattr(self._store, "address", None)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if key.startswith(self._prefix):
            index = index_of(key[len(self._prefix) :])
            if index is not None and self._present.is_absent(index):
                return None
        return await super().get(key, prototype, byte_range)


def _paths(bucket: Any, start: str) -> Iterator[str]:
    import obstore

    for batch in obstore.list(bucket, start, chunk_size=_PAGE):
        yield from (found["path"] for found in batch)
