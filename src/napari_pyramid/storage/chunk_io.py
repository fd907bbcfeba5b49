"""Read and write regions of a zarr array for a build, through zarrs or else zarr-python.

zarr-python takes its codec pipeline from the process-wide configuration and passes every call
through one event-loop thread. A build must not change the first for others and cannot afford the
second (half a millisecond a call), so it hands chunks to the same zarrs pipeline itself. Where
zarrs cannot help (a store that is not a local directory, a codec it does not know) the array is
read and written in the ordinary way.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from napari_pyramid.regions import Region, blocks_in, relative_to, shape_of
from napari_pyramid.storage.private_names import ChunkPart, chunk_part, open_pipeline
from napari_pyramid.storage.shards import has_plain_index, put_in_order

__all__ = ["BATCH_BYTES", "StoredBlocks"]

Array = npt.NDArray[Any]

BATCH_BYTES = 16 * 2**20
"""Chunks handed over at once; between batches a build can be stopped."""


def _never() -> None:
    pass


class StoredBlocks:
    """The chunks (or shards) of one array.

    Parameters
    ----------
    array
        A zarr array, opened for writing if blocks are written.
    codec_threads
        Threads that decode or encode the chunks of one call.
    check
        Called between batches of chunks; raises to stop.
    """

    def __init__(
        self, array: zarr.Array[Any], *, codec_threads: int = 1, check: Callable[[], None] = _never
    ) -> None:
        self.array = array
        self.shape: tuple[int, ...] = array.shape
        self.block: tuple[int, ...] = array.shards or array.chunks
        self.dtype = array.dtype.newbyteorder("=")
        self._check = check
        self._key = array.metadata.encode_chunk_key
        self._reader = open_pipeline(array, codec_threads)
        # Several threads of zarrs store the chunks of a shard in the order in which they end,
        # zarr-python in Morton order: the bytes of a shard depend on neither if its chunks are put
        # in C order.
        mixed = array.shards is not None and (codec_threads > 1 or self._reader is None)
        self._orders_shards = (
            mixed and isinstance(array.store, LocalStore) and has_plain_index(array)
        )
        self._writer = (
            open_pipeline(array, 1) if mixed and not self._orders_shards else self._reader
        )

    def read(self, region: Region, out: Array) -> None:
        """Read `region` into `out`; missing chunks are fill value.

        `out` is C-contiguous, in native byte order, and has the shape of `region`.
        """
        if self._reader is None:
            self._check()
            out[...] = self.array[region]
            return
        for batch in self._batches(region):
            self._check()
            self._reader.read(batch, out)

    def write(self, region: Region, data: Array) -> None:
        """Write `data` to `region`, which holds whole blocks, without blocks of fill value only."""
        if self._writer is None:
            self._check()
            self.array[region] = data
            for block in blocks_in(region, self.block) if self._orders_shards else ():
                self._order_shard(block)
            return
        data = np.ascontiguousarray(data, dtype=self.dtype)
        whole = self._whole_blocks(region)
        for batch in self._batches(whole, region):
            self._check()
            self._writer.write(batch, data)
        for block in blocks_in(region, self.block):
            if any(b.stop > w.stop for b, w in zip(block, whole, strict=True)):
                self._check()
                self._write_padded(block, data[relative_to(block, region)])
            if self._orders_shards:
                self._order_shard(block)

    def _order_shard(self, block: Region) -> None:
        n_chunks = math.prod(self.block) // math.prod(self.array.chunks)
        put_in_order(self.file_of(self._index(block)), n_chunks)

    def takes_encoded_from(self, other: StoredBlocks) -> bool:
        """Return whether the stored bytes of a block of `other` can be copied.

        They can if both arrays are in local directories and have the same grid, dtype, fill value
        and codecs.
        """
        local = isinstance(self.array.store, LocalStore) and isinstance(
            other.array.store, LocalStore
        )
        return (
            local and self.shape == other.shape and _encoding(self.array) == _encoding(other.array)
        )

    def copy_encoded(self, region: Region, data: Array, source: StoredBlocks) -> None:
        """Copy the stored bytes of the blocks of `region`, which decode to `data`.

        Blocks of fill value only are left out.
        """
        for block in blocks_in(region, self.block):
            self._check()
            pixels = data[relative_to(block, region)]
            index = self._index(block)
            stored = source.file_of(index)
            if stored.exists() and not _is_constant(pixels, self.array.fill_value):
                place = self.file_of(index)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(stored, place)

    def _index(self, block: Region) -> tuple[int, ...]:
        return tuple(s.start // b for s, b in zip(block, self.block, strict=True))

    def key_of(self, index: tuple[int, ...]) -> str:
        """Return the key of a block, relative to the path of the array."""
        return self._key(index)

    def file_of(self, index: tuple[int, ...]) -> Path:
        """Return the path of the file of a block; the array must be in a local directory."""
        store = self.array.store
        assert isinstance(store, LocalStore)
        return Path(store.root) / self.array.path / self._key(index)

    def _whole_blocks(self, region: Region) -> Region:
        """Return the part of a region, from its beginning, without blocks that exceed the array."""
        return tuple(
            slice(s.start, s.stop if s.stop % b == 0 else s.stop // b * b)
            for s, b in zip(region, self.block, strict=True)
        )

    def _write_padded(self, block: Region, data: Array) -> None:
        """Write a block that exceeds the array, padded with fill value.

        For a part of a block, zarrs would first read the stored block, which a killed build may
        have left half written.
        """
        padded = np.full(self.block, self.array.fill_value, self.dtype)
        padded[tuple(slice(0, n) for n in data.shape)] = data
        assert self._writer is not None
        index = self._index(block)
        everything = [slice(0, n) for n in self.block]
        self._writer.write([self._part(index, everything, everything, self.block)], padded)

    def _batches(self, region: Region, within: Region | None = None) -> Iterator[list[ChunkPart]]:
        """Yield the blocks of a region in batches; positions are relative to `within`."""
        size = max(1, BATCH_BYTES // (math.prod(self.block) * self.dtype.itemsize))
        parts = self._parts(region, within or region)
        while batch := list(itertools.islice(parts, size)):
            yield batch

    def _parts(self, region: Region, within: Region) -> Iterator[ChunkPart]:
        shape = shape_of(within)
        for block in blocks_in(region, self.block):
            index = self._index(block)
            inside = [
                slice(s.start - i * b, s.stop - i * b)
                for s, i, b in zip(block, index, self.block, strict=True)
            ]
            yield self._part(index, inside, list(relative_to(block, within)), shape)

    def _part(
        self,
        index: tuple[int, ...],
        inside: list[slice],
        place: list[slice],
        shape: tuple[int, ...],
    ) -> ChunkPart:
        key = f"{self.array.path}/{self._key(index)}" if self.array.path else self._key(index)
        return chunk_part(key, chunk_shape=self.block, inside=inside, place=place, shape=shape)


def _encoding(array: zarr.Array[Any]) -> dict[str, Any]:
    """Return the metadata that determine the bytes of a block, besides the pixels."""
    metadata = dict(array.metadata.to_dict())
    keys = (
        "zarr_format",
        "data_type",
        "dtype",
        "chunk_grid",
        "chunks",
        "codecs",
        "compressor",
        "filters",
        "order",
        "fill_value",
    )
    return {k: str(metadata.get(k)) for k in keys}


def _is_constant(pixels: Array, value: Any) -> bool:
    """Return whether all pixels are `value`; NaN equals NaN."""
    return bool((pixels == value).all() or (value != value and (pixels != pixels).all()))
