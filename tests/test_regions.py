"""The laws of regions, on passes as the schedule chooses them and on any other that it could."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import Array
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_pyramid.plan.level import Level
from napari_pyramid.plan.passes import Pass, aligned_part, aligned_tile, factors_between
from napari_pyramid.plan.schedule import SourceChunks, plan_passes
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.regions import Region, blocks_in, shape_of


@st.composite
def specs(draw: st.DrawFn) -> PyramidSpec:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40))
    steps = draw(st.lists(st.tuples(*[st.integers(1, 4) for _ in shape]), min_size=1, max_size=3))
    chunks = tuple(draw(st.integers(1, 12)) for _ in shape)
    shards = tuple(c * draw(st.integers(1, 3)) for c in chunks) if draw(st.booleans()) else None
    return PyramidSpec.from_array(Array(shape), factors=steps, chunks=chunks, shards=shards)


@st.composite
def passes(draw: st.DrawFn) -> Pass:
    """Any pass whose tile and part are whole multiples of the smallest that are aligned."""
    levels = draw(specs()).levels
    source = draw(st.sampled_from([0, None]))
    first = draw(
        st.integers(
            0 if source == 0 else 1, len(levels) - 1 if source is None else min(1, len(levels) - 1)
        )
    )
    last = draw(st.integers(first, len(levels) - 1))
    reads = 0 if source == 0 else first - 1
    tile = tuple(
        min(t * draw(st.integers(1, 3)), n)
        for t, n in zip(aligned_tile(levels, first, last), levels[last].shape, strict=True)
    )
    grid = tuple(draw(st.integers(1, 9)) for _ in tile) if draw(st.booleans()) else None
    return Pass(
        levels, first, last, source, tile, aligned_part(levels, first, reads, tile, last, grid)
    )


def count(shape: tuple[int, ...], regions: list[Region]) -> np.ndarray:
    """How often each sample is in one of the regions."""
    found = np.zeros(shape, int)
    for region in regions:
        assert all(0 <= s.start < s.stop <= n for s, n in zip(region, shape, strict=True)), region
        found[region] += 1
    return found


def check_laws(p: Pass) -> None:
    tiles = [p[i] for i in range(p.n_tiles)]
    assert [t.number for t in tiles] == list(range(p.n_tiles))
    for k in range(p.first, p.last + 1):
        level, regions = p.levels[k], [t.regions[k - p.first] for t in tiles]
        assert (count(level.shape, regions) == 1).all(), (
            "every sample of a level belongs to exactly one tile"
        )
        pieces = [piece for region in regions for piece in blocks_in(region, level.write_shape)]
        blocks = Counter(
            tuple(s.start // b for s, b in zip(piece, level.write_shape, strict=True))
            for piece in pieces
        )
        assert set(blocks.values()) == {1}, "every write block belongs to exactly one tile"
        assert len(blocks) == level.n_files
    parts = [part for t in tiles for part in p.parts(t)]
    assert (count(p.levels[p.reads].shape, parts) == 1).all(), (
        "every sample read belongs to exactly one part"
    )
    for part in parts:
        if p.last > p.reads:
            assert is_whole(part, p.levels[p.reads + 1].factors, p.levels[p.reads]), (
                "parts hold whole windows"
            )
        if p.copies:
            assert is_whole(part, p.levels[p.first].write_shape, p.levels[p.first]), (
                "parts hold whole blocks"
            )


def is_whole(region: Region, step: tuple[int, ...], level: Level) -> bool:
    return all(
        s.start % f == 0 and (s.stop % f == 0 or s.stop == n)
        for s, f, n in zip(region, step, level.shape, strict=True)
    )


@settings(max_examples=150)
@given(p=passes())
def test_laws_of_any_pass(p: Pass) -> None:
    check_laws(p)


@settings(max_examples=80)
@given(
    spec=specs(),
    in_place=st.booleans(),
    block=st.none() | st.integers(1, 15),
    workers=st.integers(1, 4),
    method=st.sampled_from(["mean", "gaussian", "laplacian"]),
)
def test_laws_of_scheduled_passes(
    spec: PyramidSpec, in_place: bool, block: int | None, workers: int, method: Any
) -> None:
    source = SourceChunks(None if block is None else (block,) * spec.ndim, is_level_0=in_place)
    spec = replace(spec, method=method)
    chosen = plan_passes(spec, [source], max_workers=workers, memory_limit=2**28)
    written = [level for p in chosen for level in p.levels[p.first : p.last + 1]]
    missing = spec.all_levels[1 if in_place else 0 :]
    assert sorted(level.path for level in written) == sorted(level.path for level in missing), (
        "every level and every residual is written by exactly one pass"
    )
    computed = [level for level in written if level.residual_of is None]
    assert computed == [level for level in missing if level.residual_of is None], "in order"
    for p in chosen:
        assert p.source == (0 if p is chosen[0] else None)
        check_laws(p)


@settings(max_examples=60)
@given(p=passes(), data=st.data())
def test_touching_gives_the_tiles_that_read_some_of_a_region(p: Pass, data: st.DataObject) -> None:
    shape = p.levels[p.reads].shape
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    region = tuple(
        slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True)
    )
    expected = [
        i
        for i in range(p.n_tiles)
        if all(
            a.start < b.stop and b.start < a.stop for a, b in zip(p[i].read, region, strict=True)
        )
    ]
    assert list(p.touching(region)) == expected


def test_tiles_are_computed_and_not_listed() -> None:
    spec = PyramidSpec.from_array(
        Array((10**6, 10**6, 10**6)), n_levels=3, chunks=(64, 64, 64), shards=None
    )
    (p, *_) = plan_passes(spec, [SourceChunks((64, 64, 64))], max_workers=2, memory_limit=2**32)
    tracemalloc.start()
    try:
        assert p.n_tiles > 10**9
        last = p[p.n_tiles - 1]
        assert all(s.stop == n for s, n in zip(last.read, spec.levels[0].shape, strict=True))
        first_part = next(iter(p.parts(last)))
        assert next(iter(p.touching(first_part))) == p.n_tiles - 1
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("region", "block", "expected"),
    [
        ([(0, 5)], [2], [[(0, 2)], [(2, 4)], [(4, 5)]]),
        ([(3, 5)], [2], [[(3, 4)], [(4, 5)]]),
        ([(0, 2), (4, 7)], [2, 3], [[(0, 2), (4, 6)], [(0, 2), (6, 7)]]),
    ],
)
def test_blocks_in_a_region(
    region: list[tuple[int, int]], block: list[int], expected: list[list[tuple[int, int]]]
) -> None:
    found = list(blocks_in(tuple(slice(*r) for r in region), block))
    assert found == [tuple(slice(*r) for r in piece) for piece in expected]


def test_factors_between_levels_multiply() -> None:
    levels = PyramidSpec.from_array(Array((99, 70)), factors=[(2, 1), (3, 2), (1, 4)]).levels
    for fine, coarse in itertools.combinations_with_replacement(range(4), 2):
        steps = [level.factors for level in levels[fine + 1 : coarse + 1]]
        assert factors_between(levels, fine, coarse) == tuple(
            math.prod(s[i] for s in steps) for i in range(2)
        )


def test_shape_of_a_region() -> None:
    assert shape_of((slice(2, 7), slice(0, 1))) == (5, 1)
