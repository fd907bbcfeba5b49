"""LazyArray reads what NumPy would give, and reads each chunk in view once."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_pyramid import build_pyramid
from napari_pyramid.arrays import chunked_source, lazy
from napari_pyramid.arrays.chunk_cache import ChunkCache
from napari_pyramid.arrays.chunked_source import forget_stored
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import SourceError


class Counted:
    """An array in chunks that writes down the chunks it is asked for.

    Those named in `broken` cannot be read.
    """

    def __init__(
        self, values: np.ndarray, chunks: tuple[int, ...], broken: tuple[tuple[int, ...], ...] = ()
    ) -> None:
        self.values, self.chunks, self.broken = values, chunks, broken
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.reads: list[tuple[int, ...]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        spans = [
            range(s.start // c, -(-s.stop // c)) for s, c in zip(key, self.chunks, strict=True)
        ]
        for index in np.ndindex(*[len(s) for s in spans]):
            chunk = tuple(s[i] for s, i in zip(spans, index, strict=True))
            self.reads.append(chunk)
            if chunk in self.broken:
                raise RuntimeError("blosc says no")
        return self.values[key]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> ChunkCache:
    cache = ChunkCache(1 << 20)
    monkeypatch.setattr(chunked_source, "CACHE", cache)
    return cache


def counted(
    shape: tuple[int, ...], chunks: tuple[int, ...], **options: Any
) -> tuple[Counted, LazyArray, np.ndarray]:
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    source = Counted(values, chunks, **options)
    return source, LazyArray(source), values


VALUES = np.arange(5 * 7 * 11, dtype=np.int32).reshape(5, 7, 11)
ZARR = zarr.array(VALUES, chunks=(2, 3, 4))


@st.composite
def index_for(draw: st.DrawFn, ndim: int) -> Any:
    """Basic indexes, Ellipsis anywhere, too few of them.

    Integers stay in range for the smallest axis left.
    """
    one = st.one_of(st.slices(11), st.slices(5), st.integers(-1, 0))
    keys: list[Any] = draw(st.lists(one, max_size=ndim))
    if draw(st.booleans()):
        keys.insert(draw(st.integers(0, len(keys))), Ellipsis)
    return keys[0] if len(keys) == 1 and draw(st.booleans()) else tuple(keys)


@given(st.data())
def test_any_chain_of_indexes_equals_numpy(data: st.DataObject) -> None:
    view, expected = LazyArray(ZARR), VALUES
    for _ in range(data.draw(st.integers(0, 4))):
        key = data.draw(index_for(expected.ndim))
        try:
            expected = expected[key]
        except IndexError:
            with pytest.raises(IndexError):
                view[key]
            return
        view = view[key]
    assert view.shape == expected.shape
    assert view.size == expected.size
    assert len(view.chunks) == view.ndim == expected.ndim
    values = np.asarray(view)
    assert type(values) is np.ndarray
    np.testing.assert_array_equal(values, expected)


@given(st.data())
def test_any_chain_of_indexes_without_the_cache_equals_numpy(data: st.DataObject) -> None:
    chunked_source.CACHE.budget = 0
    view = LazyArray(ZARR)
    first, second = data.draw(index_for(3)), data.draw(index_for(3))
    try:
        expected = VALUES[first][second]
    except IndexError:
        return
    np.testing.assert_array_equal(np.asarray(view[first][second]), expected)


def test_indexing_reads_nothing() -> None:
    source, view, _ = counted((6, 8, 8), (2, 4, 4))
    view[3][..., ::2][1:, 2]
    assert source.reads == []


def test_plane_reads_the_chunks_in_view_and_no_other() -> None:
    source, view, values = counted((6, 8, 8), (2, 4, 4))
    tile = view[:, 0:5, 4:8]  # napari: first the tile over all hidden axes ...
    np.testing.assert_array_equal(np.asarray(tile[3]), values[3, 0:5, 4:8])  # ... then the plane
    assert sorted(source.reads) == [(1, 0, 1), (1, 1, 1)]


def test_next_plane_of_the_slab_reads_nothing() -> None:
    source, view, values = counted((6, 8, 8), (2, 4, 4))
    np.asarray(view[2])
    source.reads.clear()
    np.testing.assert_array_equal(np.asarray(view[3]), values[3])
    assert source.reads == []


def test_pan_reads_only_the_chunks_that_come_into_view() -> None:
    source, view, values = counted((12, 12), (4, 4))
    np.asarray(view[0:8, 0:8])
    source.reads.clear()
    np.testing.assert_array_equal(
        np.asarray(view[4:12, 4:12]), values[4:12, 4:12]
    )  # an L of missing chunks
    assert sorted(source.reads) == [(1, 2), (2, 1), (2, 2)]


def test_long_steps_skip_the_chunks_between() -> None:
    source, view, _ = counted((40,), (4,))
    np.asarray(view[::16])
    assert sorted(source.reads) == [(0,), (4,), (8,)]


def test_values_belong_to_the_caller() -> None:
    _, view, values = counted((4, 4), (4, 4))
    np.asarray(view)[:] = 0
    np.testing.assert_array_equal(np.asarray(view), values)


def test_box_over_half_the_budget_bypasses_the_cache(own_cache: ChunkCache) -> None:
    source, view, values = counted((8, 8), (4, 4))
    own_cache.budget = values.nbytes
    np.asarray(view)
    np.asarray(view)
    assert len(source.reads) == 8
    np.asarray(view[0:4])  # half of it is kept
    np.asarray(view[0:4])
    assert len(source.reads) == 10


def test_cache_keeps_to_its_budget(own_cache: ChunkCache) -> None:
    _, view, values = counted((64, 4), (1, 4))
    own_cache.budget = 10 * 8
    for row in range(64):
        np.testing.assert_array_equal(np.asarray(view[row]), values[row])
    assert own_cache.nbytes == own_cache.budget
    assert len(own_cache) == 10


def test_chunks_in_memory_are_no_work_for_the_garbage_collector() -> None:
    cache = ChunkCache(1 << 20)
    gc.collect()
    before = len(gc.get_objects())
    for i in range(500):
        cache.put(7, {(i, 0, 0): np.zeros(4, "u1")})
    gc.collect()
    gc.collect()  # it learns of one level of nested tuples at a time
    assert len(cache) == 500
    assert len(gc.get_objects()) < before + 50


def test_chunks_read_at_once_are_dropped_at_once(own_cache: ChunkCache) -> None:
    """They share one block of memory: as long as one of them is there, so is all of it."""
    source, view, _ = counted((8, 8), (2, 8))
    own_cache.budget = 128
    np.asarray(view[0:4])
    np.asarray(view[4:8])
    np.asarray(view[0:2])  # of the first block, which is now the last used
    np.asarray(view[6:8])
    assert len(source.reads) == 4
    assert own_cache.nbytes == 128
    other = LazyArray(source)
    np.asarray(other[0:4])
    source.reads.clear()
    np.asarray(view[4:8])
    np.asarray(other[0:4])
    assert source.reads == []  # the first block has gone


def test_chunks_stay_known_past_the_cache() -> None:
    """Whoever reads everything once does it best in whole chunks."""
    view = LazyArray(ZARR)[1].uncached()
    assert view.is_chunked
    assert view.chunks == ZARR.chunks[1:]
    assert not LazyArray(VALUES).uncached().is_chunked


def test_chunks_are_dropped_with_the_last_view(own_cache: ChunkCache) -> None:
    _, view, _ = counted((4, 4), (4, 4))
    part = view[0]
    np.asarray(part)
    del view
    gc.collect()
    assert own_cache.nbytes
    del part
    gc.collect()
    assert not own_cache.nbytes
    assert not len(own_cache)


def test_many_threads_read_right_values() -> None:
    view, wrong = LazyArray(ZARR), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for z, y in rng.integers(0, 5, (50, 2)):
            if not np.array_equal(np.asarray(view[z][y:]), VALUES[z, y:]):
                wrong.append((z, y))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_error_names_array_region_and_chunk() -> None:
    _, view, values = counted((8, 8), (4, 4), broken=((1, 0),))
    with pytest.raises(SourceError, match=r"a Counted: cannot read chunk 1, 0: blosc says no"):
        np.asarray(view)
    np.testing.assert_array_equal(np.asarray(view[:4]), values[:4])  # the rest stays readable


def test_error_names_the_zarr_array(tmp_path: Any) -> None:
    stored = zarr.create_array(tmp_path / "a.zarr", shape=(4, 4), chunks=(2, 2), dtype="u2")
    stored[:] = 1
    (tmp_path / "a.zarr/c/1/0").write_bytes(b"rubbish")
    with pytest.raises(SourceError, match=r"a\.zarr: cannot read chunk 1, 0"):
        np.asarray(LazyArray(zarr.open_array(tmp_path / "a.zarr", mode="r")))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ([0, 2], "a list"),
        (np.array([1, 0]), "an array"),
        (VALUES > 100, "a mask"),
        (None, "newaxis"),
        (True, "a bool is a mask"),
        ((0, [1, 2], slice(None)), "mixed"),
    ],
)
def test_fancy_index_gives_numpy(key: Any, why: str) -> None:
    got = LazyArray(ZARR)[key]
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, VALUES[key], err_msg=why)


def test_array_protocol_converts_and_always_copies() -> None:
    view = LazyArray(ZARR)
    assert np.asarray(view, dtype="f4").dtype == np.float32
    np.testing.assert_array_equal(np.array(view, copy=True), VALUES)
    with pytest.raises(ValueError, match="makes a copy"):
        np.array(view, copy=False)


def test_scalar_view_is_read_as_an_array() -> None:
    view = LazyArray(ZARR)[1, 2, 3]
    assert view.shape == ()
    assert isinstance(view.__array__(), np.ndarray)
    assert view.__array__() == VALUES[1, 2, 3]
    with pytest.raises(TypeError):
        len(view)


def test_scalar_source() -> None:
    assert np.asarray(LazyArray(zarr.array(np.float32(2.5)))) == 2.5


def test_empty_source_reads_nothing() -> None:
    source, view, _ = counted((0, 8), (4, 4))
    assert np.asarray(view).shape == (0, 8)
    assert source.reads == []


def test_big_endian_keeps_its_dtype() -> None:
    values = np.arange(12, dtype=">u2").reshape(3, 4)
    view = LazyArray(Counted(values, (2, 2)))
    assert np.asarray(view).dtype == view.dtype == np.dtype(">u2")
    np.testing.assert_array_equal(np.asarray(view), values)


@pytest.mark.parametrize(
    ("key", "chunks"),
    [
        ((), (2, 3, 4)),
        (0, (3, 4)),
        ((slice(None), 1), (2, 4)),
        ((..., slice(None, None, 2)), (2, 3, 2)),
        ((0, 0, 0), ()),
    ],
)
def test_chunks_shrink_with_the_axes(key: Any, chunks: tuple[int, ...]) -> None:
    assert LazyArray(ZARR)[key].chunks == chunks


def test_chunks_are_the_inner_ones_of_shards(tmp_path: Any) -> None:
    stored = zarr.create_array(
        tmp_path / "a.zarr", shape=(8, 8), chunks=(2, 2), shards=(4, 4), dtype="u1"
    )
    assert LazyArray(stored).chunks == (2, 2)


def test_source_without_chunks_is_not_cached(own_cache: ChunkCache) -> None:
    view = LazyArray(VALUES)
    assert view.chunks == VALUES.shape
    np.testing.assert_array_equal(np.asarray(view[1, ::2]), VALUES[1, ::2])
    assert not len(own_cache)


def test_uncached_view_reads_each_time(own_cache: ChunkCache) -> None:
    source, view, values = counted((4, 4), (2, 2))
    part = view[1:].uncached()
    np.testing.assert_array_equal(np.asarray(part), values[1:])
    np.testing.assert_array_equal(np.asarray(part), values[1:])
    assert len(source.reads) == 8
    assert not len(own_cache)


def test_shows_all() -> None:
    view = LazyArray(ZARR)
    assert view.shows_all
    assert view[...].shows_all
    assert not view[1:].shows_all
    assert not view[0].shows_all
    assert not view[::-1].shows_all


def test_whole_of_all_indexes_is_their_source() -> None:
    views = [LazyArray(ZARR)[:, i] for i in range(7)]
    assert lazy.whole_of(views, 1) is ZARR
    assert lazy.whole_of(views[::-1], 1) is None
    assert lazy.whole_of(views[:3], 1) is None
    assert lazy.whole_of(views, 0) is None
    assert lazy.whole_of([v[1:] for v in views], 1) is None
    assert lazy.whole_of([*views[:6], LazyArray(zarr.array(VALUES))[:, 6]], 1) is None


@pytest.mark.posix("symbolic links need rights that few users have")
def test_what_was_written_again_is_read_again(tmp_path: Path) -> None:
    """Views of arrays in the directory, also through a link, and of arrays that wrap others."""
    (tmp_path / "link").symlink_to(tmp_path / "x.zarr")
    group = zarr.create_group(tmp_path / "x.zarr")
    stored = group.create_array("1", data=np.zeros((4, 4), "u1"))
    other = zarr.create_array(tmp_path / "x.zarr.old", data=np.zeros((4, 4), "u1"))
    made, _, values = counted((4, 4), (2, 2))
    views = [
        LazyArray(stored),
        LazyArray(zarr.open_array(tmp_path / "link" / "1", mode="r")),
        LazyArray(other),
        LazyArray(made),
    ]
    for view in views:
        np.asarray(view)
    stored[...] = other[...] = 1
    values[...] = 1
    forget_stored(tmp_path / "x.zarr")
    assert [int(np.asarray(view).max()) for view in views] == [1, 1, 0, 1]


def test_a_new_store_elsewhere_costs_no_view_its_chunks(tmp_path: Path) -> None:
    """Such as the parts that the dock widget builds to measure, while a TIFF is looked at."""
    source, view, values = counted((4, 4), (2, 2))
    np.asarray(view)
    source.reads.clear()
    build_pyramid(values, tmp_path / "x.zarr", axes="yx", n_levels=2)
    np.asarray(view)
    assert source.reads == []
    build_pyramid(values, tmp_path / "x.zarr", axes="yx", n_levels=2, overwrite=True)
    np.asarray(view)  # it may wrap an array of the store that was replaced
    assert len(source.reads) == 4


@pytest.mark.parametrize(
    ("chunks", "calls"), [(1, 1), (2, 2), (16, 2), (27, 4), (36, 6), (256, 32)]
)
def test_two_threads_read_as_many_chunks_each(chunks: int, calls: int, tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x.zarr", shape=(64,) * 3, chunks=(64,) * 3, dtype="u2")
    source = LazyArray(array).chunked_source
    assert source.reader.chunks_per_call == 8
    size = source.batch_size(chunks, 2)
    assert size <= 8
    assert -(-chunks // size) == calls


def test_what_is_written_while_chunks_are_kept_is_read_again(
    own_cache: ChunkCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, view, values = counted((5, 7), (2, 3))
    put, forgetting = own_cache.put, threading.Thread(target=view.chunked_source.forget)

    def put_late(*args: Any) -> None:
        monkeypatch.setattr(own_cache, "put", put)
        source.values = np.full_like(values, 9)
        forgetting.start()
        forgetting.join(0.1)  # it may have to wait until the chunks are kept
        put(*args)

    monkeypatch.setattr(own_cache, "put", put_late)
    np.asarray(view[0, 0])
    forgetting.join(60)
    assert np.asarray(view[0, 0]) == 9
