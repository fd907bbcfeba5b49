"""Lend memory for decoded chunks, and lend it again once no array uses it.

The system clears every fresh page of memory, which takes up to a third of the time in which a chunk
is read and decoded. A cache of chunks that is full lets go of as many blocks as it needs.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MEMORY", "ChunkMemory"]

Bytes = npt.NDArray[np.uint8]

IDLE_BYTES = 128 * 2**20


class ChunkMemory:
    """Blocks of memory that are used by one array after another. Safe to use from any thread.

    Parameters
    ----------
    idle_bytes
        Bytes of unused blocks that are kept at most.
    """

    def __init__(self, idle_bytes: int) -> None:
        self._most = idle_bytes
        # No lock: when garbage is collected a block may come back at any time, even inside `lend`.
        # The methods of dict and deque that are used are atomic.
        self._idle: dict[int, deque[Bytes]] = {}

    @property
    def idle_bytes(self) -> int:
        """Bytes of the blocks that nobody uses."""
        return sum(nbytes * len(blocks) for nbytes, blocks in list(self._idle.items()))

    def lend(self, nbytes: int) -> Bytes:
        """Return `nbytes` bytes of any value, shape (nbytes,), until the last view of them goes."""
        try:
            block = self._idle[nbytes].pop()
        except (KeyError, IndexError):
            if self.idle_bytes > self._most // 2:
                self._idle.clear()  # blocks of other sizes, which nobody has asked for
            block = np.empty(nbytes, np.uint8)
        return np.asarray(_Loan(self, block))

    def take_back(self, block: Bytes) -> None:
        """Keep a block for the next call of `lend`, or free it if enough of them are kept."""
        if self.idle_bytes + block.nbytes <= self._most:
            self._idle.setdefault(block.nbytes, deque()).append(block)


class _Loan:
    """The owner of a lent block: NumPy keeps it as long as an array or view of the block lives."""

    __slots__ = ("_block", "_memory")

    def __init__(self, memory: ChunkMemory, block: Bytes) -> None:
        self._memory = memory
        self._block = block

    @property
    def __array_interface__(self) -> dict[str, Any]:
        # Not kept: the garbage collector would visit its five objects for each chunk in memory.
        return self._block.__array_interface__

    def __del__(self) -> None:
        self._memory.take_back(self._block)


MEMORY = ChunkMemory(IDLE_BYTES)
