"""Put, get, list and delete the objects of a writable zarr store, without coroutines.

These few operations are all that a build asks of a bucket: an object is written whole, is never
renamed, and can be created only where none exists.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from napari_pyramid.storage.file_names import ZARR_FILES
from napari_pyramid.storage.node_keys import NodeKeysStore
from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.store_errors import StoreError, says_not_implemented, store_error

__all__ = ["Objects", "StoreError", "as_folder"]

T = TypeVar("T")
_SIDE_BY_SIDE = 16
"""Most objects of one call that are written at the same time."""
_AT_ONCE = 1000
"""Most objects that a bucket deletes by one request."""


class Objects:
    """The objects of a zarr store.

    Parameters
    ----------
    store
        The store; it may be read-only as long as nothing is written.
    root
        Address of the store for messages and metadata, without secrets.
    options
        Storage options with which the address can be opened again; None for a store that was
        given opened.
    opener
        Function that opens the same objects in another process; without it the store is pickled.
    """

    def __init__(
        self,
        store: Store,
        root: str,
        options: Mapping[str, Any] | None = None,
        *,
        opener: Callable[[], Objects] | None = None,
    ) -> None:
        self._opener = opener
        self.store = store
        self.root = root
        self.options = options
        self._has_conditions = isinstance(
            store, ObjectStore | MemoryStore | LocalStore | NodeKeysStore
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objects) or self.root != other.root:
            return False
        return (
            self.options is not None
            or self.given == other.given
            or getattr(self.store, "store", None) == getattr(other.store, "store", self)
        )

    def __hash__(self) -> int:
        return hash(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._opener is not None:
            return self._opener, ()
        return Objects, (self.store, self.root, self.options)

    @property
    def is_portable(self) -> bool:
        """Whether another process can open the same objects; a store in memory is not shared."""
        if isinstance(self.store, MemoryStore | NodeKeysStore):
            return False
        try:
            pickle.dumps(self)
        except Exception:  # a store of another package may raise anything
            return False
        return True

    @property
    def has_conditions(self) -> bool:
        """Whether `create` is one conditional write, and not a look followed by a write."""
        return self._has_conditions

    @property
    def given(self) -> Store:
        """The store as its owner knows it."""
        return self.store.inner if isinstance(self.store, NodeKeysStore) else self.store

    @property
    def is_transaction(self) -> bool:
        """Whether objects are seen by nobody before the owner of the store commits them.

        Such a store takes zarr v3 only, and keeps no unfinished work.
        """
        return isinstance(self.store, NodeKeysStore)

    # ---- reading ----

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """Return an object, or its first bytes if `most` is given; None if it is missing.

        An object that may not be read counts as missing: S3 answers so for a missing object where
        listing is not allowed.
        """
        part = None if most is None else RangeByteRequest(0, most)

        async def read() -> bytes | None:
            try:
                found = await self.store.get(key, default_buffer_prototype(), part)
            except PermissionError:
                return None
            # Not narrower: obstore has a class of its own for it, and may not be installed.
            except Exception as error:
                if type(error).__name__ == "PermissionDeniedError":
                    return None
                raise
            return None if found is None else found.to_bytes()

        return self._answer(read())

    def get_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several objects, read side by side; None for each that is missing.

        Raises
        ------
        StoreError
            Also if an object may not be read: pixels must not turn into fill value.
        """

        async def read_one(key: str, room: asyncio.Semaphore) -> bytes | None:
            async with room:
                found = await self.store.get(key, default_buffer_prototype())
            return None if found is None else found.to_bytes()

        async def read_each() -> list[bytes | None]:
            room = asyncio.Semaphore(_SIDE_BY_SIDE)
            return list(await asyncio.gather(*(read_one(key, room) for key in keys)))

        return self._answer(read_each())

    def names(self, prefix: str) -> list[str]:
        """Return the names of objects and of folders directly below a prefix, sorted."""

        async def collect() -> list[str]:
            return [name async for name in self.store.list_dir(prefix)]

        return sorted({name.strip("/") for name in self._answer(collect())} - {""})

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects below a prefix, sorted."""

        async def collect() -> list[str]:
            return [key async for key in self.store.list_prefix(as_folder(prefix))]

        return sorted(self._answer(collect()))

    def has_below(self, prefix: str) -> bool:
        """Return whether there is any object below a prefix."""

        async def first() -> bool:
            keys = self.store.list_prefix(as_folder(prefix))
            try:
                async for _ in keys:
                    return True
            finally:
                close = getattr(keys, "aclose", None)
                if close is not None:
                    await close()
            return False

        return self._answer(first())

    # ---- writing ----

    def put(self, key: str, content: bytes) -> None:
        """Write a whole object; readers see the old one or the new one."""
        self._answer(self.store.set(key, _buffer(content)))

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Write several objects, some of them at the same time."""

        async def put_one(key: str, content: bytes, room: asyncio.Semaphore) -> None:
            async with room:
                await self.store.set(key, _buffer(content))

        async def put_each() -> None:
            room = asyncio.Semaphore(_SIDE_BY_SIDE)
            # All have ended before the first error is raised: after a stop nothing is written.
            answers = await asyncio.gather(
                *(put_one(key, content, room) for key, content in objects), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

        if objects:
            self._answer(put_each())

    def create(self, key: str, content: bytes) -> bool:
        """Write an object that does not exist yet, and return whether it was written.

        `content` must differ from what anybody else writes there. Without conditional writes, this
        is a look and then a write, and `has_conditions` is False afterwards.
        """

        async def put_if_absent() -> bool:
            try:
                await self.store.set_if_not_exists(key, _buffer(content))
            # Not narrower: obstore has classes of its own, and may not be installed.
            except Exception as error:
                if not says_not_implemented(error):
                    raise
                return False
            return True

        if self._has_conditions and not self._answer(put_if_absent()):
            self._has_conditions = False
        if not self._has_conditions and self.get(key) is None:
            self.put(key, content)
        found = self.get(key)
        if found is None:
            raise StoreError(f"{self.root}: {key} was written, and cannot be read")
        return found == content

    def admit(self, path: str, metadata: bytes) -> None:
        """Let chunks of an array be written before its metadata, where a store needs it."""
        if isinstance(self.store, NodeKeysStore):
            self._answer(self.store.admit(path, metadata))

    def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        self._answer(self.store.delete(key))

    def delete_below(self, prefix: str) -> None:
        """Delete all objects below a prefix, the metadata of a node at the prefix first.

        What a stop leaves is then no array that has lost some of its chunks.
        """
        for name in ZARR_FILES:
            if self.get(as_folder(prefix) + name) is not None:
                self.delete(as_folder(prefix) + name)
        self._answer(self._delete_all(as_folder(prefix)))

    def _answer(self, request: Coroutine[Any, Any, T]) -> T:
        """Return the answer of the store.

        Raises
        ------
        StoreError
            For any error of the store or of a library behind it.
        """
        try:
            return run(request)
        # Not narrower: stores raise the errors of the libraries behind them.
        except Exception as error:
            raise store_error(self.root, error) from None

    async def _delete_all(self, prefix: str) -> None:
        if not isinstance(self.store, ObjectStore):
            await self.store.delete_dir(prefix)
            return
        import obstore

        async for batch in obstore.list(self.store.store, prefix, chunk_size=_AT_ONCE):
            await obstore.delete_async(self.store.store, [found["path"] for found in batch])


def _buffer(content: bytes) -> Any:
    return default_buffer_prototype().buffer.from_bytes(content)


def as_folder(prefix: str) -> str:
    """Return a prefix with a slash at its end, unless it is empty."""
    return f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
