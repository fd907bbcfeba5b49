"""ChunkCache: decoded chunks in memory, bounded in bytes. Knows no array and no store."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ChunkCache", "default_budget", "machine_memory"]

Index = tuple[int, ...]
_Key = tuple[int, Index]
"""A number for the array, and the coordinates of the chunk in it."""
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Block:
    """Chunks that were read at once, and share their memory."""

    token: int
    chunks: Mapping[Index, _Array]
    nbytes: int


class ChunkCache:
    """Decoded chunks, at most `budget` bytes of them; safe to use from any thread.

    Chunks that were read at once stay views of one block, which saves copying all of it; so they are dropped at once,
    too, the block that was not used for longest first.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._home: dict[_Key, int] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._released: deque[int] = deque()

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self._home)

    def get(self, token: int, index: Index) -> _Array | None:
        with self._lock:
            number = self._home.get((token, index))
            if number is None:
                return None
            self._blocks.move_to_end(number)
            return self._blocks[number].chunks[index]

    def __contains__(self, key: tuple[int, Index]) -> bool:
        """Whether a chunk is there; it does not count as used."""
        return key in self._home

    def put(self, token: int, chunks: Mapping[Index, _Array]) -> None:
        """Keep `chunks` of an array; chunks that are views of the same memory count, and are dropped, together."""
        blocks: dict[int, dict[Index, _Array]] = {}
        for index, chunk in chunks.items():
            blocks.setdefault(_owner(chunk), {})[index] = chunk
        with self._lock:
            self._drop_released()
            for block in blocks.values():
                number = next(self._numbers)
                nbytes = sum(map(_nbytes, block.values()))
                self._blocks[number] = _Block(token, block, nbytes)
                self._home.update(((token, index), number) for index in block)
                self.nbytes += nbytes
            while self.nbytes > self.budget:
                self._drop(next(iter(self._blocks)))

    def forget(self, token: int) -> None:
        """Drop all chunks of an array."""
        with self._lock:
            self._released.append(token)
            self._drop_released()

    def release(self, token: int) -> None:
        """As `forget`, from the garbage collector: it may run in the very thread that holds the lock."""
        self._released.append(token)
        if self._lock.acquire(blocking=False):
            try:
                self._drop_released()
            finally:
                self._lock.release()

    def _drop_released(self) -> None:
        tokens = {self._released.popleft() for _ in range(len(self._released))}
        for number in (
            [n for n, block in self._blocks.items() if block.token in tokens] if tokens else []
        ):
            self._drop(number)

    def _drop(self, number: int) -> None:
        block = self._blocks.pop(number)
        self.nbytes -= block.nbytes
        for index in block.chunks:
            if (
                self._home.get((block.token, index)) == number
            ):  # else another thread has read the same chunk since
                del self._home[block.token, index]


def _owner(chunk: _Array) -> int:
    """Return what identifies the memory that a chunk keeps alive."""
    owner: Any = chunk
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return id(owner)


def _nbytes(chunk: _Array) -> int:
    """Return the bytes of a chunk in memory; a broadcast one has a single sample."""
    return chunk.itemsize if 0 in chunk.strides else chunk.nbytes


def default_budget() -> int:
    """An eighth of the machine's memory, at most 1 GiB."""
    return min(1 << 30, machine_memory() // 8)


def machine_memory() -> int:
    """Return the bytes of memory that the machine has; 8 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 8 << 30
