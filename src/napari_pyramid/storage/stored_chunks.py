"""Read chunks of a zarr array in a local directory, without the event loop of zarr.

zarr-python passes each chunk through an event-loop thread, and zarrs decodes a chunk of a shard
into memory that is then copied. Here a thread reads the bytes of a chunk and gives them to the
compiled codec, which releases the interpreter's lock. Only the usual codecs are known: zstd, blosc,
gzip, zlib and none, in zarr v2, v3 and shards.

Source: zarr v3 core, sharding-indexed codec 1.0; zarr v2.
"""

from __future__ import annotations

import io
import math
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import blosc, zstd  # type: ignore[import-untyped]  # numcodecs has no types
from zarr.storage import LocalStore

from napari_pyramid.storage.shards import has_plain_index

try:
    from isal.isal_zlib import decompress as _decompress  # twice as fast as zlib
except ImportError:  # no wheel for this processor
    _decompress = zlib.decompress

__all__ = ["Decoder", "StoredChunks", "chunk_encoding"]

Array = npt.NDArray[Any]
Index = tuple[int, ...]
Decoder = Callable[[Any, int], Any]
"""Decodes bytes; the second argument is the number of bytes to expect."""

BATCH_BYTES = 4 * 2**20
INDEX_BYTES = 32 * 2**20
"""Shard indexes kept for one array."""
_ABSENT = 2**64 - 1
_CHECKSUM_BYTES = 4


def _gunzip(data: Any, nbytes: int) -> Any:
    return _decompress(data, 31, nbytes)


def _inflate(data: Any, nbytes: int) -> Any:
    return _decompress(data, 15, nbytes)


_DECODERS: Mapping[str | None, Decoder] = {
    "zstd": lambda data, nbytes: zstd.decompress(data),
    "blosc": lambda data, nbytes: blosc.decompress(data),
    "gzip": _gunzip,
    "zlib": _inflate,
    None: lambda data, nbytes: data,
}


