"""Keep decoded chunks in memory, up to a number of bytes: `ChunkCache`."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ChunkCache", "default_budget", "machine_memory"]

Index = tuple[int, ...]
_Key = tuple[int, Index]
"""Token of an array, and coordinates of a chunk in its grid of chunks."""
_Array = npt.NDArray[Any]


_Block = tuple[int, int, *tuple[Index, ...]]
"""Chunks that were read in one call, and share their memory: token, bytes, and their indexes.

A plain tuple of numbers, which the garbage collector comes to ignore: thousands of objects that it
visits would make it stop all threads more often, and for longer.
"""


class ChunkCache:
    """A cache of decoded chunks with at most `budget` bytes; safe to use from any thread.

    Chunks that were read in one call stay views of one block, which saves a copy; therefore they
    are dropped together. The least recently used block is dropped first.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._home: dict[_Key, tuple[int, _Array]] = {}
        """Number of the block of each chunk, and the chunk."""
        self._numbers = count()
        self._lock = threading.Lock()
        self._released: deque[int] = deque()

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self._home)

    def get(self, token: int, index: Index) -> _Array | None:
        """Return a chunk of the array `token`, or None if the cache does not have it."""
        with self._lock:
            found = self._home.get((token, index))
            if found is None:
                return None
            self._blocks.move_to_end(found[0])
            return found[1]

    def __contains__(self, key: tuple[int, Index]) -> bool:
        """Return whether the cache has a chunk; this does not count as a use of it."""
        return key in self._home

    def put(self, token: int, chunks: Mapping[Index, _Array]) -> None:
        """Keep `chunks` of an array.

        Chunks that are views of the same memory are counted and dropped together.
        """
        blocks: dict[int, dict[Index, _Array]] = {}
        for index, chunk in chunks.items():
            blocks.setdefault(_owner(chunk), {})[index] = chunk
        with self._lock:
            self._drop_released()
            for block in blocks.values():
                number = next(self._numbers)
                nbytes = sum(map(_nbytes, block.values()))
                self._blocks[number] = token, nbytes, *block
                self._home.update(((token, i), (number, chunk)) for i, chunk in block.items())
                self.nbytes += nbytes
            self._drop_least_used()

    def resize(self, budget: int) -> None:
        """Change the number of bytes, and drop the chunks that do not fit any more."""
        with self._lock:
            self.budget = budget
            self._drop_least_used()

    def _drop_least_used(self) -> None:
        while self.nbytes > self.budget:
            self._drop(next(iter(self._blocks)))

    def forget(self, token: int, indexes: Iterable[Index] | None = None) -> None:
        """Drop the chunks of an array at `indexes`, with the blocks that they are in; None: all."""
        with self._lock:
            if indexes is None:
                self._released.append(token)
            self._drop_released()
            keys = ((token, index) for index in indexes or ())
            for number in {self._home[key][0] for key in keys if key in self._home}:
                self._drop(number)

    def release(self, token: int) -> None:
        """Drop all chunks of an array at the next call of another method.

        For the garbage collector, which may run in the thread that holds the lock.
        """
        self._released.append(token)
        if self._lock.acquire(blocking=False):
            try:
                self._drop_released()
            finally:
                self._lock.release()

    def _drop_released(self) -> None:
        tokens = {self._released.popleft() for _ in range(len(self._released))}
        for number in (
            [n for n, (token, *_) in self._blocks.items() if token in tokens] if tokens else []
        ):
            self._drop(number)

    def _drop(self, number: int) -> None:
        token, nbytes, *indexes = self._blocks.pop(number)
        self.nbytes -= nbytes
        for key in ((token, index) for index in indexes):
            if key in self._home and self._home[key][0] == number:
                del self._home[key]  # else another thread has read the same chunk again


def _owner(chunk: _Array) -> int:
    """Return an identity of the memory that a chunk keeps alive."""
    owner: Any = chunk
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return id(owner)


def _nbytes(chunk: _Array) -> int:
    """Return the bytes of a chunk in memory; a broadcast chunk takes one sample."""
    return chunk.itemsize if 0 in chunk.strides else chunk.nbytes


def default_budget() -> int:
    """Return the default budget of the cache: an eighth of the machine's memory, at most 1 GiB."""
    return min(1 << 30, machine_memory() // 8)


def machine_memory() -> int:
    """Return the machine's memory in bytes; 8 GiB if it cannot be found out."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 8 << 30
