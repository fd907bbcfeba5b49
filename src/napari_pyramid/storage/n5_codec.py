"""Decode N5 blocks with a zarr codec.

A block is a big-endian header (uint16 mode, uint16 number of axes, uint32 size per axis, fastest
axis first) and the compressed samples, also big-endian. Blocks at the edge of an array hold only
the samples inside it.

Source: saalfeldlab/n5 README, "File-system specification".
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec
from zarr.registry import register_codec

from napari_pyramid.storage.inflate import gunzip, inflate

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer, NDBuffer

    from napari_pyramid.storage.private_names import ArraySpec

__all__ = ["CODEC_NAME", "COMPRESSIONS", "N5BlockCodec", "decode_block", "decode_chunk"]

CODEC_NAME = "napari_pyramid.n5_block"
_DEFAULT_MODE = 0


def _gunzip(data: memoryview) -> Any:
    # {"type": "gzip", "useZlib": true} is a zlib stream. Some writers ignore the flag, so the
    # magic bytes decide.
    return gzip.decompress(data) if bytes(data[:2]) == b"\x1f\x8b" else zlib.decompress(data)


def _gunzip_one(data: memoryview) -> Any:
    """Return the content of one stream; faster than `_gunzip`, which takes several in a row."""
    return gunzip(data, 2**16) if bytes(data[:2]) == b"\x1f\x8b" else inflate(data, 2**16)


def _unblosc(data: memoryview) -> Any:
    from numcodecs import Blosc  # type: ignore[import-untyped]  # numcodecs has no types

    return Blosc().decode(data)


def _unzstd(data: memoryview) -> Any:
    from numcodecs import Zstd

    return Zstd().decode(data)


Decompressor = Callable[[memoryview], Any]
COMPRESSIONS: Mapping[str, Decompressor] = {
    "raw": lambda data: data,
    "gzip": _gunzip,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "blosc": _unblosc,
    "zstd": _unzstd,
}
"""Decompressors by the ``compression.type`` of N5."""


def decode_block(
    data: bytes,
    compression: str,
    dtype: np.dtype[Any],
    decompress: Decompressor | None = None,
) -> npt.NDArray[Any]:
    """Return the samples of one block in the shape of the block, last axis fastest.

    Parameters
    ----------
    decompress
        Another function than the one in `COMPRESSIONS`.

    Raises
    ------
    ValueError
        If the block is truncated or cannot be decompressed, or is of the varlength or object mode
        (label multisets).
    """
    if len(data) < 4:
        raise ValueError(f"N5 block of {len(data)} bytes has no header")
    mode, ndim = struct.unpack_from(">HH", data)
    if mode != _DEFAULT_MODE:
        raise ValueError(
            f"N5 block of mode {mode} (label multisets and objects) is not an array of numbers"
        )
    start = 4 + 4 * ndim
    if len(data) < start:
        raise ValueError(f"N5 block of {len(data)} bytes ends within its header")
    shape = struct.unpack_from(f">{ndim}I", data, 4)[::-1]
    try:
        content = (decompress or COMPRESSIONS[compression])(memoryview(data)[start:])
        samples = np.frombuffer(content, dtype.newbyteorder(">"))
    except (
        OSError,
        EOFError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
    ) as error:  # what the decompressors raise
        raise ValueError(f"N5 block cannot be decompressed by {compression}: {error}") from error
    return samples.reshape(shape).astype(dtype, copy=False)


def decode_chunk(
    data: bytes, compression: str, dtype: np.dtype[Any], chunk: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return one block in the shape of a whole chunk, padded with zeros; see `decode_block`."""
    faster = _gunzip_one if compression == "gzip" else None
    return np.ascontiguousarray(_fit(decode_block(data, compression, dtype, faster), chunk))


@dataclass(frozen=True)
class N5BlockCodec(ArrayBytesCodec):
    """The only codec of the arrays of `napari_pyramid.storage.n5_store.N5Store`, for decoding."""

    compression: str
    """A key of `COMPRESSIONS`."""

    is_fixed_size: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ValueError(
                f"N5 compression {self.compression!r} is not supported, "
                f"only {', '.join(COMPRESSIONS)}"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the codec of an entry of ``codecs``."""
        return cls(compression=data["configuration"]["compression"])

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``codecs``."""
        return {"name": CODEC_NAME, "configuration": {"compression": self.compression}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError: the size of a compressed block varies."""
        raise NotImplementedError("the size of a compressed N5 block is not known in advance")

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> list[NDBuffer | None]:
        """Return the decoded blocks, each in the shape of its chunk."""
        return await asyncio.gather(
            *(asyncio.to_thread(self._decode, data, spec) for data, spec in chunks_and_specs)
        )

    def _decode(self, data: Buffer | None, spec: ArraySpec) -> NDBuffer | None:
        if data is None:
            return None
        block = decode_block(data.to_bytes(), self.compression, spec.dtype.to_native_dtype())
        return spec.prototype.nd_buffer.from_numpy_array(_fit(block, spec.shape))


def _fit(block: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the block padded with zeros, or cut, to the shape of the chunk."""
    if block.shape == shape:
        return block
    if block.ndim != len(shape):
        raise ValueError(f"N5 block of shape {block.shape} in an array of chunks {shape}")
    out = np.zeros(shape, block.dtype)
    inside = tuple(slice(0, min(b, s)) for b, s in zip(block.shape, shape, strict=True))
    out[inside] = block[inside]
    return out


register_codec(CODEC_NAME, N5BlockCodec)
