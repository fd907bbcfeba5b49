"""Decode the stored bytes of a chunk of a zarr array with a compiled codec.

Only the usual codecs are known: zstd, blosc, gzip, zlib and none, in zarr v2, v3 and shards, and
the blocks of N5. They release the interpreter's lock, so that threads decode side by side.

Source: zarr v3 core; sharding-indexed codec 1.0; zarr v2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import blosc, zstd  # type: ignore[import-untyped]  # numcodecs has no types

from napari_pyramid.storage.chunk_memory import MEMORY
from napari_pyramid.storage.inflate import gunzip, inflate
from napari_pyramid.storage.shards import has_plain_index

__all__ = ["ChunkDecoder"]

Array = npt.NDArray[Any]
Index = tuple[int, ...]
Codec = Callable[[Any, int], Any]
"""Decodes bytes; the second argument is the number of bytes to expect."""


def _unzstd(data: Any, nbytes: int) -> Any:
    if _zstd_nbytes(data) != nbytes:  # unknown, or an error that the caller finds
        return zstd.decompress(data)
    return zstd.decompress(data, MEMORY.lend(nbytes))


def _unblosc(data: Any, nbytes: int) -> Any:
    if len(data) < 16 or struct.unpack_from("<I", data, 4)[0] != nbytes:  # the header's nbytes
        return blosc.decompress(data)
    return blosc.decompress(data, MEMORY.lend(nbytes))


def _zstd_nbytes(data: Any) -> int | None:
    """Return the size that the header of a zstd frame gives for its content (RFC 8878, 3.1.1.1)."""
    if len(data) < 18:
        return None
    flags = data[4]
    is_single = flags >> 5 & 1
    start = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    match flags >> 6:
        case 0:
            return data[start] if is_single else None
        case 1:
            return int(struct.unpack_from("<H", data, start)[0]) + 256
        case 2:
            return int(struct.unpack_from("<I", data, start)[0])
        case _:
            return int(struct.unpack_from("<Q", data, start)[0])


_CODECS: Mapping[str | None, Codec] = {
    "zstd": _unzstd,
    "blosc": _unblosc,
    "gzip": gunzip,
    "zlib": inflate,
    None: lambda data, nbytes: data,
}


class ChunkDecoder:
    """Decoder of the chunks of one array; made by `ChunkDecoder.of`. Safe to use from any thread.

    Parameters
    ----------
    array
        A zarr array.
    dtype
        Data type of the decoded bytes, with their byte order.
    codec
        Decoder of the bytes of one chunk.
    """

    def __init__(self, array: zarr.Array[Any], dtype: np.dtype[Any], codec: Codec) -> None:
        self._array = array
        self._chunks: Index = array.chunks
        self._codec = codec
        self._dtype = dtype
        self.nbytes = math.prod(array.chunks) * dtype.itemsize
        """Bytes of a decoded chunk."""
        self.fill = np.broadcast_to(np.asarray(array.fill_value or 0, dtype), array.chunks)
        """A chunk that is not stored; takes no memory, and must not be written to."""
        shards = array.shards or ()
        self.per_shard = tuple(s // c for s, c in zip(shards, array.chunks, strict=False))
        """Chunks of a shard per axis; empty for an array without shards."""

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> ChunkDecoder | None:
        """Return the decoder of `array`; None for unusual codecs and pixels that are no numbers."""
        if array.dtype.kind not in "biufc" or not array.ndim:
            return None
        encoding = _encoding_v2(array) if array.metadata.zarr_format == 2 else _encoding_v3(array)
        return None if encoding is None else cls(array, *encoding)

    def decode(self, stored: Any) -> Array:
        """Return the chunk that is stored as the bytes `stored`.

        Raises
        ------
        Exception
            If the bytes are damaged: codecs raise whatever their authors liked.
        """
        data = self._codec(stored, self.nbytes)
        if memoryview(data).nbytes != self.nbytes:
            raise ValueError(f"{self.nbytes} bytes expected, {memoryview(data).nbytes} found")
        return np.frombuffer(data, self._dtype).reshape(self._chunks)

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the samples, without compression."""
        return self._codec is _CODECS[None]

    def view_of(self, samples: Array) -> Array:
        """Return bytes of the samples, shape (nbytes,), as a chunk that shares their memory."""
        return samples.view(self._dtype).reshape(self._chunks)

    def read_slowly(self, index: Index) -> Array:
        """Return the chunk at `index` as zarr reads it, and raise what zarr raises.

        zarr has the last word on a chunk that `decode` does not accept. The chunk is cut off at the
        end of the array.
        """
        box = tuple(
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(index, self._chunks, self._array.shape, strict=True)
        )
        return np.asarray(self._array[box])

    def shard_of(self, index: Index) -> Index:
        """Return the index of the shard that holds the chunk at `index`."""
        return tuple(i // n for i, n in zip(index, self.per_shard, strict=True))

    def number_in_shard(self, index: Index) -> int:
        """Return the position of the chunk at `index` in the index of its shard, in C order."""
        number = 0
        for i, n in zip(index, self.per_shard, strict=True):
            number = number * n + i % n
        return number


def _encoding_v2(array: zarr.Array[Any]) -> tuple[np.dtype[Any], Codec] | None:
    metadata: Any = array.metadata.to_dict()
    if metadata.get("filters") or metadata.get("order") != "C":
        return None
    codec = _CODECS.get((_as_dict(metadata.get("compressor")) or {"id": None})["id"])
    return None if codec is None else (np.dtype(array.dtype), codec)


def _encoding_v3(array: zarr.Array[Any]) -> tuple[np.dtype[Any], Codec] | None:
    metadata: Any = array.metadata.to_dict()
    codecs = [_as_dict(codec) for codec in metadata["codecs"]]
    if array.shards is not None:
        if not has_plain_index(array):
            return None
        codecs = [_as_dict(codec) for codec in codecs[0]["configuration"]["codecs"]]
    first, *others = codecs
    if first["name"].startswith("napari_pyramid."):
        return _encoding_n5(array, first)
    name = others[0]["name"] if others else None
    if first["name"] != "bytes" or len(others) > 1 or name not in _CODECS:
        return None
    endian = (first.get("configuration") or {}).get("endian")
    dtype = np.dtype(array.dtype)
    if (value := str(getattr(endian, "value", endian))) in ("little", "big"):
        dtype = dtype.newbyteorder("<" if value == "little" else ">")
    return dtype, _CODECS[name]


def _encoding_n5(
    array: zarr.Array[Any], codec: Mapping[str, Any]
) -> tuple[np.dtype[Any], Codec] | None:
    from napari_pyramid.storage.n5_codec import CODEC_NAME, decode_chunk  # only N5 pays for it

    if codec["name"] != CODEC_NAME:
        return None
    dtype, chunks = np.dtype(array.dtype), array.chunks
    compression = codec["configuration"]["compression"]
    return dtype, lambda data, nbytes: decode_chunk(data, compression, dtype, chunks)


def _as_dict(codec: Any) -> dict[str, Any]:
    """Return a codec's metadata; zarr leaves some of them objects."""
    if codec is None or isinstance(codec, dict):
        return codec or {}
    return dict(codec.get_config() if hasattr(codec, "get_config") else codec.to_dict())
