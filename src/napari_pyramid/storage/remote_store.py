"""Present a bucket or web server as a read-only zarr store.

Several answers of public hosts mean that a key is missing; `refusals` decides which.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)

from napari_pyramid.errors import LayoutNotice
from napari_pyramid.storage.attempts import Attempts
from napari_pyramid.storage.connection import Connection
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.obstore_transport import ObstoreTransport
from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.read_only import ReadOnlyStore
from napari_pyramid.storage.refusals import Refusals
from napari_pyramid.storage.transport import (
    Answer,
    BeyondEndError,
    RangeIgnoredError,
    RefusedError,
    Span,
    Transport,
    TransportError,
)
from napari_pyramid.storage.web_page import PAGE_START, WEB_PAGE, is_page, may_be_page
from napari_pyramid.storage.whole_objects import WholeObjects

__all__ = ["RemoteStore"]

_METADATA = (".json", ".zarray", ".zgroup", ".zattrs", ".zmetadata", ".zlevels", ".xml", "info")


class RemoteStore(ReadOnlyStore):
    """A read-only zarr store of the objects below an address.

    Parameters
    ----------
    connection
        Address of the store and its transports. The first transport that is not refused is kept.
    attempts
        Number of times that a request is made whose answer is cut short.
    """

    def __init__(self, connection: Connection, *, attempts: int = 5) -> None:
        super().__init__()
        self.connection = connection
        self.address = connection.address
        self._attempts = Attempts(connection, attempts)
        self._refusals = Refusals()
        self._no_suffixes = False
        self._whole = WholeObjects()

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the way to the host travels; a process makes transports and locks of its own.
        return partial(RemoteStore, attempts=self._attempts.most), (self.connection,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return self.address.public

    def __repr__(self) -> str:
        return f"RemoteStore({self.address.public!r})"

    @property
    def refusal(self) -> str | None:
        """Refusal of the first request if the server refused every request, else None."""
        return self._refusals.of_everything

    @property
    def withheld(self) -> str | None:
        """Refusal of the first request if the server sent no object, else None."""
        return self._refusals.of_objects

    # ---- reading ----

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or of a range of it; None if the key is missing."""
        content = await self.fetch(key, _span(byte_range))
        return None if content is None else prototype.buffer.from_bytes(content)

    async def fetch(self, key: str, span: Span | None = None) -> bytes | None:
        """Return an object or a part of it; None if it is missing.

        Raises
        ------
        OSError
            If the request failed and its repetitions failed; the message is one line that names the
            key.
        """
        answer = await self._fetched(key, span)
        return None if answer is None else answer.content

    async def _fetched(self, key: str, span: Span | None) -> Answer | None:
        try:
            answer = await self._answered(key, span)
            if await self._is_page(key, span, answer):
                self._whole.forget(key)
                raise RefusedError(200, WEB_PAGE)
        except FileNotFoundError:
            self._refusals.note_missing()
            return None
        except RefusedError as refusal:
            await self._take_for_missing(key, refusal)
            return None
        except TransportError as error:
            raise OSError(f"{self._named(key)}: {error}") from None
        self._refusals.note_sent(key)
        if self._whole.note_success(key):
            warn(
                f"{self._named(key)}: the server does not send parts of an object, "
                "so each shard or file is read whole",
                LayoutNotice,
            )
        return answer

    def fetch_now(self, key: str, span: Span | None = None) -> bytes | memoryview | None:
        """Return what `fetch` returns, from a thread that may wait, without a copy if possible.

        A usual answer takes less than half of the processor time that `fetch` takes. What is
        unusual goes through the event loop.

        Raises
        ------
        OSError
            As `fetch`.
        """
        transport = self._attempts.transport
        if (
            self._attempts.is_settled
            and isinstance(transport, ObstoreTransport)
            and not self._whole.are_needed
        ):
            try:
                content, kind = transport.get_now(key, span)
            except FileNotFoundError:
                self._refusals.note_missing()
                return None
            except RefusedError as refusal:
                run(self._take_for_missing(key, refusal))
                return None
            except TransportError:
                return run(self.fetch(key, span))  # with repetitions and other ways to ask
            if not may_be_page(key, span, Answer(bytes(content[:PAGE_START]), kind)):
                self._refusals.note_sent(key)
                return content
        return run(self.fetch(key, span))

    def fetch_ranges_now(
        self, key: str, spans: Sequence[tuple[int, int]]
    ) -> Sequence[bytes | memoryview] | None:
        """Return what `fetch_ranges` returns, from a thread that may wait.

        Parts that shared a request may share memory.

        Raises
        ------
        OSError
            As `fetch`.
        """
        transport = self._attempts.transport
        if isinstance(transport, ObstoreTransport) and not self._whole.is_needed(key):
            try:
                return transport.get_ranges_now(key, spans)
            except FileNotFoundError:
                return None
            except TransportError:
                pass  # as in `fetch_ranges`
        return run(self.fetch_ranges(key, spans))

    async def fetch_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """Return several parts of an object, given as first byte and end; None if it is missing.

        Parts that are near each other share a request.

        Raises
        ------
        OSError
            As `fetch`.
        """
        if not self._whole.is_needed(key):
            try:
                return await self._attempts.transport.get_ranges(key, spans)
            except FileNotFoundError:
                return None
            except TransportError:
                pass  # fall back to single requests, which retry and report by themselves
        parts = await asyncio.gather(*(self.fetch(key, Span(*span)) for span in spans))
        found = [part for part in parts if part is not None]
        return found if len(found) == len(parts) else None

    def sends_parts(self, key: str) -> bool:
        """Return whether a part of an object is read without the whole object."""
        return not self._whole.is_needed(key)

    @property
    def bucket(self) -> tuple[Any, str] | None:
        """Object store of obstore and the prefix of all keys there; None if it is no bucket."""
        transport = self._attempts.transport
        if self.address.is_http or not isinstance(transport, ObstoreTransport):
            return None
        return transport.store, transport.prefix

    def _named(self, key: str) -> str:
        return f"{self.address.public}/{key}" if key else self.address.public

    async def _answered(self, key: str, span: Span | None) -> Answer:
        """Return the answer for the first credentials that are not refused.

        A range is requested if the server supports ranges, else the whole object.
        """
        if span is not None and self._whole.is_needed(key):
            return await self._part_of_whole(key, span)
        if span is None and self._whole.are_needed and not key.endswith(_METADATA):
            return await self._whole_object(key)
        asks_for_last = span is not None and span.start < 0 and not self._no_suffixes
        try:
            if span is not None and span.start < 0 and self._no_suffixes:
                return await self._suffix(key, -span.start)
            answer = await self._attempts.by_any(lambda transport: transport.get(key, span))
        except RangeIgnoredError:
            if span is None:
                raise
            if asks_for_last:
                self._no_suffixes = True  # Azure: it supports other ranges
                return await self._answered(key, span)
            return await self._part_of_whole(key, span)
        except BeyondEndError:
            return Answer(b"", size=None)
        return answer

    async def _suffix(self, key: str, n: int) -> Answer:
        """Return the last bytes of an object by its size, for servers without suffix ranges."""
        size = await self._size(key)
        return await self._attempts.by_any(lambda t: t.get(key, Span(max(0, size - n), size)))

    async def _size(self, key: str) -> int:
        first = await self._attempts.by_any(lambda transport: transport.get(key, Span(0, 1)))
        return len(first.content) if first.size is None else first.size

    # ---- what is missing ----

    async def _is_page(self, key: str, span: Span | None, answer: Answer) -> bool:
        """Return whether a server answered with a page of HTML instead of an object."""
        if span is not None and span.start != 0:
            if not answer.kind.startswith("text/html"):
                return False
            answer = await self._answered(key, Span(0, PAGE_START))
        return is_page(key, answer)

    async def _take_for_missing(self, key: str, refusal: RefusedError) -> None:
        """Return if a refused key is a missing one; see `Refusals.take_for_missing`."""
        if not key.endswith(_METADATA):
            await self._refusals.take_for_missing(self._named(key), refusal, self._request_again)
        else:
            self._refusals.note_refused(refusal)

    async def _request_again(self, key: str) -> None:
        """Raise if an object that was sent before is refused, missing or a page now."""
        answer = await self._answered(key, None)
        if await self._is_page(key, None, answer):
            raise RefusedError(200, WEB_PAGE)

    # ---- servers without ranges ----

    async def _part_of_whole(self, key: str, span: Span) -> Answer:
        answer = await self._whole_object(key)
        content = answer.content
        part = content[span.start :] if span.start < 0 else content[span.start : span.end]
        return Answer(part, answer.kind, len(content))

    async def _whole_object(self, key: str) -> Answer:
        return await self._whole.get(
            key, lambda: self._attempts.by_any(lambda transport: transport.get(key))
        )

    # ---- listing ----

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        return await self.fetch(key, Span(0, 1)) is not None

    async def getsize(self, key: str) -> int:
        """Return the number of bytes of a key."""
        try:
            return await self._size(key)
        except RangeIgnoredError:
            return len((await self._whole_object(key)).content)
        except BeyondEndError:
            return 0
        except TransportError as error:
            raise OSError(f"{self._named(key)}: {error}") from None

    async def tail(self, key: str, n: int) -> tuple[bytes, int] | None:
        """Return the last `n` bytes of an object and its size; None when it is missing.

        Raises
        ------
        OSError
            As `fetch`.
        """
        answer = await self._fetched(key, Span(-n))
        if answer is None:
            return None
        is_all = len(answer.content) < n
        size = len(answer.content) if is_all else answer.size or await self.getsize(key)
        return answer.content, size

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Return the name of each entry of a directory, and whether it is a directory itself.

        Empty if the server lists nothing.

        Raises
        ------
        OSError
            If the request failed.
        """
        transport: Transport | None = self._attempts.transport
        if self.address.is_http:
            transport = self.connection.fallback()
        try:
            if transport is None:
                return []
            return await self._attempts.repeated(lambda: transport.names(directory.strip("/")))
        except (FileNotFoundError, RefusedError, RangeIgnoredError):
            return []
        except TransportError as error:
            raise OSError(f"{self._named(directory)}: {error}") from None

    async def is_empty(self, prefix: str) -> bool:
        """Return whether a directory has no entries."""
        return not await self.names(prefix)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the entries of a directory."""
        for name, _ in await self.names(prefix):
            yield name

    async def list_directories(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the directories in a directory."""
        for name, is_directory in await self.names(prefix):
            if is_directory:
                yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        directory, _, start = prefix.rpartition("/")
        for name, is_directory in await self.names(directory):
            path = f"{directory}/{name}".lstrip("/")
            if not name.startswith(start):
                continue
            if is_directory:
                async for key in self.list_prefix(f"{path}/"):
                    yield key
            else:
                yield path


def _span(byte_range: ByteRequest | None) -> Span | None:
    if byte_range is None:
        return None
    if isinstance(byte_range, RangeByteRequest):
        return Span(byte_range.start, byte_range.end)
    if isinstance(byte_range, OffsetByteRequest):
        return Span(byte_range.offset)
    assert isinstance(byte_range, SuffixByteRequest)
    return Span(-byte_range.suffix)
