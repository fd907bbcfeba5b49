"""Decode wanted chunks in the background, the most urgent first: `ChunkLoader`.

Each request of a client replaces its request before, so chunks that have left the view are not
read. Threads are started when there is work, and end when all work is done. They give way to the
thread that draws.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from napari_pyramid.arrays.chunk_reader import Index
from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.storage.run_together import THREADS
from napari_pyramid.thread_priority import give_way

__all__ = ["ChunkLoader", "Client", "Wanted"]

Array = npt.NDArray[Any]
Wanted = tuple[ChunkedSource, Index]

REST = 0.06
"""Seconds without a new request after which chunks are read ahead.

Decoding beside a window that draws a step takes processors from it.
"""
REMEMBERED = 8
"""About the number of reads over which the time of a chunk is averaged."""


class Client(Protocol):
    """Receiver of chunks. Its methods are called on threads of the loader."""

    def deliver(self, source: ChunkedSource, chunks: dict[Index, Array]) -> None:
        """Take chunks that were wanted; they must not be written to."""

    def fail(self, source: ChunkedSource, index: Index, error: Exception) -> None:
        """Note that a wanted chunk cannot be read."""


class _Request:
    """The chunks that one client waits for, in reading order."""

    __slots__ = ("ahead", "failed", "left", "waiting")

    def __init__(self) -> None:
        self.waiting: tuple[dict[Wanted, None], dict[Wanted, None]] = ({}, {})
        """Chunks that have not been delivered: urgent chunks, and chunks to read ahead."""
        self.left: tuple[dict[Wanted, None], dict[Wanted, None]] = ({}, {})
        """The waiting chunks that no thread has taken."""
        self.ahead: Iterable[Wanted] | None = None
        """Chunks to read ahead that have not been listed, or None."""
        self.failed: set[Wanted] = set()
        """Urgent chunks that could not be read, while they are still wanted."""

    def list_ahead(self) -> None:
        """List the chunks to read ahead, if that has not been done."""
        ahead, self.ahead = self.ahead, None
        for wanted in ahead or ():
            if not wanted[0].has(wanted[1]) and wanted not in self.waiting[0]:
                self.waiting[1][wanted] = self.left[1][wanted] = None

    def settled(self, wanted: Iterable[Wanted], errors: Mapping[Index, Exception]) -> list[Index]:
        """Note that chunks were read or failed; return those that the client waits for.

        The client waits for urgent chunks until they are delivered.
        """
        mine = []
        for key in wanted:
            is_ahead = key in self.waiting[1]
            if key in self.waiting[0] and key[1] in errors:
                self.failed.add(key)
            if is_ahead or key in self.waiting[0]:
                mine.append(key[1])
            for chunks in (self.waiting[1], *self.left):
                chunks.pop(key, None)
        return mine


class ChunkLoader:
    """A reader of chunks for several clients on a few threads; safe to use from any thread."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._requests: dict[Client, _Request] = {}
        self._in_flight: set[Wanted] = set()
        self._last_request = 0.0
        self._seconds_per_chunk = 0.0
        """Seconds in which a thread read a chunk, averaged over the last reads; 0 before any."""
        self._n_running = 0
        self._changed = threading.Condition()

    def want(self, client: Client, urgent: Iterable[Wanted], ahead: Iterable[Wanted] = ()) -> None:
        """Replace what `client` wants; `ahead` is read while no client waits for urgent chunks.

        Urgent chunks are delivered from memory or after reading; chunks of `ahead` only after
        reading. A chunk that failed is not tried again while it stays wanted; see `retry`. `ahead`
        is iterated on a thread of the loader, once it is time to read ahead; it must not call the
        loader.
        """
        with self._changed:
            request = self._requests.setdefault(client, _Request())
            asked = dict.fromkeys(urgent)
            request.failed &= asked.keys()
            for failed in request.failed:
                del asked[failed]
            request.waiting, request.left = (asked, {}), (asked.copy(), {})
            request.ahead = ahead or None
            self._last_request = time.monotonic()
            self._start_threads()
            self._changed.notify_all()

    def retry(self, client: Client, urgent: Iterable[Wanted]) -> None:
        """Replace what `client` wants, and try failed chunks again."""
        with self._changed:
            if client in self._requests:
                self._requests[client].failed.clear()
        self.want(client, urgent)

    def drop(self, client: Client) -> None:
        """Forget a client; chunks that are being decoded for it are not delivered."""
        with self._changed:
            self._requests.pop(client, None)
            self._changed.notify_all()

    def is_waiting(self, client: Client) -> bool:
        """Return whether `client` waits for urgent chunks."""
        with self._changed:
            return client in self._requests and bool(self._requests[client].waiting[0])

    def wait(self, client: Client, seconds: float) -> bool:
        """Wait at most `seconds` for the urgent chunks of `client`.

        Return whether all of them have been delivered or have failed.
        """
        end = time.monotonic() + seconds
        with self._changed:
            while client in self._requests and self._requests[client].waiting[0]:
                remaining = end - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
        return True

    def expected_seconds(self, n_chunks: int) -> float:
        """Return the seconds in which `n_chunks` will be read, as the last reads suggest.

        0 if nothing has been read.
        """
        return self._seconds_per_chunk * n_chunks / self._threads

    def _start_threads(self) -> None:
        requests = self._requests.values()
        n_left = sum(len(r.left[0]) + len(r.left[1]) + (r.ahead is not None) for r in requests)
        for _ in range(min(self._threads - self._n_running, n_left)):
            self._n_running += 1
            threading.Thread(target=self._work, name="chunk loader", daemon=True).start()

    def _work(self) -> None:
        give_way("read")
        try:
            while batch := self._take():
                self._read(*batch)
        finally:
            with self._changed:
                self._n_running -= 1
                self._start_threads()  # for chunks that were wanted after this thread looked last

    def _take(self) -> tuple[ChunkedSource, list[Index]] | None:
        """Return the next chunks to read, the most urgent first, all from the same source.

        Wait for the time to read ahead if there is nothing else to do; None if there is nothing.
        """
        with self._changed:
            while True:
                requests = self._requests.values()
                batch = self._first_of(request.left[0] for request in requests)
                rest = self._last_request + REST - time.monotonic()
                if batch is None and rest <= 0:
                    for request in requests:
                        request.list_ahead()
                    batch = self._first_of(request.left[1] for request in requests)
                    self._start_threads()
                is_done = not any(request.left[1] or request.ahead for request in requests)
                if batch is not None or is_done:
                    return batch
                self._changed.wait(rest)

    def _first_of(
        self, lists: Iterable[dict[Wanted, None]]
    ) -> tuple[ChunkedSource, list[Index]] | None:
        return next((batch for left in lists if (batch := self._next_of(left)) is not None), None)

    def _next_of(self, left: dict[Wanted, None]) -> tuple[ChunkedSource, list[Index]] | None:
        indexes: list[Index] = []
        source, size = None, 1
        for wanted in list(left):
            if source is None and wanted not in self._in_flight:
                source = wanted[0]
                size = source.batch_size(len(left), self._threads)
            if source is not None and wanted[0] is not source:
                break
            del left[wanted]  # a chunk being read is delivered to all clients that wait for it
            if wanted not in self._in_flight:
                self._in_flight.add(wanted)
                indexes.append(wanted[1])
            if len(indexes) == size:
                break
        return None if source is None else (source, indexes)

    def _read(self, source: ChunkedSource, indexes: list[Index]) -> None:
        start = time.monotonic()
        found, errors = _loaded(source, indexes)
        took = (time.monotonic() - start) / len(indexes)
        read = [(source, index) for index in indexes]
        with self._changed:
            self._in_flight.difference_update(read)
            before = self._seconds_per_chunk or took
            self._seconds_per_chunk = before + (took - before) / REMEMBERED
            waiting = [
                (client, request.waiting[0], request.settled(read, errors))
                for client, request in self._requests.items()
            ]
        for client, _, mine in waiting:
            if chunks := {index: found[index] for index in mine if index in found}:
                client.deliver(source, chunks)
            for index in mine:
                if index in errors:
                    client.fail(source, index, errors[index])
        with self._changed:
            for _, urgent, mine in waiting:
                for index in mine:
                    urgent.pop((source, index), None)
            self._changed.notify_all()


def _loaded(
    source: ChunkedSource, indexes: list[Index]
) -> tuple[dict[Index, Array], dict[Index, Exception]]:
    """Return the chunks that can be read, and the errors of the others.

    After an error the chunks are read one by one, so that a damaged chunk does not lose the rest.
    """
    try:
        return source.load(indexes), {}
    except Exception as error:  # codecs and stores may raise any exception
        if len(indexes) == 1:
            return {}, {indexes[0]: error}
    found: dict[Index, Array] = {}
    errors: dict[Index, Exception] = {}
    for index in indexes:
        one, why = _loaded(source, [index])
        found |= one
        errors |= why
    return found, errors
