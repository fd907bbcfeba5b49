"""Chunks and shards: the ones asked for, the source's where they suit, and good ones otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pyramid.axes import parse_axes
from napari_pyramid.plan.chunks import ChunkGrid


def grid_of(
    shape: tuple[int, ...],
    axes: str | None = None,
    source: Any = None,
    chunks: Any = None,
    shards: Any = None,
    dtype: str = "uint16",
) -> ChunkGrid:
    return ChunkGrid.choose(
        shape, np.dtype(dtype), parse_axes(axes, len(shape)), source, chunks, shards
    )


@pytest.mark.parametrize(
    ("shape", "axes", "source", "chunks"),
    [
        ((5000, 5000), "yx", None, (512, 512)),
        ((500, 500, 500), "zyx", None, (64, 64, 64)),
        ((3, 5000, 5000), "cyx", None, (1, 512, 512)),
        ((9, 3, 50, 500, 500), "tczyx", None, (1, 1, 64, 64, 64)),
        ((1, 5000, 5000), "zyx", None, (1, 512, 512)),
        ((5000, 5000), "yx", (256, 256), (256, 256)),
        ((500, 500, 500), "zyx", (128, 128, 128), (128, 128, 128)),
        ((500, 500, 500), "zyx", (1, 500, 500), (64, 64, 64)),  # planes do not suit a volume
        ((5000, 5000), "yx", (5000, 1), (512, 512)),
        ((5000, 5000), "yx", (8, 8), (512, 512)),  # tiny
        ((5000, 5000), "yx", ((2500, 2500), (5000,)), (512, 512)),  # dask's
        ((5000, 5000), "yx", "auto", (512, 512)),
    ],
)
def test_chunks_left_out(
    shape: tuple[int, ...], axes: str, source: Any, chunks: tuple[int, ...]
) -> None:
    assert grid_of(shape, axes, source).chunks == chunks


def test_chunks_and_shards_are_clipped_to_a_level() -> None:
    grid = grid_of((100, 1000), chunks=(64, 64), shards=(128, 256))
    assert grid.chunks_of((100, 1000)) == (64, 64)
    assert grid.shards_of((100, 1000)) == (128, 256)
    assert grid.chunks_of((50, 500)) == (50, 64)
    assert grid.shards_of((25, 30)) == (25, 30)


def test_shards_are_chosen_only_where_there_would_be_very_many_files() -> None:
    assert grid_of((1000, 1000, 1000), shards="auto").shards is None
    shards = grid_of((10_000, 10_000, 10_000), shards="auto").shards
    assert shards is not None
    assert 2**24 <= math.prod(shards) * 2 <= 2**26


@given(
    shape=st.lists(st.integers(1, 200), min_size=1, max_size=4).map(tuple),
    chunks=st.lists(st.integers(1, 90), min_size=4, max_size=4),
    times=st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
def test_shards_of_any_level_hold_whole_chunks_and_no_more_than_cover_it(
    shape: tuple[int, ...], chunks: list[int], times: list[int]
) -> None:
    chosen = tuple(chunks[: len(shape)])
    grid = grid_of(
        (500,) * len(shape),
        "tzyx"[-len(shape) :],
        chunks=chosen,
        shards=tuple(c * t for c, t in zip(chosen, times, strict=False)),
    )
    level_chunks, level_shards = grid.chunks_of(shape), grid.shards_of(shape)
    assert level_shards is not None
    for n, c, s in zip(shape, level_chunks, level_shards, strict=True):
        assert 1 <= c <= n
        assert s % c == 0
        assert s < n + c, "no chunk lies wholly beyond the end"
