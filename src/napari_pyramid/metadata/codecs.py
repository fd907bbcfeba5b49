"""Parse names of codecs, such as ``blosc-zstd-5``."""

from __future__ import annotations

import re
from typing import Any

from napari_pyramid.errors import SpecError

__all__ = ["DEFAULT_CODEC", "parse_codec"]

DEFAULT_CODEC = "blosc-zstd-1"
"""Chosen by measurement: five times as fast as level 5 for a tenth more bytes.

Source: benchmarks/codecs.py.
"""

_BLOSC = ("zstd", "lz4", "lz4hc", "zlib", "blosclz")

_LARGEST_ZSTD = 22


def parse_codec(codec: str, itemsize: int) -> tuple[str | None, dict[str, Any]]:
    """Return the name and the configuration of a codec, as zarr v3 writes them; None for no codec.

    Parameters
    ----------
    itemsize
        Bytes of a sample, which blosc shuffles by.

    Raises
    ------
    SpecError
        If the codec or its level is not known.
    """
    if codec == "none":
        return None, {}
    if m := re.fullmatch(rf"blosc-({'|'.join(_BLOSC)})-(\d)", codec):
        return "blosc", {
            "cname": m[1],
            "clevel": int(m[2]),
            "shuffle": "shuffle",
            "typesize": itemsize,
            "blocksize": 0,
        }
    if (m := re.fullmatch(r"zstd-(\d\d?)", codec)) and int(m[1]) <= _LARGEST_ZSTD:
        return "zstd", {"level": int(m[1]), "checksum": False}
    if m := re.fullmatch(r"gzip-(\d)", codec):
        return "gzip", {"level": int(m[1])}
    raise SpecError(
        f"codec {codec!r} is not known: use blosc-zstd-1 (or another of {', '.join(_BLOSC)}), "
        "zstd-1, gzip-5 or none"
    )
