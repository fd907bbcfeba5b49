"""Describe one level of a pyramid as plain data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_pyramid.downsample import downsampled_shape

__all__ = ["Level", "format_bytes", "parse_bytes"]

_PREFIXES = {"": 1, **{p: 1000**i for i, p in enumerate("kmgt", start=1)}}
_PREFIXES |= {f"{p}i": 1024**i for i, p in enumerate("kmgt", start=1)}


@dataclass(frozen=True, slots=True)
class Level:
    """One level as it will be stored; every sequence has one entry per axis."""

    path: str
    shape: tuple[int, ...]
    factors: tuple[int, ...]
    """Factors from the level that it is computed from; ones for level 0 and for residuals."""
    total_factors: tuple[int, ...]
    """Factors from level 0."""
    scale: tuple[float, ...]
    """Distance between samples, in units of the axes."""
    translation: tuple[float, ...]
    """Position of the centre of the first sample, in units of the axes."""
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: np.dtype[Any]
    residual_of: int | None = None
    """For a residual: number of the level that it is computed from, and that has the same shape."""

    @property
    def nbytes(self) -> int:
        """Bytes of the level before compression."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def write_shape(self) -> tuple[int, ...]:
        """Shape of the block that is one file and has one writer: the shard, else the chunk."""
        return self.shards or self.chunks

    @property
    def n_files(self) -> int:
        """Number of chunk or shard files, if every one holds data."""
        return math.prod(downsampled_shape(self.shape, self.write_shape))


def format_bytes(n: float) -> str:
    """Return bytes as ``"1.5 GiB"``, in the largest binary unit that gives 1 or more."""
    unit = min(int(math.log2(n) // 10), 4) if n >= 1 else 0
    return f"{n:.0f} B" if unit == 0 else f"{n / 1024**unit:.1f} {'KMGT'[unit - 1]}iB"


def parse_bytes(text: str) -> int:
    """Return the bytes that ``"500MB"``, ``"2 GB"``, ``"1.5GiB"`` or ``"1000"`` stand for.

    A prefix without ``i`` is decimal. A part of a byte is dropped.

    Raises
    ------
    ValueError
        If the text is anything else.
    """
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    if parsed is None:
        raise ValueError(f"{text!r} is not a number of bytes such as 500MB, 2GB or 1.5GiB")
    return int(float(parsed[1]) * _PREFIXES[parsed[2] or ""])
