"""Present a zip file behind a URL as a read-only zarr store, read in place by ranges."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Sequence

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
)

from napari_pyramid.storage.read_only import ReadOnlyStore
from napari_pyramid.storage.remote_file import open_remote_file
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.transport import Span
from napari_pyramid.storage.zip_members import Content, Place, ZipMembers

__all__ = ["RemoteZipStore"]


class RemoteZipStore(ReadOnlyStore):
    """The members of a zip.

    Parameters
    ----------
    store, key
        The zip.

    Raises
    ------
    OSError, zipfile.BadZipFile
        If it cannot be read, or is not a zip.
    """

    def __init__(self, store: RemoteStore, key: str) -> None:
        super().__init__()
        self.store = store
        self.key = key
        file = open_remote_file(store, key)
        if file is None:
            raise FileNotFoundError(f"{store.address.below(key).public} is not there")
        with zipfile.ZipFile(file) as archive:  # reads the directory at the end, and no member
            infos = archive.infolist()
        self._members = ZipMembers(str(self), infos, file.size)
        self._below: dict[str, dict[str, bool]] = {}
        for name in self._members:
            self._add_name(name)

    def _add_name(self, name: str) -> None:
        is_directory = False
        while name:
            parent, _, last = name.rpartition("/")
            names = self._below.setdefault(parent, {})
            if names.get(last) == is_directory and is_directory:
                return
            names[last] = is_directory
            name, is_directory = parent, True

    def __reduce__(self) -> tuple[type[RemoteZipStore], tuple[RemoteStore, str]]:
        return RemoteZipStore, (self.store, self.key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteZipStore):
            return False
        return (self.store, self.key) == (other.store, other.key)

    def __hash__(self) -> int:
        return hash((self.store, self.key))

    def __str__(self) -> str:
        return self.store.address.below(self.key).public

    # ---- reading ----

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or of a range of it; None if the key is missing."""
        if key not in self._members:
            return None
        steps = self._members.parts(key, [_span(byte_range, self._members.nbytes(key))])
        try:
            places = next(steps)
            while True:
                places = steps.send(await self._fetch(places))
        except StopIteration as end:
            (content,) = end.value
        return prototype.buffer.from_bytes(content)

    def fetch_now(self, key: str, span: Span | None = None) -> Content | None:
        """Return a member or a part of it, from a thread that may wait; None if it is missing.

        Raises
        ------
        OSError
            If the zip cannot be read, or the member is damaged; the message is one line that names
            the member.
        """
        if key not in self._members:
            return None
        n = self._members.nbytes(key)
        (content,) = self._parts_now(key, [(0, n) if span is None else _place(span, n)])
        return content

    def fetch_ranges_now(self, key: str, spans: Sequence[Place]) -> Sequence[Content] | None:
        """Return several parts of a member, given as first byte and end; None if it is missing.

        Parts that are near each other share a request, and may share memory.

        Raises
        ------
        OSError
            As `fetch_now`.
        """
        return self._parts_now(key, spans) if key in self._members else None

    def sends_parts(self, key: str) -> bool:
        """Return whether a part of a member is read without the whole member."""
        return key not in self._members or (
            self._members.sends_parts(key) and self.store.sends_parts(self.key)
        )

    def _parts_now(self, key: str, spans: Sequence[Place]) -> list[Content]:
        steps = self._members.parts(key, spans)
        try:
            places = next(steps)
            while True:
                places = steps.send(self._fetch_now(places))
        except StopIteration as end:
            contents: list[Content] = end.value
        return contents

    async def _fetch(self, places: Sequence[Place]) -> Sequence[Content]:
        wanted = _not_empty(places)
        if len(wanted) == 1:  # unlike `fetch_ranges`, with all ways to ask
            content = await self.store.fetch(self.key, Span(*wanted[0]))
            return self._complete(places, None if content is None else [content])
        return self._complete(
            places, await self.store.fetch_ranges(self.key, wanted) if wanted else []
        )

    def _fetch_now(self, places: Sequence[Place]) -> Sequence[Content]:
        wanted = _not_empty(places)
        if len(wanted) == 1:  # as in `_fetch`
            content = self.store.fetch_now(self.key, Span(*wanted[0]))
            return self._complete(places, None if content is None else [content])
        return self._complete(
            places, self.store.fetch_ranges_now(self.key, wanted) if wanted else []
        )

    def _complete(
        self, places: Sequence[Place], contents: Sequence[Content] | None
    ) -> Sequence[Content]:
        """Return the bytes of each place; `contents` leaves out the places that are empty."""
        found = iter(contents or ())
        complete = [next(found, b"") if end > start else b"" for start, end in places]
        if any(len(c) != end - start for c, (start, end) in zip(complete, places, strict=True)):
            raise OSError(f"{self}: the zip has changed, or is no longer there")
        return complete

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        return key in self._members

    async def getsize(self, key: str) -> int:
        """Return the number of bytes of a key."""
        if key not in self._members:
            raise FileNotFoundError(key)
        return self._members.nbytes(key)

    # ---- listing ----

    def keys(self) -> list[str]:
        """Return the names of all members."""
        return list(self._members)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self._members:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the entries of a directory."""
        for name in self._below.get(prefix.strip("/"), ()):
            yield name

    async def list_directories(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the directories in a directory."""
        for name, is_directory in self._below.get(prefix.strip("/"), {}).items():
            if is_directory:
                yield name


def _span(byte_range: ByteRequest | None, size: int) -> Place:
    if byte_range is None:
        return 0, size
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, size
    return max(0, size - byte_range.suffix), size


def _place(span: Span, size: int) -> Place:
    if span.start < 0:
        return max(0, size + span.start), size
    return span.start, size if span.end is None else span.end


def _not_empty(places: Sequence[Place]) -> list[Place]:
    return [(start, end) for start, end in places if end > start]
