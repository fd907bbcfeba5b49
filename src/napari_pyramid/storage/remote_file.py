"""Present an object of a `RemoteStore` as a seekable file, read by ranges that are cached."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar

from napari_pyramid.storage.remote_store import RemoteStore

__all__ = ["RemoteFile", "open_remote_file"]

T = TypeVar("T")
_BLOCK = 64 * 2**10
"""Bytes of a cached block: reads of headers and directories are small and near each other."""
_KEPT_BYTES = 64 * 2**20
_GAP = 64 * 2**10
"""Parts that are no farther apart than this are read by one request."""


class RemoteFile(io.RawIOBase):
    """A read-only file that is read in blocks, and caches the blocks used last.

    Parameters
    ----------
    store, key
        The object.
    size
        Its bytes.
    tail
        Its last bytes, where they were read already.
    """

    def __init__(self, store: RemoteStore, key: str, size: int, tail: bytes = b"") -> None:
        super().__init__()
        self.store = store
        self.key = key
        self.size = size
        self.name = key
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        first = -(-(size - len(tail)) // _BLOCK)
        for block in range(first, -(-size // _BLOCK)) if tail else ():
            start = block * _BLOCK - (size - len(tail))
            self._blocks[block] = tail[start : start + _BLOCK]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the file, in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the file, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek before the beginning of {self.key}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on, and return the number of bytes read."""
        view = memoryview(buffer).cast("B")
        content = self.read_at(self._at, len(view))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def read_at(self, start: int, n: int) -> bytes:
        """Return `n` bytes from `start`, fewer at the end of the file.

        Raises
        ------
        OSError
            If they cannot be read.
        """
        end = min(start + n, self.size)
        if end <= start:
            return b""
        self.prefetch([(start, end)])
        blocks = range(start // _BLOCK, -(-end // _BLOCK))
        with self._lock:
            found = [self._blocks.get(block) for block in blocks]
        if any(part is None for part in found):  # more was asked for than is kept
            return self._fetch([(start, end)])[0]
        joined = b"".join(part for part in found if part is not None)
        return joined[start - blocks.start * _BLOCK :][: end - start]

    def prefetch(self, spans: Iterable[tuple[int, int]]) -> None:
        """Read the parts from first byte to end that are not kept yet, side by side."""
        with self._lock:
            missing = sorted(
                {
                    block
                    for start, end in spans
                    for block in range(start // _BLOCK, -(-min(end, self.size) // _BLOCK))
                    if block not in self._blocks
                }
            )
        runs: list[list[int]] = []
        for block in missing:
            if runs and (block - runs[-1][1]) * _BLOCK <= _GAP:
                runs[-1][1] = block + 1
            else:
                runs.append([block, block + 1])
        if not runs:
            return
        spans = [(first * _BLOCK, min(end * _BLOCK, self.size)) for first, end in runs]
        parts = self._fetch(spans)
        with self._lock:
            for (first, end), part in zip(runs, parts, strict=True):
                for i, block in enumerate(range(first, end)):
                    self._blocks[block] = part[i * _BLOCK : (i + 1) * _BLOCK]
                    self._blocks.move_to_end(block)
            newest = sum(end - first for first, end in runs)
            while len(self._blocks) > max(newest, _KEPT_BYTES // _BLOCK):
                self._blocks.popitem(last=False)

    def _fetch(self, spans: list[tuple[int, int]]) -> list[bytes]:
        parts = _answer(self.store.fetch_ranges(self.key, spans))
        if parts is None or any(
            len(part) != end - start for part, (start, end) in zip(parts, spans, strict=True)
        ):
            public = self.store.address.below(self.key).public
            raise OSError(f"{public}: the file has changed, or is no longer there")
        return parts


def open_remote_file(store: RemoteStore, key: str) -> RemoteFile | None:
    """Return an object as a file, None when it is missing.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    found = _answer(store.tail(key, 2 * _BLOCK))
    return None if found is None else RemoteFile(store, key, found[1], found[0])


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return an event loop in its own thread.

    A file may be read on the event loop of zarr, which would wait for itself.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="napari-pyramid files", daemon=True).start()
    return loop


def _answer(request: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(request, _loop()).result()
