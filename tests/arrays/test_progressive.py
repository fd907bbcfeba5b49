"""Pictures are there at once, in the right place, and exact when all chunks have come."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from napari_pyramid.arrays import chunked_source, progressive
from napari_pyramid.arrays.chunk_cache import ChunkCache
from napari_pyramid.arrays.chunk_loader import ChunkLoader
from napari_pyramid.arrays.grid import grids_of
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.progressive import ProgressiveLevels

Index = tuple[int, ...]


class Store:
    """An array in chunks that counts its reads, waits at a gate, and fails at given chunks."""

    def __init__(self, values: np.ndarray, chunks: Index) -> None:
        self.values, self.chunks = values, chunks
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.reads: list[Index] = []
        self.broken: set[Index] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __getitem__(self, key: Any) -> np.ndarray:
        assert self.gate.wait(30)
        spans = [
            range(s.start // c, -(-s.stop // c)) for s, c in zip(key, self.chunks, strict=True)
        ]
        for number in np.ndindex(*[len(s) for s in spans]):
            index = tuple(s[i] for s, i in zip(spans, number, strict=True))
            self.reads.append(index)
            if index in self.broken:
                raise OSError(f"no chunk {index}")
        return self.values[key].copy()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> ChunkCache:
    cache = ChunkCache(1 << 26)
    monkeypatch.setattr(chunked_source, "CACHE", cache)
    monkeypatch.setattr(progressive, "PATIENCE", 0)
    monkeypatch.setattr(progressive, "FIRST_PATIENCE", 0)
    return cache


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    yield
    for thread in threading.enumerate():
        if thread.name == "chunk loader":
            thread.join(10)
            assert not thread.is_alive()


def pyramid(shape: Index, factor: Index, n: int, chunks: Index) -> list[Store]:
    """Levels whose samples are positions in level 0, so that places can be compared.

    Each sample is the position of its window's first sample.
    """
    stores = []
    total = np.ones(len(shape), int)
    for _ in range(n):
        level = tuple(-(-s // int(f)) for s, f in zip(shape, total, strict=True))
        axes = [np.arange(m) * f for m, f in zip(level, total, strict=True)]
        values = sum(a * 100**i for i, a in enumerate(reversed(np.meshgrid(*axes, indexing="ij"))))
        stores.append(Store(np.asarray(values, np.int64), chunks))
        total = total * factor
    return stores


def shown(stores: list[Store], **options: Any) -> tuple[ProgressiveLevels, list[LazyArray]]:
    views = [LazyArray(store) for store in stores]
    return ProgressiveLevels(views, ChunkLoader(2), **options), views


def settle(levels: ProgressiveLevels) -> None:
    assert levels._loader.wait(levels, 30)


SHAPES = [((9, 21, 30), (2, 2, 2)), ((7, 29, 31), (1, 3, 2)), ((11, 16, 23), (3, 2, 4))]


@pytest.mark.parametrize(("shape", "factor"), SHAPES)
def test_picture_is_exact_after_settling_at_every_level(shape: Index, factor: Index) -> None:
    stores = pyramid(shape, factor, 3, (3, 5, 7))
    levels, views = shown(stores)
    for k, store in enumerate(stores):
        for z in range(store.shape[0]):
            view = views[k][:, 1:, 2:][z]
            levels.show(k, view)
            settle(levels)
            np.testing.assert_array_equal(levels.show(k, view), store.values[z, 1:, 2:])


@pytest.mark.parametrize(("shape", "factor"), SHAPES)
def test_coarser_samples_are_in_their_place(shape: Index, factor: Index) -> None:
    """Each missing sample shows the window of the coarsest level that holds it."""
    stores = pyramid(shape, factor, 3, (3, 5, 7))
    levels, views = shown(stores)
    np.asarray(views[2])
    stores[0].gate.clear()
    stores[1].gate.clear()
    z = shape[0] - 2
    got = levels.show(0, views[0][z]).copy()
    stores[0].gate.set()
    stores[1].gate.set()
    total = np.array(factor) ** 2
    position = np.stack(np.meshgrid([z], *map(np.arange, shape[1:]), indexing="ij"))
    window = position // total[:, None, None, None] * total[:, None, None, None]
    expected = window[0] * 10000 + window[1] * 100 + window[2]
    np.testing.assert_array_equal(got, expected[0])
    settle(levels)


def test_view_is_never_waited_for() -> None:
    stores = pyramid((8, 20, 20), (2, 2, 2), 2, (4, 5, 5))
    levels, views = shown(stores)
    for store in stores:
        store.gate.clear()
    assert not levels.show(0, views[0][3]).any()  # nothing in memory: fill value
    for store in stores:
        store.gate.set()
    settle(levels)


def test_chunks_that_take_long_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressive, "PATIENCE", 1e-9)  # no read is as fast
    waits: list[float] = []

    class Loader(ChunkLoader):
        def wait(self, client: Any, seconds: float) -> bool:
            waits.append(seconds)
            return super().wait(client, seconds)

    stores = pyramid((32, 20, 20), (2, 2, 2), 2, (4, 5, 5))
    views = [LazyArray(store) for store in stores]
    levels = ProgressiveLevels(views, Loader(2), ahead_share=0)
    levels.show(1, views[1])  # the coarsest level
    settle(levels)
    waits.clear()
    levels.show(0, views[0][20])
    assert waits == [0]
    settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][20]), stores[0].values[20])


def test_missing_chunks_amid_exact_ones_show_coarser_samples() -> None:
    stores = pyramid((6, 41, 33), (1, 2, 2), 3, (3, 5, 4))
    levels, views = shown(stores, ahead_share=0)
    for k, part in ((2, views[2][2]), (1, views[1][2, 3:15, 2:10]), (0, views[0][2, 7:22, 9:18])):
        levels.show(k, part)
        settle(levels)
    exact, coarse, coarsest = (store.values[2] for store in stores)
    for store in stores:
        store.gate.clear()
    try:
        seen = levels.show(0, views[0][2])
        known = np.zeros(seen.shape, bool)
        known[5:25, 8:20] = True  # whole chunks around 7:22, 9:18
        np.testing.assert_array_equal(seen[known], exact[known])
        double, fourfold = (
            np.kron(values, np.ones((n, n), int))[:41, :33]
            for values, n in ((coarse, 2), (coarsest, 4))
        )
        finer = np.zeros(seen.shape, bool)
        finer[:30, :24] = True  # chunks that chunks 0:15, 0:12 of the coarse level cover
        np.testing.assert_array_equal(seen[finer & ~known], double[finer & ~known])
        np.testing.assert_array_equal(seen[~finer & ~known], fourfold[~finer & ~known])
    finally:
        for store in stores:
            store.gate.set()
        settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][2]), exact)


def test_reads_are_the_chunks_in_view_and_the_announced_ones() -> None:
    stores = pyramid((16, 40, 40), (2, 2, 2), 2, (4, 5, 5))
    levels, views = shown(stores)
    np.asarray(views[1])
    levels.show(0, views[0][5, 5:20, 10:20])
    wait_until_idle(levels)
    in_view = {(1, y, x) for y in (1, 2, 3) for x in (2, 3)}
    around = {(1, y, x) for y in range(5) for x in range(1, 5)}
    assert sorted(stores[0].reads) == sorted(around)
    assert set(stores[0].reads[:6]) == in_view


def test_next_slab_in_the_direction_of_the_slider_is_read_ahead() -> None:
    stores = pyramid((16, 10, 10), (2, 2, 2), 2, (4, 5, 5))
    levels, views = shown(stores)
    levels.show(0, views[0][5])
    levels.show(0, views[0][6])
    wait_until_idle(levels)
    assert {index[0] for index in stores[0].reads} == {1, 2}
    levels.show(0, views[0][5])
    wait_until_idle(levels)
    assert {index[0] for index in stores[0].reads} == {0, 1, 2}
    stores[0].reads.clear()
    np.testing.assert_array_equal(levels.show(0, views[0][3]), stores[0].values[3])


def test_nothing_is_read_ahead_from_a_view_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def picture(*args: Any, **options: Any) -> Any:
        wait_until_idle(levels)  # what the former view reads ahead is read here
        return made(*args, **options)

    stores = pyramid((24, 8, 8), (2, 2, 2), 2, (3, 8, 8))
    levels, views = shown(stores)
    levels.show(0, views[0][0])
    made = progressive.Picture
    monkeypatch.setattr(progressive, "Picture", picture)
    levels.show(0, views[0][12])
    wait_until_idle(levels)
    assert {index[0] for index in stores[0].reads} == {0, 4, 5}


def test_nothing_is_read_ahead_without_a_share_of_the_cache() -> None:
    stores = pyramid((16, 10, 10), (2, 2, 2), 2, (4, 5, 5))
    views = [LazyArray(store) for store in stores]
    levels = ProgressiveLevels(views, ChunkLoader(), ahead_share=0)
    for z in (5, 6):
        levels.show(0, views[0][z])
        wait_until_idle(levels)
    assert {index[0] for index in stores[0].reads} == {1}


def test_nothing_is_read_twice() -> None:
    stores = pyramid((16, 20, 20), (2, 2, 2), 3, (4, 5, 5))
    levels, views = shown(stores)
    for z in range(16):
        levels.show(0, views[0][z])
        levels.show(2, views[2][z // 4], "thumbnail")
        settle(levels)
    wait_until_idle(levels)
    for store in stores:
        assert len(store.reads) == len(set(store.reads))


def test_chunks_that_left_the_view_are_not_read() -> None:
    stores = pyramid((64, 10, 10), (2, 2, 2), 2, (1, 5, 5))
    levels, views = shown(stores)
    np.asarray(views[1])
    stores[0].gate.clear()
    for z in range(0, 60, 5):
        levels.show(0, views[0][z])
    stores[0].gate.set()
    settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][55]), stores[0].values[55])
    wait_until_idle(levels)
    planes = {index[0] for index in stores[0].reads}
    assert len(planes) <= 4  # at most one for each thread, the last one, and the one ahead of it
    assert 55 in planes


def test_unreadable_chunk_is_striped_and_named_once() -> None:
    stores = pyramid((4, 40, 40), (1, 2, 2), 2, (4, 20, 20))
    named: list[str] = []
    levels, views = shown(stores, on_failure=named.append)
    np.asarray(views[1])
    stores[0].broken.add((0, 1, 0))
    for _ in range(3):
        got = levels.show(0, views[0][2])
        settle(levels)
    exact = stores[0].values[2]
    np.testing.assert_array_equal(got[:20], exact[:20])
    np.testing.assert_array_equal(got[20:, 20:], exact[20:, 20:])
    damaged = got[20:, :20]
    assert 0.3 < np.mean(damaged == 0) < 0.7
    assert len(named) == 1
    assert "(0, 1, 0)" in named[0]


def test_store_that_recovers_is_read_when_tried_again() -> None:
    stores = pyramid((4, 40, 40), (1, 2, 2), 2, (4, 20, 20))
    levels, views = shown(stores)
    stores[0].broken.update({(0, 1, 0), (0, 0, 0)})
    levels.show(0, views[0][2])
    settle(levels)
    stores[0].broken.clear()
    levels.retry()
    settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][2]), stores[0].values[2])


def test_channels_of_one_chunk_are_decoded_once() -> None:
    values = np.arange(2 * 3 * 20 * 20).reshape(2, 3, 20, 20)
    fine, coarse = Store(values, (2, 3, 10, 10)), Store(values[:, :, ::2, ::2], (2, 3, 10, 10))
    arrays, loader = [LazyArray(fine), LazyArray(coarse)], ChunkLoader(2)
    layers = [ProgressiveLevels([a[c] for a in arrays], loader) for c in range(2)]
    for c, layer in enumerate(layers):
        layer.show(0, arrays[0][c][1])
    for c, layer in enumerate(layers):
        settle(layer)
        np.testing.assert_array_equal(layer.show(0, arrays[0][c][1]), values[c, 1])
    assert len(fine.reads) == len(set(fine.reads)) == 4


def test_views_larger_than_the_memory_for_chunks_become_exact(cache: ChunkCache) -> None:
    stores = pyramid((4, 64, 64), (1, 2, 2), 2, (4, 8, 8))
    levels, views = shown(stores)
    cache.budget = 3 * 4 * 8 * 8 * 8
    levels.show(0, views[0][1])
    settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][1]), stores[0].values[1])
    assert cache.nbytes <= cache.budget


def test_a_thousand_random_moves_leave_no_thread_and_no_stale_pixel(cache: ChunkCache) -> None:
    stores = pyramid((33, 61, 47), (2, 2, 2), 3, (4, 7, 9))
    errors: list[str] = []
    levels, views = shown(stores, on_failure=errors.append)
    cache.budget = stores[0].values.nbytes // 3
    rng = np.random.default_rng(3)
    for i in range(1000):
        k = int(rng.integers(3))
        n = stores[k].shape
        z, y, x = (int(rng.integers(m)) for m in n)
        view = views[k][z, y : y + 20, x : x + 20]
        levels.show(k, view)
        levels.show(2, views[2][min(z // 2 ** (2 - k), stores[2].shape[0] - 1)], "thumbnail")
        if i % 50 == 0:
            settle(levels)
            expected = stores[k].values[z, y : y + 20, x : x + 20]
            np.testing.assert_array_equal(levels.show(k, view), expected)
    assert cache.nbytes <= cache.budget
    assert not errors
    levels.close()


def test_closing_amid_reads_delivers_nothing_more() -> None:
    stores = pyramid((8, 40, 40), (2, 2, 2), 2, (4, 5, 5))
    changes: list[int] = []
    levels, views = shown(stores, on_change=lambda: changes.append(1))
    for store in stores:
        store.gate.clear()
    levels.show(0, views[0][3])
    levels.close()
    changes.clear()
    for store in stores:
        store.gate.set()
    for thread in threading.enumerate():
        if thread.name == "chunk loader":
            thread.join(10)
    assert not changes
    assert len(stores[0].reads) + len(stores[1].reads) <= 2 * 16  # a call for each thread


def test_rewritten_store_is_read_again() -> None:
    stores = pyramid((4, 20, 20), (1, 2, 2), 2, (4, 5, 5))
    levels, views = shown(stores)
    levels.show(0, views[0][2])
    settle(levels)
    for store, view in zip(stores, views, strict=True):
        store.values = store.values + 1
        view.chunked_source.forget()
    levels.show(0, views[0][2])
    settle(levels)
    np.testing.assert_array_equal(levels.show(0, views[0][2]), stores[0].values[2])


@pytest.mark.parametrize(
    ("shapes", "factors"),
    [
        ([(11,), (6,), (3,), (2,), (1,)], [1, 2, 4, 8, 16]),  # rounded up, then down, then up
        ([(1000,), (333,)], [1, 3]),
        ([(100,), (40,)], [1, 2.5]),
        ([(7,), (7,)], [1, 1]),
    ],
)
def test_factors_from_shapes(shapes: list[Index], factors: list[float]) -> None:
    assert [grid.factors[0] for grid in grids_of(shapes)] == factors


def test_plane_59_of_a_halved_axis_is_29() -> None:
    fine, coarse = grids_of([(128,), (64,)])
    assert coarse.nearest(fine.centres(range(59, 61), 0), 0, 64).tolist() == [29, 30]


def test_stored_translations_are_believed() -> None:
    """Of a stride, samples stay where they were."""
    shapes, scales = [(12,), (6,)], [(0.5,), (1.0,)]
    assert grids_of(shapes, scales, [(3.0,), (3.0,)])[1].offsets == (0,)
    assert grids_of(shapes, scales, [(3.0,), (3.25,)])[1].offsets == (0.5,)
    assert grids_of(shapes, scales, [None, None])[1].offsets == (0.5,)


def wait_until_idle(levels: ProgressiveLevels) -> None:
    """Wait for what is read ahead, too: threads end when there is no work."""
    settle(levels)
    for thread in threading.enumerate():
        if thread.name == "chunk loader":
            thread.join(30)
