"""Decompress gzip, zlib and bare deflate streams, with isal where it is installed."""

from __future__ import annotations

import zlib
from typing import Any

try:
    from isal.isal_zlib import crc32 as _crc32  # eight times as fast as zlib
    from isal.isal_zlib import decompress as _decompress  # twice as fast as zlib
except ImportError:  # no wheel for this processor
    _crc32, _decompress = zlib.crc32, zlib.decompress

__all__ = ["crc32", "gunzip", "inflate", "inflate_bare"]


def gunzip(data: Any, nbytes: int) -> Any:
    """Return the content of a gzip stream; `nbytes` is its expected size."""
    return _decompress(data, 31, nbytes)


def inflate(data: Any, nbytes: int) -> Any:
    """Return the content of a zlib stream."""
    return _decompress(data, 15, nbytes)


def inflate_bare(data: Any, nbytes: int) -> Any:
    """Return the content of a deflate stream without header and checksum, as in a zip."""
    return _decompress(data, -15, nbytes)


def crc32(data: Any) -> int:
    """Return the checksum CRC-32 of bytes, as in a zip."""
    return int(_crc32(data))
