"""Write and read the blocks of an array in a bucket as whole objects.

Blocks pass through a local array of the same metadata, in a directory of temporary files: an object
so has the bytes that a file would have, and a shard is read by one request.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from napari_pyramid.errors import STORAGE_ERRORS
from napari_pyramid.regions import Region, blocks_in, relative_to
from napari_pyramid.storage.chunk_io import BATCH_BYTES, StoredBlocks
from napari_pyramid.storage.listed_chunks import ListedBlocks
from napari_pyramid.storage.objects import Objects
from napari_pyramid.storage.present_chunks import PresentBlocks
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.store_errors import store_error
from napari_pyramid.storage.store_objects import name_of

__all__ = ["ObjectBlocks", "blocks_to_read", "blocks_to_write"]

Array = npt.NDArray[Any]


def blocks_to_write(
    array: zarr.Array[Any], *, is_new: bool, codec_threads: int, check: Callable[[], None]
) -> StoredBlocks:
    """Return the blocks of an array that is opened for writing, in a directory or elsewhere.

    Parameters
    ----------
    is_new
        See `ObjectBlocks`.
    """
    if isinstance(array.store, LocalStore):
        return StoredBlocks(array, codec_threads=codec_threads, check=check)
    return ObjectBlocks(array, is_new=is_new, codec_threads=codec_threads, check=check)


def blocks_to_read(
    array: zarr.Array[Any],
    present: PresentBlocks | ListedBlocks | None,
    *,
    codec_threads: int,
    check: Callable[[], None],
) -> StoredBlocks:
    """Return the blocks of an array that is read: shards in a bucket by one request each.

    Parameters
    ----------
    present
        The blocks that exist, if that is known; absent ones in a bucket are not requested.
    """
    is_far = isinstance(array.store, RemoteStore | ObjectStore | FsspecStore)
    if isinstance(present, ListedBlocks):
        array = present.without_absent(array)
    if is_far and array.shards is not None:
        return ObjectBlocks(array, is_new=False, codec_threads=codec_threads, check=check)
    return StoredBlocks(array, codec_threads=codec_threads, check=check)


class ObjectBlocks(StoredBlocks):
    """The chunks (or shards) of one array in a store of objects; see `StoredBlocks`.

    Parameters
    ----------
    is_new
        Whether no block was there before, so that none has to be deleted for fill value.
    """

    def __init__(
        self,
        array: zarr.Array[Any],
        *,
        is_new: bool,
        codec_threads: int = 1,
        check: Callable[[], None],
    ) -> None:
        super().__init__(array, codec_threads=codec_threads, check=check)
        self._is_new = is_new
        self._objects = Objects(array.store, name_of(array.store))
        scratch = tempfile.mkdtemp(prefix="napari-pyramid-")
        weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._files = StoredBlocks(
            _twin(array, Path(scratch)), codec_threads=codec_threads, check=check
        )
        self._reading = threading.Lock()

    def read(self, region: Region, out: Array) -> None:
        """Read `region` into `out`; shards that the region covers are read whole."""
        if self.array.shards is None or not self._covers(region):
            self._check()
            try:
                out[...] = self.array[region]
            except STORAGE_ERRORS:
                raise
            except Exception as error:  # obstore has classes of its own, and may not be installed
                raise store_error(self._objects.root, error) from error
            return
        for batch in self._batches_of_blocks(region):
            self._check()
            stored = self._objects.get_all([self._object_key(block) for block in batch])
            for block, content in zip(batch, stored, strict=True):
                self._decode(block, content, out[relative_to(block, region)])

    def _covers(self, region: Region) -> bool:
        """Return whether a region holds whole blocks only, up to the end of the array."""
        return all(
            s.start % b == 0 and (s.stop % b == 0 or s.stop == n)
            for s, b, n in zip(region, self.block, self.shape, strict=True)
        )

    def _decode(self, block: Region, content: bytes | None, out: Array) -> None:
        if content is None:
            out[...] = self.array.fill_value
            return
        decoded = np.empty(out.shape, self.dtype)
        file = self._files.file_of(self._index(block))
        with self._reading:  # another thread may read the same block, for another region
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            self._files.read(block, decoded)
            file.unlink()
        out[...] = decoded

    def write(self, region: Region, data: Array) -> None:
        """Write `data` to `region`, which holds whole blocks, without blocks of fill value only.

        A few blocks are encoded at a time, and put side by side.
        """
        for batch in self._batches_of_blocks(region):
            self._check()
            encoded = []
            for block in batch:
                content = self._encoded(block, data[relative_to(block, region)])
                if content is not None:
                    encoded.append((self._object_key(block), content))
                elif not self._is_new:
                    self._objects.delete(self._object_key(block))
            self._check()
            self._objects.put_all(encoded)

    def _batches_of_blocks(self, region: Region) -> Iterator[list[Region]]:
        size = max(1, BATCH_BYTES // (math.prod(self.block) * self.dtype.itemsize))
        blocks = iter(blocks_in(region, self.block))
        while batch := list(islice(blocks, size)):
            yield batch

    def _encoded(self, block: Region, data: Array) -> bytes | None:
        """Return the bytes of a block; None if it holds the fill value only."""
        self._files.write(block, data)
        file = self._files.file_of(self._index(block))
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        file.unlink()
        return content

    def _object_key(self, block: Region) -> str:
        key = self._key(self._index(block))
        return f"{self.array.path}/{key}" if self.array.path else key


def _twin(array: zarr.Array[Any], directory: Path) -> zarr.Array[Any]:
    """Return an empty local array with the metadata of another one."""
    for name, content in array.metadata.to_buffer_dict(default_buffer_prototype()).items():
        (directory / name).write_bytes(content.to_bytes())
    return zarr.open_array(LocalStore(directory), mode="r+")
