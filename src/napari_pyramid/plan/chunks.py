"""Choose the chunks and shards of a pyramid's levels, and clip them to a level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.downsample import downsampled_shape
from napari_pyramid.errors import SpecError

__all__ = ["ChunkGrid", "regular_chunks"]

MAX_CODEC_BYTES = 2**31 - 1
"""Largest buffer of a codec: blosc and others refuse larger ones."""
_SIDE = {0: 1, 1: 2**16, 2: 512, 3: 64}
"""Default side of a chunk along each of n spatial axes.

A chunk then has a few hundred KiB: small enough to view, large enough to store.
"""
_CHUNKS_WITHOUT_SHARDS = 20_000
_SHARD_BYTES = 64 * 2**20


def regular_chunks(array: Any) -> tuple[int, ...] | None:
    """Return the ``chunks`` of an array-like, one length per axis, or None.

    None if any region costs the same to read, or if the chunks differ in size (dask).
    """
    chunks = getattr(array, "chunks", None)
    regular = (
        isinstance(chunks, tuple)
        and len(chunks) == len(array.shape)
        and all(isinstance(n, int) and n > 0 for n in chunks)
    )
    return chunks if regular and getattr(array, "is_chunked", True) else None


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """Chunks and shards before they are clipped to a level; one entry per axis."""

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None

    @classmethod
    def choose(
        cls,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        axes: Sequence[Axis],
        source: Any,
        chunks: Sequence[int] | None,
        shards: Sequence[int] | Literal["auto"] | None,
    ) -> ChunkGrid:
        """Return the grid of the given sizes, with defaults for sizes that are None.

        Parameters
        ----------
        source
            Chunks of the source if it has regular ones (anything else is ignored).
        chunks, shards
            As in `PyramidSpec.from_array`.

        Raises
        ------
        SpecError
            If sizes are missing, below 1 or do not divide one another, or a chunk is too large for
            codecs (2 GiB).
        """
        chosen = (
            _sizes("chunks", chunks, len(shape))
            if chunks is not None
            else _default_chunks(shape, dtype, axes, source)
        )
        if math.prod(clipped(chosen, shape)) * dtype.itemsize > MAX_CODEC_BYTES:
            raise SpecError(
                f"chunks {chosen} of {dtype} hold over 2 GiB, more than codecs can take: "
                "choose smaller chunks"
            )
        if shards is None:
            return cls(chosen, None)
        if shards == "auto":
            return cls(chosen, _default_shards(shape, dtype, axes, chosen))
        sizes = _sizes("shards", shards, len(shape))
        if any(s % c for s, c in zip(sizes, chosen, strict=True)):
            raise SpecError(
                f"shards {sizes} must be whole multiples of the chunks {chosen} along every axis"
            )
        return cls(chosen, sizes)

    def chunks_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the chunks of a level of `shape`, which are never larger than the level."""
        return clipped(self.chunks, shape)

    def shards_of(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shards of a level of `shape`: whole chunks, not more than cover the level."""
        if self.shards is None:
            return None
        chunks = self.chunks_of(shape)
        return tuple(
            min(max(s // c, 1) * c, -(-n // c) * c)
            for s, n, c in zip(self.shards, shape, chunks, strict=True)
        )


def clipped(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))


def _sizes(what: str, sizes: Sequence[int], ndim: int) -> tuple[int, ...]:
    out = tuple(int(s) for s in sizes)
    if len(out) != ndim:
        raise SpecError(
            f"{what} {out} has {len(out)} entries, but the array has {ndim} axes: give one per axis"
        )
    if any(s < 1 for s in out):
        raise SpecError(f"{what} {out} must be at least 1 along every axis")
    return out


def _default_chunks(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: Sequence[Axis], source: Any
) -> tuple[int, ...]:
    """Return the source's chunks if they suit viewing, else 512 x 512 or 64 x 64 x 64.

    Chunks suit viewing if they are not thin slabs and hold 16 KiB to 16 MiB.
    """
    spatial = [i for i, a in enumerate(axes) if a.is_spatial and shape[i] > 1][-3:]
    if (
        isinstance(source, tuple)
        and len(source) == len(shape)
        and all(isinstance(c, int) and c > 0 for c in source)
    ):
        cut = [source[i] for i in spatial if source[i] < shape[i]]
        longest = max((min(source[i], shape[i]) for i in spatial), default=1)
        fits = 2**14 <= math.prod(clipped(source, shape)) * dtype.itemsize <= 2**24
        if fits and cut and longest <= 16 * min(cut):
            return tuple(int(c) for c in source)
    return tuple(_SIDE[len(spatial)] if i in spatial else 1 for i in range(len(shape)))


def _default_shards(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: Sequence[Axis], chunks: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return shards of about 64 MiB if there would be very many files, else None.

    The shards are the chunks, doubled along the spatial axes.
    """
    shards = clipped(chunks, shape)
    if math.prod(downsampled_shape(shape, shards)) <= _CHUNKS_WITHOUT_SHARDS:
        return None
    while True:
        doubled = tuple(
            2 * s if a.is_spatial and s < n else s
            for s, n, a in zip(shards, shape, axes, strict=True)
        )
        if doubled == shards or math.prod(doubled) * dtype.itemsize > _SHARD_BYTES:
            return shards
        shards = doubled
