"""Present a zip file behind a URL as a read-only zarr store, read in place by ranges."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import AsyncIterator

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

__all__ = ["RemoteZipStore"]

_HEADER = 30
"""Bytes of the header before a member, without its name and extra field (APPNOTE 4.3.7)."""
_SPARE = 128
"""Extra bytes read with a member, so that its header does not cost a request of its own."""


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
        self._infos = {info.filename: info for info in infos if not info.is_dir()}
        self._starts: dict[str, int] = {}
        self._below: dict[str, dict[str, bool]] = {}
        for name in self._infos:
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
        info = self._infos.get(key)
        if info is None:
            return None
        span = _span(byte_range, info.file_size)
        if info.compress_type != zipfile.ZIP_STORED:
            content = (await self._inflated(info))[span[0] : span[1]]
        elif byte_range is None:
            content = await self._member(info)
        else:
            start = await self._start_of(info)
            content = await self._fetch(start + span[0], start + span[1])
        return prototype.buffer.from_bytes(content)

    async def _inflated(self, info: zipfile.ZipInfo) -> bytes:
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise OSError(f"{self}/{info.filename}: compression {info.compress_type} is not read")
        try:
            content = zlib.decompress(await self._member(info), -15)
        except zlib.error as error:
            raise OSError(f"{self}/{info.filename}: damaged: {error}") from error
        if zlib.crc32(content) != info.CRC:
            raise OSError(f"{self}/{info.filename}: damaged: its checksum is another")
        return content

    async def _member(self, info: zipfile.ZipInfo) -> bytes:
        """Return the stored bytes of a member, usually by one request.

        A second request is needed if the header is longer than usual.
        """
        start = self._starts.get(info.filename)
        if start is not None:
            return await self._fetch(start, start + info.compress_size)
        first = info.header_offset
        likely = _HEADER + len(info.filename.encode()) + len(info.extra) + _SPARE
        # The extra field of the header may be longer than in the directory: read some more.
        content = await self._fetch(first, first + likely + info.compress_size, is_exact=False)
        start = self._note_start(info, content) - first
        if len(content) >= start + info.compress_size:
            return content[start : start + info.compress_size]
        return await self._fetch(first + start, first + start + info.compress_size)

    async def _start_of(self, info: zipfile.ZipInfo) -> int:
        if info.filename not in self._starts:
            first = info.header_offset
            self._note_start(info, await self._fetch(first, first + _HEADER))
        return self._starts[info.filename]

    def _note_start(self, info: zipfile.ZipInfo, header: bytes) -> int:
        """Return the position of the content of a member, and remember it.

        The position depends on the lengths of the name and the extra field in the header.
        """
        if header[:4] != b"PK\x03\x04":
            raise OSError(f"{self}/{info.filename}: damaged: there is no member in the zip")
        lengths = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        start = info.header_offset + _HEADER + sum(lengths)
        self._starts[info.filename] = start
        return start

    async def _fetch(self, start: int, end: int, *, is_exact: bool = True) -> bytes:
        if end <= start:
            return b""
        content = await self.store.fetch(self.key, Span(start, end))
        if content is None or (is_exact and len(content) != end - start):
            raise OSError(f"{self}: the zip has changed, or is no longer there")
        return content

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        return key in self._infos

    async def getsize(self, key: str) -> int:
        """Return the number of bytes of a key."""
        if key not in self._infos:
            raise FileNotFoundError(key)
        return self._infos[key].file_size

    # ---- listing ----

    def keys(self) -> list[str]:
        """Return the names of all members."""
        return list(self._infos)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self._infos:
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


def _span(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    if byte_range is None:
        return 0, size
    if isinstance(byte_range, RangeByteRequest):
        return min(byte_range.start, size), min(byte_range.end, size)
    if isinstance(byte_range, OffsetByteRequest):
        return min(byte_range.offset, size), size
    return max(0, size - byte_range.suffix), size
