"""Let a build write to a store that takes keys of zarr nodes only, such as a session of icechunk.

Such a store has no place for unfinished work, and takes no chunks before the metadata of their
array. What it writes is seen by nobody before its session is committed.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

__all__ = ["NodeKeysStore", "takes_any_key"]

_NODE_KEY = re.compile(r"(.+/)?(zarr\.json|c(/\d+)*)")
"""Keys of the metadata and the chunks of nodes in zarr v3."""
_GROUP = json.dumps({"zarr_format": 3, "node_type": "group"}).encode()
_opened: weakref.WeakSet[NodeKeysStore] = weakref.WeakSet()
"""Stores in use: two builds into one session must see the lock of each other."""


def takes_any_key(store: Store) -> bool:
    """Return whether a store keeps objects of any key; stores of other packages may not."""
    return type(store).__module__.startswith(("zarr.", "napari_pyramid."))


class NodeKeysStore(Store):
    """A store of zarr nodes that behaves as a bucket does; see `of`.

    - Other keys than keys of nodes are kept in memory.
    - The metadata of an array that `admit` has written, and of the groups above it, are not shown
      until they are written once more.

    Parameters
    ----------
    inner
        The store of another package, whose root and groups are listed only if they have metadata.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, inner: Store) -> None:
        super().__init__()
        self.inner = inner
        self._beside = MemoryStore()
        self._hidden: set[str] = set()
        self._is_open = True

    @classmethod
    def of(cls, inner: Store) -> NodeKeysStore:
        """Return the store around `inner`, the same one as long as it is in use."""
        for known in list(_opened):
            if known.inner == inner:
                return known
        made = cls(inner)
        _opened.add(made)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeKeysStore) and self.inner == other.inner

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return str(self.inner)

    def with_read_only(self, read_only: bool = False) -> NodeKeysStore:
        """Return the store itself: zarr asks for a read-only one where it opens arrays to read."""
        return self

    async def admit(self, path: str, metadata: bytes) -> None:
        """Let chunks of an array be written before its metadata are shown.

        Parameters
        ----------
        path
            Path of the array.
        metadata
            Its ``zarr.json``.
        """
        await self._put_hidden(_metadata_key(path), metadata)
        for above in _parents(path):
            await self._put_hidden(_metadata_key(above), _GROUP)

    async def _put_hidden(self, key: str, content: bytes) -> None:
        if not await self.inner.exists(key):
            self._hidden.add(key)
            await self.inner.set(key, default_buffer_prototype().buffer.from_bytes(content))

    # ---- reading ----

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it; None if it is missing or not shown."""
        if not _is_of_node(key):
            return await self._beside.get(key, prototype, byte_range)
        return None if key in self._hidden else await self.inner.get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several objects, or parts of them."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether there is an object that is shown."""
        if not _is_of_node(key):
            return await self._beside.exists(key)
        return key not in self._hidden and await self.inner.exists(key)

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below a folder."""
        async for key in self._beside.list_prefix(prefix):
            yield key
        if await self._has_node(prefix):
            async for key in self.inner.list_prefix(prefix.strip("/")):
                if key not in self._hidden:
                    yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a folder."""
        async for name in self._beside.list_dir(prefix):
            yield name
        if await self._has_node(prefix):
            is_hidden = _metadata_key(prefix.strip("/")) in self._hidden
            async for name in self.inner.list_dir(prefix.strip("/")):
                if not (is_hidden and name == "zarr.json"):
                    yield name

    async def _has_node(self, path: str) -> bool:
        return await self.inner.exists(_metadata_key(path.strip("/")))

    # ---- writing ----

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object; metadata are shown from now on, and get groups above them."""
        if not _is_of_node(key):
            await self._beside.set(key, value)
            return
        if key.endswith("zarr.json"):
            for above in _parents(key.removesuffix("zarr.json").strip("/")):
                await self._put_hidden(_metadata_key(above), _GROUP)
        await self.inner.set(key, value)
        self._hidden.discard(key)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless its key exists."""
        store = self.inner if _is_of_node(key) else self._beside
        await store.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        """Delete an object that is shown."""
        if not _is_of_node(key):
            await self._beside.delete(key)
        elif key not in self._hidden:
            await self.inner.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all objects below a folder, and groups above it that are there for it only."""
        path = prefix.strip("/")
        await self._beside.delete_dir(prefix)
        if await self._has_node(path):
            await self.inner.delete_dir(path)
        below = f"{path}/" if path else ""
        self._hidden = {key for key in self._hidden if not key.startswith(below)}
        for above in _parents(path):
            key = _metadata_key(above)
            if key not in self._hidden or await _has_members(self.inner, above):
                return
            await self.inner.delete(key)
            self._hidden.discard(key)


def _is_of_node(key: str) -> bool:
    return _NODE_KEY.fullmatch(key) is not None and ".building/" not in key


def _metadata_key(path: str) -> str:
    return f"{path}/zarr.json" if path else "zarr.json"


def _parents(path: str) -> Iterator[str]:
    """Yield the paths above a path, the nearest first, down to the root."""
    while path:
        path = path.rpartition("/")[0]
        yield path


async def _has_members(store: Any, path: str) -> bool:
    return bool([name async for name in store.list_dir(path) if name != "zarr.json"])
