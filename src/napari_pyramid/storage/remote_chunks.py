"""Read chunks of a zarr array on another host, with many requests at once.

The calling thread decodes the chunks. Indexes of shards are kept, and parts of a shard that are
near each other share a request.

Source: zarr v3, sharding-indexed codec 1.0.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.stored_chunks import Decoder, chunk_encoding
from napari_pyramid.storage.transport import Span

__all__ = ["RemoteChunks"]

T = TypeVar("T")
Array = npt.NDArray[Any]
Index = tuple[int, ...]

_AT_ONCE = 64
"""Requests of one call that are under way at once."""
_BATCH_BYTES = 16 * 2**20
_INDEX_BYTES = 32 * 2**20
"""Shard indexes kept for one array."""
_INDEX_SECONDS = 300.0
"""Time after which a shard index is read again: the shard may have been written to."""
_ABSENT = 2**64 - 1
_CHECKSUM_BYTES = 4


class RemoteChunks:
    """Reader of the chunks of one array; made by `RemoteChunks.of`. Safe to use from any thread.

    Parameters
    ----------
    array
        A zarr array in a `RemoteStore`.
    dtype
        Data type of the decoded bytes, with their byte order.
    decode
        Decoder of one chunk.
    """

    def __init__(self, array: zarr.Array[Any], dtype: np.dtype[Any], decode: Decoder) -> None:
        store = array.store
        assert isinstance(store, RemoteStore)
        self._array = array
        self._store = store
        self._chunks: tuple[int, ...] = array.chunks
        self._per_shard = tuple(
            s // c for s, c in zip(array.shards or (), array.chunks, strict=False)
        )
        self._n_inner = math.prod(self._per_shard)
        self._key = array.metadata.encode_chunk_key
        self._dtype = dtype
        self._decode = decode
        self._nbytes = math.prod(array.chunks) * dtype.itemsize
        self._fill = np.broadcast_to(np.asarray(array.fill_value or 0, dtype), array.chunks)
        self._indexes: OrderedDict[Index, tuple[float, Future[Array | None]]] = OrderedDict()
        self._room = max(1, _INDEX_BYTES // (16 * max(1, self._n_inner)))
        self._lock = threading.Lock()

    @classmethod
    def of(cls, array: object) -> RemoteChunks | None:
        """Return the reader of `array`, or None if it cannot be read this way.

        None if the array is not on another host, has an unusual codec, or has pixels that are not
        numbers.
        """
        if (
            not isinstance(array, zarr.Array)
            or type(array.store) is not RemoteStore
            or not array.ndim
        ):
            return None
        encoding = chunk_encoding(array)
        return None if encoding is None else cls(array, *encoding)

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""
        return max(1, min(_AT_ONCE, _BATCH_BYTES // self._nbytes))

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each of the full shape of a chunk.

        The arrays must not be written to: a chunk that is not stored is fill value, and takes no
        memory.

        Raises
        ------
        OSError
            If a chunk cannot be read; the message is one line that names the key.
        """
        stored = run(self._fetch_all(list(indexes)))
        return {index: self._decoded(index, stored[index]) for index in indexes}

    def forget(self) -> None:
        """Drop the shard indexes: the store has been written to."""
        with self._lock:
            self._indexes.clear()

    # ---- requests ----

    async def _fetch_all(self, indexes: Sequence[Index]) -> dict[Index, bytes | None]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def within(request: Coroutine[Any, Any, T]) -> T:
            async with room:
                return await request

        if not self._per_shard:
            found = await asyncio.gather(
                *(within(self._store.fetch(self._path(index))) for index in indexes)
            )
            return dict(zip(indexes, found, strict=True))
        shards = groupby(sorted(indexes, key=self._shard_of), self._shard_of)
        parts = await asyncio.gather(
            *(within(self._fetch_inner(shard, list(inner))) for shard, inner in shards)
        )
        return {index: content for part in parts for index, content in part.items()}

    async def _fetch_inner(
        self, shard: Index, indexes: Sequence[Index]
    ) -> dict[Index, bytes | None]:
        found: dict[Index, bytes | None] = dict.fromkeys(indexes)
        places = await self._places(shard)
        if places is None:
            return found
        spans = {}
        for index in indexes:
            offset, length = map(int, places[self._number_in_shard(index)])
            if not offset == length == _ABSENT:
                spans[index] = (offset, offset + length)
        if spans:
            key = self._path(shard)
            contents = await self._store.fetch_ranges(key, list(spans.values()))
            if contents is None:
                raise OSError(f"{self._store}/{key}: the shard is no longer there")
            found.update(zip(spans, contents, strict=True))
        return found

    async def _places(self, shard: Index) -> Array | None:
        """Return offset and length of the chunks of a shard; None if the shard is missing.

        Shape (n_chunks, 2).
        """
        now = time.monotonic()
        with self._lock:
            read_at, future = self._indexes.get(shard, (-_INDEX_SECONDS, None))
            is_mine = future is None or now - read_at >= _INDEX_SECONDS
            if is_mine:
                future = Future()
                self._indexes[shard] = now, future
                self._indexes.move_to_end(shard)
                while len(self._indexes) > self._room:
                    self._indexes.popitem(last=False)
        assert future is not None
        if not is_mine:
            return await asyncio.wrap_future(future)
        key = self._path(shard)
        try:
            stored = await self._store.fetch(key, Span(-(16 * self._n_inner + _CHECKSUM_BYTES)))
            places = None if stored is None else self._parsed(key, stored)
        except BaseException as error:
            with self._lock:
                self._indexes.pop(shard, None)
            future.set_exception(error)
            future.exception()  # seen, also when nobody else waits
            raise
        future.set_result(places)
        return places

    def _parsed(self, key: str, stored: bytes) -> Array:
        entries, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
        right = google_crc32c.value(entries).to_bytes(_CHECKSUM_BYTES, "little")
        if len(entries) != 16 * self._n_inner or right != checksum:
            raise OSError(f"{self._store}/{key}: the index of the shard is damaged")
        return np.frombuffer(entries, "<u8").reshape(self._n_inner, 2)

    def _path(self, index: Index) -> str:
        key = self._key(index)
        return f"{self._array.path}/{key}" if self._array.path else key

    def _shard_of(self, index: Index) -> Index:
        return tuple(i // n for i, n in zip(index, self._per_shard, strict=True))

    def _number_in_shard(self, index: Index) -> int:
        number = 0
        for i, n in zip(index, self._per_shard, strict=True):
            number = number * n + i % n
        return number

    # ---- decoding ----

    def _decoded(self, index: Index, stored: bytes | None) -> Array:
        if stored is None:
            return self._fill
        try:
            data = self._decode(stored, self._nbytes)
            if memoryview(data).nbytes != self._nbytes:
                raise ValueError(f"{self._nbytes} bytes expected")
            return np.frombuffer(data, self._dtype).reshape(self._chunks)
        except Exception:  # codecs raise whatever their authors liked; zarr has the last word
            box = tuple(
                slice(i * c, min((i + 1) * c, n))
                for i, c, n in zip(index, self._chunks, self._array.shape, strict=True)
            )
            return np.asarray(self._array[box])
