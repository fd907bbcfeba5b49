"""Read chunks of a zarr array on another host, with many requests at once.

Each request has a thread, which decodes what it fetched: through an event loop, a request takes
more than twice the processor time. Indexes of shards are kept, and parts of a shard that are near
each other share a request.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, Protocol

import numpy.typing as npt
import zarr

from napari_pyramid.storage.chunk_decoder import ChunkDecoder
from napari_pyramid.storage.chunk_places import Key, chunk_places
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.remote_zip import RemoteZipStore
from napari_pyramid.storage.run_together import THREADS, run_together
from napari_pyramid.storage.shards import Places, index_nbytes, parse_index, part_of
from napari_pyramid.storage.transport import Span

__all__ = ["RemoteChunks"]

Array = npt.NDArray[Any]
Index = tuple[int, ...]
Stored = bytes | memoryview

_AT_ONCE = 64
"""Requests of one call that are under way at once."""
_BATCH_BYTES = 16 * 2**20
_INDEX_BYTES = 32 * 2**20
"""Shard indexes kept for one array."""
_INDEX_SECONDS = 300.0
"""Time after which a shard index is read again: the shard may have been written to."""


class _Store(Protocol):
    """A store on another host, read from threads that may wait."""

    def fetch_now(self, key: str, span: Span | None = None) -> Stored | None:
        """Return an object or a part of it; None if it is missing."""

    def fetch_ranges_now(
        self, key: str, spans: Sequence[tuple[int, int]]
    ) -> Sequence[Stored] | None:
        """Return several parts of an object; None if it is missing."""

    def sends_parts(self, key: str) -> bool:
        """Return whether a part of an object is read without the whole object."""


class RemoteChunks:
    """Reader of the chunks of one array; made by `RemoteChunks.of`. Safe to use from any thread.

    Parameters
    ----------
    array
        A zarr array.
    store, key
        Store that holds its chunks, and the function that returns the key of a chunk or shard.
    decoder
        Decoder of its chunks.
    """

    reads_in_parallel = True

    def __init__(
        self, array: zarr.Array[Any], store: _Store, key: Key, decoder: ChunkDecoder
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._grid = tuple(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
        self._n_inner = math.prod(decoder.per_shard)
        self._key = key
        self._indexes: OrderedDict[Index, tuple[float, Future[Places | None]]] = OrderedDict()
        self._room = max(1, _INDEX_BYTES // index_nbytes(self._n_inner))
        self._lock = threading.Lock()

    @classmethod
    def of(cls, array: object) -> RemoteChunks | None:
        """Return the reader of `array`, or None if it cannot be read this way.

        None if the array is not on another host, of zarr or of N5, in a zip or not; if it has an
        unusual codec, or pixels that are not numbers.
        """
        if not isinstance(array, zarr.Array):
            return None
        store, key = chunk_places(array)
        if not isinstance(store, RemoteStore | RemoteZipStore):
            return None
        decoder = ChunkDecoder.of(array)
        return None if decoder is None else cls(array, store, key, decoder)

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""
        return max(1, min(_AT_ONCE, _BATCH_BYTES // self._decoder.nbytes))

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each of the full shape of a chunk.

        The arrays must not be written to: a chunk that is not stored is fill value, and takes no
        memory.

        Raises
        ------
        OSError
            If a chunk cannot be read; the message is one line that names the key.
        """
        found: dict[Index, Array] = {}
        if not self._decoder.per_shard:
            run_together(lambda i: self._read_object(i, found), indexes, threads=_AT_ONCE)
            return found
        shard_of = self._decoder.shard_of
        shards = [
            (shard, list(inner))
            for shard, inner in groupby(sorted(indexes, key=shard_of), shard_of)
        ]
        decoders = max(1, THREADS // len(shards)) if shards else 1
        # Whole shards are large: fewer of them are in memory at once.
        threads = _AT_ONCE if all(self._sends_parts(shard) for shard, _ in shards) else THREADS
        run_together(lambda s: self._read_shard(*s, found, decoders), shards, threads=threads)
        return found

    def forget(self) -> None:
        """Drop the shard indexes: the store has been written to."""
        with self._lock:
            self._indexes.clear()

    def _read_object(self, index: Index, found: dict[Index, Array]) -> None:
        found[index] = self._decoded(index, self._store.fetch_now(self._key(index)))

    def _read_shard(
        self, shard: Index, indexes: list[Index], found: dict[Index, Array], decoders: int
    ) -> None:
        """Put the chunks at `indexes` of one shard into `found`; decode on `decoders` threads."""
        is_all = len(indexes) == self._n_stored(shard) and not self._knows(shard)
        if is_all or not self._sends_parts(shard):
            stored = self._whole_shard(shard, indexes)
        else:
            stored = self._parts_of(shard, indexes)

        def decode(index: Index) -> None:
            found[index] = self._decoded(index, stored.get(index))

        run_together(decode, indexes, threads=decoders)

    # ---- shards ----

    def _n_stored(self, shard: Index) -> int:
        """Return the number of chunks of a shard that are in the array."""
        return math.prod(
            min(per, n - s * per)
            for s, per, n in zip(shard, self._decoder.per_shard, self._grid, strict=True)
        )

    def _sends_parts(self, shard: Index) -> bool:
        return self._store.sends_parts(self._key(shard))

    def _knows(self, shard: Index) -> bool:
        with self._lock:
            return shard in self._indexes

    def _whole_shard(self, shard: Index, indexes: Sequence[Index]) -> dict[Index, Stored]:
        """Return the bytes of all chunks of a shard, with one request for the whole shard."""
        key = self._key(shard)
        stored = self._store.fetch_now(key)
        if stored is None:
            return {}
        places = self._parsed(key, stored[-index_nbytes(self._n_inner) :])
        parts = {i: part_of(places, self._decoder.number_in_shard(i)) for i in indexes}
        chunks = memoryview(stored)
        return {i: self._alone(chunks[p[0] : sum(p)]) for i, p in parts.items() if p is not None}

    def _parts_of(self, shard: Index, indexes: Sequence[Index]) -> dict[Index, Stored]:
        """Return the bytes of some chunks of a shard; chunks that are not stored are left out."""
        places = self._places(shard)
        if places is None:
            return {}
        parts = {i: part_of(places, self._decoder.number_in_shard(i)) for i in indexes}
        spans = {i: (p[0], sum(p)) for i, p in parts.items() if p is not None}
        if not spans:
            return {}
        key = self._key(shard)
        contents = self._store.fetch_ranges_now(key, list(spans.values()))
        if contents is None:
            raise OSError(f"{self._store}/{key}: the shard is no longer there")
        return {i: self._alone(content) for i, content in zip(spans, contents, strict=True)}

    def _alone(self, chunk: Stored) -> Stored:
        """Return the bytes of a chunk, without the memory that they share if they would keep it.

        Only a chunk without compression keeps the memory of its bytes.
        """
        return bytes(chunk) if self._decoder.is_plain else chunk

    def _places(self, shard: Index) -> Places | None:
        """Return offset and length of the chunks of a shard; None if the shard is missing."""
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
            return future.result()
        key = self._key(shard)
        try:
            stored = self._store.fetch_now(key, Span(-index_nbytes(self._n_inner)))
            places = None if stored is None else self._parsed(key, stored)
        except BaseException as error:
            with self._lock:
                self._indexes.pop(shard, None)
            future.set_exception(error)
            future.exception()  # seen, also when nobody else waits
            raise
        future.set_result(places)
        return places

    def _parsed(self, key: str, stored: Stored) -> Places:
        try:
            return parse_index(bytes(stored), self._n_inner)
        except ValueError as error:
            raise OSError(f"{self._store}/{key}: {error}") from None

    def _decoded(self, index: Index, stored: Stored | None) -> Array:
        if stored is None:
            return self._decoder.fill
        try:
            return self._decoder.decode(stored)
        except Exception:  # what the codec raises; zarr has the last word
            return self._decoder.read_slowly(index)
