"""Decompress gzip, zlib and bare deflate streams, with isal where it is installed."""

from __future__ import annotations

import zlib
from typing import Any

try:
    from isal.isal_zlib import decompress as _decompress  # twice as fast as zlib
except ImportError:  # no wheel for this processor
    _decompress = zlib.decompress

__all__ = ["gunzip", "inflate", "inflate_bare"]


def gunzip(data: Any, nbytes: int) -> Any:
    """Return the content of a gzip stream; `nbytes` is its expected size."""
    return _decompress(data, 31, nbytes)


def inflate(data: Any, nbytes: int) -> Any:
    """Return the content of a zlib stream."""
    return _decompress(data, 15, nbytes)


def inflate_bare(data: Any, nbytes: int) -> Any:
    """Return the content of a deflate stream without header and checksum, as in a zip."""
    return _decompress(data, -15, nbytes)
