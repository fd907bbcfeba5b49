"""Wrap the private names of other packages in use, each with a slower public fallback.

A private name may change in any release, so its absence is not an error: without it, `run` and
`open_pipeline` give the same pixels and metadata, and the same files but for gzip, whose streams
depend on the library that compresses.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt
import zarr
from zarr.storage import LocalStore, MemoryStore

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec as ArraySpec

sync: Any
ChunkItem: Any
CodecPipelineImpl: Any

try:
    from zarr.core.sync import sync
except ImportError:
    sync = None
try:
    from zarrs._internal import ChunkItem, CodecPipelineImpl
except ImportError:
    ChunkItem = CodecPipelineImpl = None

__all__ = [
    "ChunkPart",
    "Pipeline",
    "chunk_part",
    "dask_client_of",
    "dask_memory_limit",
    "dask_options_of",
    "open_pipeline",
    "run",
    "width_of",
]

T = TypeVar("T")
Array = npt.NDArray[Any]


# ---- zarr ----


def run(request: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine of a zarr store, run on zarr's event loop.

    Another event loop would not do: the connections of a remote store belong to the loop that
    opened them, and zarr reads the chunks of the same store on its own.
    """
    if sync is not None:
        result: T = sync(request)
        return result
    return asyncio.run_coroutine_threadsafe(request, _zarr_loop(os.getpid())).result()


@functools.cache
def _zarr_loop(pid: int) -> asyncio.AbstractEventLoop:
    """Return the event loop of zarr in this process, which is another one after a fork."""
    store = _LoopReporter()
    list(zarr.open_group(store, mode="w").members())
    assert store.loop is not None
    return store.loop


class _LoopReporter(MemoryStore):
    """A store that remembers the event loop on which zarr listed it."""

    loop: asyncio.AbstractEventLoop | None = None

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        self.loop = asyncio.get_running_loop()
        async for name in super().list_dir(prefix):
            yield name


# ---- zarrs ----

ChunkPart = Any
"""A part of a chunk and its place in an array in memory, as `chunk_part` describes them."""


def chunk_part(
    key: str,
    *,
    chunk_shape: Sequence[int],
    inside: Sequence[slice],
    place: Sequence[slice],
    shape: Sequence[int],
) -> ChunkPart:
    """Describe a part of a chunk to a `Pipeline`.

    Parameters
    ----------
    key
        Key of the chunk (or shard) in the store.
    inside
        The part, within `chunk_shape`.
    place
        Where the part is in the array that is read or written, which has the shape `shape`.
    """
    return ChunkItem(
        key=key,
        chunk_subset=list(inside),
        chunk_shape=tuple(chunk_shape),
        subset=list(place),
        shape=tuple(shape),
    )


class Pipeline:
    """The zarrs codec pipeline of one array, without zarr's event loop between.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If zarrs does not support the store, the dtype or a codec of the array.
    """

    def __init__(self, array: zarr.Array[Any], threads: int) -> None:
        implementation = CodecPipelineImpl(
            json.dumps(array.metadata.to_dict()),
            store_config=array.store,
            validate_checksums=True,
            chunk_concurrent_minimum=threads,
            chunk_concurrent_maximum=threads,
            num_threads=threads,
            direct_io=False,
        )
        self._read = implementation.retrieve_chunks_and_apply_index
        self._write = implementation.store_chunks_with_indices

    def read(self, parts: Sequence[ChunkPart], out: Array) -> None:
        """Decode parts of chunks into `out`; a missing chunk is fill value."""
        self._read(parts, out)

    def write(self, parts: Sequence[ChunkPart], data: Array) -> None:
        """Encode parts of `data` as chunks; a chunk that is all fill value is not stored."""
        self._write(parts, data, False)


def open_pipeline(array: zarr.Array[Any], threads: int) -> Pipeline | None:
    """Return the zarrs pipeline of an array in a local directory, or None.

    With None, zarr-python has to read and write the array.
    """
    known = isinstance(array.store, LocalStore) and array.ndim > 0 and array.fill_value is not None
    if not (known and _has_zarrs()):
        return None
    try:
        return Pipeline(array, threads)
    except (TypeError, ValueError, RuntimeError):  # for metadata that zarrs does not support
        return None


def _has_zarrs() -> bool:
    """Return whether zarrs has the names and arguments that `Pipeline` and `chunk_part` use."""
    methods = ("retrieve_chunks_and_apply_index", "store_chunks_with_indices")
    if ChunkItem is None or not all(hasattr(CodecPipelineImpl, name) for name in methods):
        return False
    whole = [slice(0, 1)]
    try:
        chunk_part("0", chunk_shape=(1,), inside=whole, place=whole, shape=(1,))
    except TypeError:
        return False
    return True


# ---- concurrent.futures ----


def width_of(executor: Executor) -> int:
    """Return how many calls an executor runs at once; by default the number of processors."""
    return int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)


# ---- dask ----


def dask_client_of(executor: Executor) -> Any:
    """Return the dask client of an executor that a dask client has made; None for all others."""
    is_dask = type(executor).__module__.partition(".")[0] == "distributed"
    return getattr(executor, "_client", None) if is_dask else None


def dask_options_of(executor: Executor) -> dict[str, Any]:
    """Return the keywords that such an executor gives to ``Client.submit``."""
    return dict(getattr(executor, "_kwargs", {}))


def dask_memory_limit() -> int | None:
    """Return the bytes that the dask worker which runs this call may use; None elsewhere."""
    if "distributed" not in sys.modules:
        return None
    worker: Any = importlib.import_module("distributed.worker")
    try:
        limit = worker.get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):
        return None
    return int(limit) if limit else None
