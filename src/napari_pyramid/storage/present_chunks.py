"""Find out which chunks of a stored array are present, and so which are absent.

For arrays in directories; `listed_chunks` finds it out for buckets.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

__all__ = ["PresentBlocks", "index_of", "present_blocks"]

LARGEST_MAP = 2**20
"""Most blocks of a map, of one byte each; blocks of larger arrays are looked up one by one.

Each process that fills tiles makes a map. Listing a million files takes seconds.
"""


class PresentBlocks:
    """The chunks (or shards) that exist of an array in a local directory."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._map = present_blocks(array)
        self._root = os.path.join(array.store.root, array.path)  # type: ignore[attr-defined]  # `of` takes local stores only
        self._key = array.metadata.encode_chunk_key

    @classmethod
    def of(cls, array: Any) -> PresentBlocks | None:
        """Return the present blocks of a zarr array, or None for all other arrays and stores."""
        is_local = isinstance(array, zarr.Array) and isinstance(array.store, LocalStore)
        return cls(array) if is_local else None

    def any_in(self, blocks: tuple[slice, ...]) -> bool:
        """Return whether any block exists in a region of the grid of blocks."""
        if self._map is not None:
            return bool(self._map[blocks].any())
        return any(
            os.path.exists(os.path.join(self._root, self._key(index)))
            for index in itertools.product(*(range(s.start, s.stop) for s in blocks))
        )


def present_blocks(array: zarr.Array[Any]) -> npt.NDArray[np.bool_] | None:
    """Return which chunks (or shards) of an array exist, by listing its directory once.

    None if the array is not in a local directory, or has more than `LARGEST_MAP` blocks.
    """
    block = array.shards or array.chunks
    grid = tuple(-(-n // b) for n, b in zip(array.shape, block, strict=True))
    if not isinstance(array.store, LocalStore) or math.prod(grid) > LARGEST_MAP:
        return None
    found = np.zeros(grid, bool)
    root = os.path.join(array.store.root, array.path)
    for name in _files(root):
        index = index_of(name)
        if (
            index is not None
            and len(index) == len(grid)
            and all(i < n for i, n in zip(index, grid, strict=True))
        ):
            found[index] = True
    return found


def _files(root: str, below: str = "") -> Iterator[str]:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=True):
                yield from _files(root, f"{below}{entry.name}/")
            else:
                yield below + entry.name


def index_of(key: str) -> tuple[int, ...] | None:
    """Return the chunk index of a key in any chunk key encoding, or None for other files.

    The encodings: ``c/0/1``, ``c.0.1``, ``0/1`` and ``0.1``.
    """
    parts = key.replace(".", "/").split("/")
    parts = parts[1:] if parts[0] == "c" else parts
    return tuple(map(int, parts)) if all(p.isascii() and p.isdigit() for p in parts) else None
