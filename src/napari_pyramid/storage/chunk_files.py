"""Open the files that hold chunks on this machine: files in a directory, or members of a zip."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import BinaryIO, Protocol

from zarr.abc.store import Store
from zarr.storage import LocalStore, ZipStore

from napari_pyramid.storage.inflate import inflate_bare

__all__ = ["ChunkFile", "ChunkFiles", "chunk_files"]

_HEADER = struct.Struct("<26xHH")
"""Header before a member of a zip: the lengths of its name and extra field (APPNOTE 4.3.7)."""
_ENCRYPTED = 1


class ChunkFile:
    """The bytes of a chunk or shard: a file, or a part of one. A context manager that closes it.

    Parameters
    ----------
    start, size
        Place of the bytes in the file.
    stamp
        Values that change when the bytes are replaced.
    """

    __slots__ = ("_file", "_start", "size", "stamp")

    def __init__(self, file: BinaryIO, start: int, size: int, stamp: tuple[int, ...]) -> None:
        self._file = file
        self._start = start
        self.size = size
        self.stamp = stamp

    def __enter__(self) -> ChunkFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on."""
        self._file.seek(self._start + start)
        return self._file.read(length)

    def read_into(self, start: int, room: memoryview) -> int:
        """Fill `room` with the bytes from `start` on, and return how many there were."""
        self._file.seek(self._start + start)
        return self._file.readinto(room)  # type: ignore[attr-defined, no-any-return]


class ChunkFiles(Protocol):
    """The files of a store."""

    def open(self, key: str) -> ChunkFile:
        """Return the file of a key, opened.

        Raises
        ------
        FileNotFoundError
            If the store has no such key.
        """


def chunk_files(store: Store) -> ChunkFiles | None:
    """Return the files of a store; None if it is not a directory or a zip on this machine.

    A zip in a file object, which zarr 3.4 opens, has no path.
    """
    if type(store) is LocalStore:
        return _DirectoryFiles(str(store.root))
    if type(store) is ZipStore and store.read_only and store.path is not None:
        return _ZipFiles(str(store.path))
    return None


class _DirectoryFiles:
    def __init__(self, root: str) -> None:
        self._root = root

    def open(self, key: str) -> ChunkFile:
        file = open(os.path.join(self._root, key), "rb", buffering=0)  # noqa: SIM115  # ChunkFile closes it
        stat = os.fstat(file.fileno())
        return ChunkFile(file, 0, stat.st_size, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


class _ZipFiles:
    """Members that are stored are read in place; members that are deflated, in one piece."""

    def __init__(self, path: str) -> None:
        self._path = path

    def open(self, key: str) -> ChunkFile:
        file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # ChunkFile closes it
        try:
            stat = os.fstat(file.fileno())
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            member = _members(self._path, stamp).get(key)
            if member is None:
                raise FileNotFoundError(key)
            if member.flag_bits & _ENCRYPTED:
                raise ValueError(f"{key} is encrypted")
            file.seek(member.header_offset)
            header = file.read(_HEADER.size)
            start = member.header_offset + _HEADER.size + sum(_HEADER.unpack(header))
            if member.compress_type == zipfile.ZIP_STORED:
                return ChunkFile(file, start, member.file_size, stamp)
            if member.compress_type != zipfile.ZIP_DEFLATED:
                raise ValueError(f"{key} is compressed by method {member.compress_type}")
            file.seek(start)
            content = inflate_bare(file.read(member.compress_size), member.file_size)
        except BaseException:
            file.close()
            raise
        file.close()
        return ChunkFile(io.BytesIO(content), 0, len(content), stamp)


@lru_cache(maxsize=4)
def _members(path: str, stamp: tuple[int, ...]) -> Mapping[str, zipfile.ZipInfo]:
    """Return the members of a zip by name; `stamp` changes with the file."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info for info in archive.infolist()}
