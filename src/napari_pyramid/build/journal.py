"""Record on disk which tiles of a pass are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["Journal", "count_tiles"]


class Journal:
    """The done tiles of one pass, on disk; marking a tile writes a single byte."""

    def __init__(self, path: Path, n_tiles: int) -> None:
        self.n_tiles = n_tiles
        if not path.exists() or path.stat().st_size != n_tiles:
            with path.open("wb") as new:
                new.truncate(n_tiles)
        self._file: BinaryIO = path.open("r+b", buffering=0)
        self.n_done, _ = count_tiles(path)

    def left(self) -> Iterator[int]:
        """Yield the numbers of the tiles that are not done, and read the file block by block."""
        for start in range(0, self.n_tiles, 2**16):
            self._file.seek(start)
            for i, done in enumerate(self._file.read(2**16)):
                if not done:
                    yield start + i

    def mark(self, number: int) -> None:
        """Record that a tile is done."""
        self._file.seek(number)
        self._file.write(b"\x01")
        self.n_done += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def count_tiles(path: Path) -> tuple[int, int]:
    """Return how many tiles of a journal are done, and how many tiles it has."""
    done = total = 0
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(2**20), b""):
            done += chunk.count(1)
            total += len(chunk)
    return done, total
