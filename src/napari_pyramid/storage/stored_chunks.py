"""Read chunks of a zarr array in a local directory or zip, without the event loop of zarr.

zarr-python passes each chunk through an event-loop thread, and zarrs decodes a chunk of a shard
into memory that is then copied. Here a thread reads the bytes of a chunk and gives them to the
compiled codec, which releases the interpreter's lock.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy.typing as npt
import zarr

from napari_pyramid.storage.chunk_decoder import ChunkDecoder
from napari_pyramid.storage.chunk_files import ChunkFile, ChunkFiles, chunk_files
from napari_pyramid.storage.chunk_memory import MEMORY
from napari_pyramid.storage.chunk_places import chunk_places
from napari_pyramid.storage.shards import Places, index_nbytes, parse_index, part_of

__all__ = ["StoredChunks"]

Array = npt.NDArray[Any]
Index = tuple[int, ...]

BATCH_BYTES = 4 * 2**20
INDEX_BYTES = 32 * 2**20
"""Shard indexes kept for one array."""


class StoredChunks:
    """Reader of the chunks of one array; made by `StoredChunks.of`. Safe to use from any thread.

    Parameters
    ----------
    files
        Files of the store.
    key
        Function that returns the key of a chunk or shard in the store.
    decoder
        Decoder of the chunks.
    """

    reads_in_parallel = False

    def __init__(
        self, files: ChunkFiles, key: Callable[[Index], str], decoder: ChunkDecoder
    ) -> None:
        self._files = files
        self._key = key
        self._decoder = decoder
        self._indexes = _ShardIndexes(math.prod(decoder.per_shard))

    @classmethod
    def of(cls, array: object) -> StoredChunks | None:
        """Return the reader of `array`, or None if it cannot be read this way.

        None if the array is neither in a directory nor in a zip, of zarr or of N5; if it has an
        unusual codec, or pixels that are not numbers.
        """
        if not isinstance(array, zarr.Array):
            return None
        store, key = chunk_places(array)
        files = chunk_files(store)
        decoder = None if files is None else ChunkDecoder.of(array)
        if files is None or decoder is None:
            return None
        return cls(files, key, decoder)

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""
        return max(1, BATCH_BYTES // self._decoder.nbytes)

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each of the full shape of a chunk.

        The arrays must not be written to: a chunk that is not stored is fill value, and takes no
        memory.
        """
        rooms = self._rooms(len(indexes))
        if not self._decoder.per_shard:
            return {
                index: self._read_file(index, room)
                for index, room in zip(indexes, rooms, strict=True)
            }
        shard_of = self._decoder.shard_of
        found: dict[Index, Array] = {}
        for shard, inner in groupby(sorted(indexes, key=shard_of), shard_of):
            chunks = list(inner)
            found |= self._read_shard(shard, dict(zip(chunks, rooms, strict=False)))
            rooms = rooms[len(chunks) :]
        return found

    def forget(self) -> None:
        """Drop what was remembered of the store: it has been written to."""
        self._indexes.clear()

    def _rooms(self, n: int) -> Sequence[Array | None]:
        """Return memory for `n` chunks without compression; None for chunks of other codecs.

        One block for all of them: NumPy asks for huge pages for a large one.
        """
        if not self._decoder.is_plain:
            return [None] * n
        nbytes = self._decoder.nbytes
        return list(MEMORY.lend(n * nbytes).reshape(n, nbytes))

    def _read_file(self, index: Index, room: Array | None) -> Array:
        try:
            with self._files.open(self._key(index)) as file:
                if room is None:
                    return self._decoder.decode(file.read(0, file.size))
                return self._filled(room, file, 0, file.size)
        except FileNotFoundError:
            return self._decoder.fill
        except Exception:  # what the codec raises; zarr has the last word
            return self._decoder.read_slowly(index)

    def _filled(self, room: Array, file: ChunkFile, start: int, length: int) -> Array:
        """Return the chunk without compression at a place of a file, in the memory of `room`."""
        if length != room.nbytes or file.read_into(start, room.data) != length:
            raise ValueError(f"{room.nbytes} bytes expected")
        return self._decoder.view_of(room)

    def _read_shard(self, shard: Index, rooms: Mapping[Index, Array | None]) -> dict[Index, Array]:
        try:
            with self._files.open(self._key(shard)) as file:
                places = self._indexes.of(shard, file)
                return {
                    index: self._read_inner(file, places, index, room)
                    for index, room in rooms.items()
                }
        except FileNotFoundError:
            return dict.fromkeys(rooms, self._decoder.fill)
        except Exception:  # an unusual or a damaged index, as in _read_file
            return {index: self._decoder.read_slowly(index) for index in rooms}

    def _read_inner(
        self, file: ChunkFile, places: Places, index: Index, room: Array | None
    ) -> Array:
        part = part_of(places, self._decoder.number_in_shard(index))
        if part is None:
            return self._decoder.fill
        try:
            if room is not None:
                return self._filled(room, file, *part)
            return self._decoder.decode(file.read(*part))
        except Exception:  # as in _read_file
            return self._decoder.read_slowly(index)


class _ShardIndexes:
    """Indexes of shards, read once and kept; an index is read again when its file has changed."""

    def __init__(self, n_chunks: int) -> None:
        self._n_chunks = n_chunks
        self._kept: OrderedDict[Index, tuple[tuple[int, ...], Places]] = OrderedDict()
        self._room = max(1, INDEX_BYTES // index_nbytes(n_chunks))
        self._lock = threading.Lock()

    def of(self, shard: Index, file: ChunkFile) -> Places:
        """Return offset and length of the chunks of a shard, from its file."""
        with self._lock:
            kept = self._kept.get(shard)
            if kept is not None and kept[0] == file.stamp:
                self._kept.move_to_end(shard)
                return kept[1]
        size = index_nbytes(self._n_chunks)
        places = parse_index(file.read(file.size - size, size), self._n_chunks)
        with self._lock:
            self._kept[shard] = file.stamp, places
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return places

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
