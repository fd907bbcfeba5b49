"""Record in a bucket which tiles of a pass are done: one object per pass, replaced whole.

An object cannot be appended to, and one object per tile would be too many. The journal is written
every few seconds, so that a kill costs the tiles of these seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from napari_pyramid.storage.folder import Folder

__all__ = ["ObjectJournal", "count_object_tiles"]

PERIOD = 5.0
"""Seconds between two writes of the object."""
_HEADER = 8
"""Bytes of the number of tiles, little-endian, before one bit a tile."""


class ObjectJournal:
    """The done tiles of one pass, in an object."""

    def __init__(self, place: Folder, n_tiles: int) -> None:
        self.n_tiles = n_tiles
        self._place = place
        stored = _read(place)
        self._done = np.zeros(n_tiles, bool) if stored is None or stored.size != n_tiles else stored
        self.n_done = int(np.count_nonzero(self._done))
        self._is_written = stored is not None and stored.size == n_tiles
        self._written = time.monotonic()

    def left(self) -> Iterator[int]:
        """Yield the numbers of the tiles that are not done."""
        for start in range(0, self.n_tiles, 2**16):
            block = self._done[start : start + 2**16].copy()
            yield from (start + np.flatnonzero(~block)).tolist()

    def mark(self, number: int) -> None:
        """Record that a tile is done; the object follows within `PERIOD` seconds, or at the end."""
        self._done[number] = True
        self._is_written = False
        self.n_done += 1
        if time.monotonic() - self._written >= PERIOD:
            self._write()

    def close(self) -> None:
        """Write what is not written yet, unless the store fails: those tiles are redone."""
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        if self._is_written:
            return
        content = self.n_tiles.to_bytes(_HEADER, "little") + np.packbits(self._done).tobytes()
        self._place.write_bytes(content)
        self._is_written, self._written = True, time.monotonic()


def count_object_tiles(place: Folder) -> tuple[int, int]:
    """Return how many tiles of a journal are done, and how many tiles it has."""
    done = _read(place)
    return (0, 0) if done is None else (int(np.count_nonzero(done)), done.size)


def _read(place: Folder) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Return whether each tile is done; None if the object is missing or damaged."""
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return None
    n_tiles = int.from_bytes(content[:_HEADER], "little")
    bits = np.frombuffer(content[_HEADER:], np.uint8)
    if bits.size != -(-n_tiles // 8):
        return None
    return np.unpackbits(bits, count=n_tiles).astype(bool)