class StoredChunks:
    """Reader of the chunks of one array; made by `StoredChunks.of`. Safe to use from any thread.

    Parameters
    ----------
    array
        A zarr array in a directory.
    dtype
        Data type of the decoded bytes, with their byte order.
    decode
        Decoder of one chunk.
    """

    def __init__(self, array: zarr.Array[Any], dtype: np.dtype[Any], decode: Decoder) -> None:
        store = array.store
        assert isinstance(store, LocalStore)
        self._array = array
        self._chunks: tuple[int, ...] = array.chunks
        self._shards: tuple[int, ...] | None = array.shards
        self._per_shard = tuple(
            s // c for s, c in zip(array.shards or (), array.chunks, strict=False)
        )
        self._root = os.path.join(store.root, array.path)
        self._key = array.metadata.encode_chunk_key
        self._dtype = dtype
        self._decode = decode
        self._nbytes = math.prod(array.chunks) * dtype.itemsize
        self._fill = np.broadcast_to(np.asarray(array.fill_value or 0, dtype), array.chunks)
        self._indexes = _ShardIndexes(math.prod(self._per_shard))

    @classmethod
    def of(cls, array: object) -> StoredChunks | None:
        """Return the reader of `array`, or None if it cannot be read this way.

        None if the array is not in a directory, has an unusual codec, or has pixels that are not
        numbers.
        """
        if (
            not isinstance(array, zarr.Array)
            or type(array.store) is not LocalStore
            or not array.ndim
        ):
            return None
        encoding = chunk_encoding(array)
        return None if encoding is None else cls(array, *encoding)

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""
        return max(1, BATCH_BYTES // self._nbytes)

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each of the full shape of a chunk.

        The arrays must not be written to: a chunk that is not stored is fill value, and takes no
        memory.
        """
        if self._shards is None:
            return {index: self._read_file(index) for index in indexes}
        found: dict[Index, Array] = {}
        for shard, inner in groupby(sorted(indexes, key=self._shard_of), self._shard_of):
            found |= self._read_shard(shard, list(inner))
        return found

    def forget(self) -> None:
        """Drop what was remembered of the store: it has been written to."""
        self._indexes.clear()

    def _shard_of(self, index: Index) -> Index:
        return tuple(i // n for i, n in zip(index, self._per_shard, strict=True))

    def _read_file(self, index: Index) -> Array:
        try:
            with open(os.path.join(self._root, self._key(index)), "rb", buffering=0) as file:
                return self._decoded(file, os.fstat(file.fileno()).st_size)
        except FileNotFoundError:
            return self._fill
        except Exception:  # codecs raise whatever their authors liked; zarr has the last word
            return self._read_slowly(index)

    def _read_shard(self, shard: Index, indexes: Sequence[Index]) -> dict[Index, Array]:
        path = os.path.join(self._root, self._key(shard))
        try:
            with open(path, "rb", buffering=0) as file:
                places = self._indexes.of(shard, file)
                return {index: self._read_inner(file, places, index) for index in indexes}
        except FileNotFoundError:
            return dict.fromkeys(indexes, self._fill)
        except Exception:  # an unusual or a damaged index, as in _read_file
            return {index: self._read_slowly(index) for index in indexes}

    def _read_inner(self, file: io.FileIO, places: Array, index: Index) -> Array:
        number = 0
        for i, n in zip(index, self._per_shard, strict=True):
            number = number * n + i % n
        offset, length = map(int, places[number])
        if offset == length == _ABSENT:
            return self._fill
        try:
            file.seek(offset)
            return self._decoded(file, length)
        except Exception:  # as in _read_file
            return self._read_slowly(index)

    def _decoded(self, file: io.FileIO, length: int) -> Array:
        data = self._decode(file.read(length), self._nbytes)
        if memoryview(data).nbytes != self._nbytes:
            raise ValueError(f"{self._nbytes} bytes expected")
        return np.frombuffer(data, self._dtype).reshape(self._chunks)

    def _read_slowly(self, index: Index) -> Array:
        box = tuple(
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(index, self._chunks, self._array.shape, strict=True)
        )
        return np.asarray(self._array[box])


class _ShardIndexes:
    """Indexes of shards, read once and kept; an index is read again when its file has changed."""

    def __init__(self, n_chunks: int) -> None:
        self._n_chunks = n_chunks
        self._kept: OrderedDict[Index, tuple[tuple[int, ...], Array]] = OrderedDict()
        self._room = max(1, INDEX_BYTES // (16 * max(1, n_chunks)))
        self._lock = threading.Lock()

    def of(self, shard: Index, file: io.FileIO) -> Array:
        """Return offset and length of the chunks of a shard, shape (n_chunks, 2), from `file`."""
        stat = os.fstat(file.fileno())
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        with self._lock:
            kept = self._kept.get(shard)
            if kept is not None and kept[0] == stamp:
                self._kept.move_to_end(shard)
                return kept[1]
        file.seek(stat.st_size - 16 * self._n_chunks - _CHECKSUM_BYTES)
        stored = file.read(16 * self._n_chunks + _CHECKSUM_BYTES)
        entries, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
        if google_crc32c.value(entries).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
            raise ValueError("the checksum of the shard index is wrong")
        places = np.frombuffer(entries, "<u8").reshape(self._n_chunks, 2)
        with self._lock:
            self._kept[shard] = stamp, places
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return places

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


def chunk_encoding(array: zarr.Array[Any]) -> tuple[np.dtype[Any], Decoder] | None:
    """Return data type and decoder of the bytes of a chunk; None if they are unusual."""
    metadata: Any = array.metadata.to_dict()
    if array.dtype.kind not in "biufc":
        return None
    if array.metadata.zarr_format == 2:
        plain = not metadata.get("filters") and metadata.get("order") == "C"
        compressor = _as_dict(metadata.get("compressor")) or {"id": None}
        decode = _DECODERS.get(compressor["id"])
        return (np.dtype(array.dtype), decode) if plain and decode is not None else None
    codecs = [_as_dict(codec) for codec in metadata["codecs"]]
    if array.shards is not None:
        if not has_plain_index(array):
            return None
        codecs = [_as_dict(codec) for codec in codecs[0]["configuration"]["codecs"]]
    first, *others = codecs
    name = others[0]["name"] if others else None
    if first["name"] != "bytes" or len(others) > 1 or name not in _DECODERS:
        return None
    endian = (first.get("configuration") or {}).get("endian")
    order = {"little": "<", "big": ">"}.get(str(getattr(endian, "value", endian)), "=")
    return np.dtype(array.dtype).newbyteorder(order), _DECODERS[name]  # type: ignore[arg-type]


def _as_dict(codec: Any) -> dict[str, Any]:
    """Return a codec's metadata; zarr leaves some of them objects."""
    if codec is None or isinstance(codec, dict):
        return codec or {}
    return dict(codec.get_config() if hasattr(codec, "get_config") else codec.to_dict())
