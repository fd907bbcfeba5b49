"""Find the bytes of the members of a zip, and decompress and check them, without reading.

A generator of `ZipMembers` yields the places that it needs, and is sent their bytes: a store drives
it with requests on an event loop or on threads.

Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7 and 4.4.4.
"""

from __future__ import annotations

import zipfile
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from napari_pyramid.storage.inflate import crc32, inflate_bare

__all__ = ["Content", "Place", "Steps", "ZipMembers"]

T = TypeVar("T")
Content = bytes | memoryview
Place = tuple[int, int]
"""First byte and end."""
Steps = Generator[Sequence[Place], Sequence[Content], T]
"""Yields places in the zip, is sent their bytes, and returns a result."""

_HEADER = 30
"""Bytes of the header before a member, without its name and extra field."""
_SPARE = 128
"""Extra bytes read with a member, so that its header does not cost a request of its own."""
_ENCRYPTED, _WITH_DESCRIPTOR, _UTF_8 = 1 << 0, 1 << 3, 1 << 11


class ZipMembers:
    """The members of a zip that are files. Safe to use from any thread.

    Parameters
    ----------
    name
        Name of the zip, for messages.
    infos
        Entries of the zip's directory.
    size
        Bytes of the zip.
    """

    def __init__(self, name: str, infos: Iterable[zipfile.ZipInfo], size: int) -> None:
        self._name = name
        self._size = size
        self._infos: dict[str, zipfile.ZipInfo] = {}
        offsets = []
        for info in infos:
            offsets.append(info.header_offset)
            if not info.is_dir():
                self._infos[info.filename] = info
        self._offsets = array("Q", sorted(offsets))
        self._starts: dict[str, int] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._infos

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def nbytes(self, key: str) -> int:
        """Return the number of bytes of a member, decompressed."""
        return self._infos[key].file_size

    def sends_parts(self, key: str) -> bool:
        """Return whether a part of a member can be read without the whole member."""
        return self._infos[key].compress_type == zipfile.ZIP_STORED

    def parts(self, key: str, spans: Sequence[Place]) -> Steps[list[Content]]:
        """Return parts of a member, each cut off at the end of the member.

        A part may share memory with the bytes that were read. The checksum of a member is checked
        if all of it is read.

        Raises
        ------
        OSError
            If the member is damaged, encrypted or compressed by an unknown method.
        """
        info = self._infos[key]
        if info.flag_bits & _ENCRYPTED:
            raise OSError(f"{self._named(info)}: encrypted")
        nbytes = info.file_size
        spans = [(min(start, nbytes), min(end, nbytes)) for start, end in spans]
        if self.sends_parts(key) and list(spans) != [(0, nbytes)]:
            return (yield from self._stored_parts(info, spans))
        content = memoryview((yield from self._whole(info)))
        return [content[start:end] for start, end in spans]

    def _whole(self, info: zipfile.ZipInfo) -> Steps[Content]:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError(f"{self._named(info)}: compression {info.compress_type} is not read")
        content = yield from self._stored(info)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            try:
                content = inflate_bare(content, info.file_size)
            except Exception as error:  # zlib and isal have errors of their own
                raise OSError(f"{self._named(info)}: damaged: {error}") from error
        if len(content) != info.file_size or crc32(content) != info.CRC:
            raise OSError(f"{self._named(info)}: damaged: its checksum is another")
        return content

    def _stored(self, info: zipfile.ZipInfo) -> Steps[Content]:
        """Return the stored bytes of a member, usually by one request.

        A second request is needed if the header is longer than usual.
        """
        n, start = info.compress_size, self._known_start(info)
        if start is None:
            first = info.header_offset
            (content,) = yield [self._cut(first, first + _usual_header(info) + n)]
            start = self._note_start(info, content)
            found = memoryview(content)[start - first :][:n]
            if len(found) == n:
                return found
        (content,) = yield [(start, start + n)]
        return content

    def _stored_parts(self, info: zipfile.ZipInfo, spans: Sequence[Place]) -> Steps[list[Content]]:
        """Return parts of a member that is not compressed, usually by one round of requests."""
        start = self._known_start(info)
        if start is None:
            # The length of the header is known from the header alone: both are requested at once,
            # and the parts with as many more bytes as the length may vary.
            first, shortest = info.header_offset, _HEADER + len(_encoded_name(info))
            spare = _usual_header(info) - shortest
            least = first + shortest
            header, *contents = yield [
                self._cut(first, first + _HEADER),
                *(self._cut(least + a, least + b + spare) for a, b in spans),
            ]
            start = self._note_start(info, header)
            parts: list[Content] = [
                memoryview(content)[start - least :][: b - a]
                for content, (a, b) in zip(contents, spans, strict=True)
            ]
            if all(len(part) == b - a for part, (a, b) in zip(parts, spans, strict=True)):
                return parts
        return list((yield [(start + a, start + b) for a, b in spans]))

    def _known_start(self, info: zipfile.ZipInfo) -> int | None:
        """Return the position of the content of a member; None if only its header can give it.

        The header of most zips is as short as it can be: if nothing but it and the content fits
        before the next member, it need not be read.
        """
        start = self._starts.get(info.filename)
        if start is not None or info.flag_bits & _WITH_DESCRIPTOR:
            return start
        following = bisect_right(self._offsets, info.header_offset)
        if following == len(self._offsets):
            return None
        shortest = info.header_offset + _HEADER + len(_encoded_name(info))
        return shortest if shortest + info.compress_size == self._offsets[following] else None

    def _note_start(self, info: zipfile.ZipInfo, header: Content) -> int:
        """Return the position of the content of a member, and remember it.

        The position depends on the lengths of the name and the extra field in the header.
        """
        if len(header) < _HEADER or header[:4] != b"PK\x03\x04":
            raise OSError(f"{self._named(info)}: damaged: there is no member in the zip")
        lengths = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        start = info.header_offset + _HEADER + sum(lengths)
        self._starts[info.filename] = start
        return start

    def _cut(self, start: int, end: int) -> Place:
        return min(start, self._size), min(end, self._size)

    def _named(self, info: zipfile.ZipInfo) -> str:
        return f"{self._name}/{info.filename}"


def _usual_header(info: zipfile.ZipInfo) -> int:
    """Return a number of bytes that the header of a member rarely exceeds.

    The extra field of the header may be longer than in the directory.
    """
    return _HEADER + len(_encoded_name(info)) + len(info.extra) + _SPARE


def _encoded_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF_8 else "cp437")
