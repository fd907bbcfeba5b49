"""Whole builds, level by level against TensorStore: the pixels, and what is and is not on disk."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_pyramid import PyramidSpec, SourceError, build_pyramid, iter_build, open_pyramid
from napari_pyramid.build import plan_build
from napari_pyramid.downsample import downsample, downsampled_shape

ReadLevel = Callable[[Path], np.ndarray]


def shrinks(build: dict[str, Any]) -> bool:
    """Whether every step makes the level smaller; others are refused."""
    shape = build["shape"]
    for step in build["options"]["factors"]:
        before, shape = shape, downsampled_shape(shape, step)
        if shape == before:
            return False
    return True


def values(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Values of few bits, so that modes and ties occur, with regions of zeros."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 2 if dtype == "bool" else 100, shape)
    found[tuple(slice(n // 2, None) for n in shape)] = 0
    return (found / 4 if np.dtype(dtype).kind == "f" else found).astype(dtype)


def check_levels(
    path: Path, level_0: np.ndarray, spec: PyramidSpec, read_level: ReadLevel, downsampled: Any
) -> None:
    """Level 0 is the source, each other level TensorStore's downsample of the level before."""
    before = read_level(path / spec.levels[0].path)
    np.testing.assert_array_equal(before, level_0)
    for level in spec.levels[1:]:
        found = read_level(path / level.path)
        assert found.shape == level.shape
        expected = downsampled(before, level.factors, spec.method)
        check_equal(found, expected, spec.method)
        before = found


def check_equal(found: np.ndarray, expected: np.ndarray, method: str) -> None:
    """Bit for bit, but for the rounding of a float mean."""
    if found.dtype.kind == "f" and method == "mean":
        np.testing.assert_allclose(found, expected, rtol=4 * float(np.finfo(found.dtype).eps))
    else:
        np.testing.assert_array_equal(found, expected)


# ---- pixels --------------------------------------------------------------------------------------


@st.composite
def builds(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=24))
    if np.prod(shape) > 30_000:
        shape = shape[:3]
    zarr_format = draw(st.sampled_from(["0.4", "0.5"]))
    chunks = tuple(draw(st.integers(2, 9)) for _ in shape)
    sharded = zarr_format == "0.5" and draw(st.booleans())
    return {
        "source_chunks": tuple(draw(st.integers(3, 12)) for _ in shape),
        "dtype": draw(st.sampled_from(["uint8", "int32", "uint64", "float32", "bool", ">u2"])),
        "shape": shape,
        "as_zarr": draw(st.booleans()),
        "options": {
            "axes": "tzyx"[-len(shape) :],
            "method": draw(st.sampled_from(["mean", "median", "mode", "min", "max", "stride"])),
            "factors": draw(
                st.lists(st.tuples(*[st.integers(1, 4) for _ in shape]), min_size=1, max_size=3)
            ),
            "chunks": chunks,
            "shards": tuple(c * draw(st.integers(1, 3)) for c in chunks) if sharded else None,
            "format": zarr_format,
            "max_workers": draw(st.integers(1, 4)),
        },
    }


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(build=builds())
def test_any_build_equals_tensorstore(
    build: dict[str, Any], tmp_path_factory: Any, read_level: ReadLevel, downsampled: Any
) -> None:
    tmp = tmp_path_factory.mktemp("any")
    data = values(build["shape"], build["dtype"])
    source: Any = (
        zarr.create_array(tmp / "source.zarr", data=data, chunks=build["source_chunks"])
        if build["as_zarr"]
        else data
    )
    options = dict(build["options"])
    assume(shrinks(build))
    spec = plan_build(source, tmp / "x.ome.zarr", **options).spec
    build_pyramid(source, tmp / "x.ome.zarr", **options)
    check_levels(tmp / "x.ome.zarr", data, spec, read_level, downsampled)


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(build=builds(), zarr_format=st.sampled_from([2, 3]))
def test_any_build_in_place_equals_tensorstore(
    build: dict[str, Any],
    zarr_format: Any,
    tmp_path_factory: Any,
    read_level: ReadLevel,
    downsampled: Any,
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.zarr"
    data = values(build["shape"], build["dtype"])
    zarr.create_group(path, zarr_format=zarr_format).create_array(
        "raw", data=data, chunks=build["source_chunks"]
    )
    before = digest(path / "raw")
    options = {
        k: v for k, v in build["options"].items() if k in ("method", "factors", "max_workers")
    }
    assume(shrinks(build))
    spec = plan_build(path, in_place=True, **options).spec
    build_pyramid(path, in_place=True, **options)
    assert digest(path / "raw") == before
    check_levels(path, data, spec, read_level, downsampled)
    for level in spec.levels[1:]:
        assert zarr.open_array(path / level.path, mode="r").chunks == level.chunks


@pytest.mark.parametrize("method", ["mean", "mode", "gaussian"])
@pytest.mark.parametrize("shards", [None, (16, 32, 32)])
def test_the_same_bytes_for_any_number_of_threads_and_memory(
    method: str, shards: Any, tmp_path: Path
) -> None:
    source = zarr.create_array(tmp_path / "s.zarr", data=values((45, 77, 61)), chunks=(5, 77, 61))
    found = []
    for i, limits in enumerate(
        [{"max_workers": 1}, {"max_workers": 4}, {"max_workers": 2, "memory_limit": 34 * 2**20}]
    ):
        build_pyramid(
            source,
            tmp_path / f"{i}.ome.zarr",
            method=method,
            chunks=(8, 16, 16),
            shards=shards,
            n_levels=4,
            name="x",
            **limits,
        )
        found.append(digest(tmp_path / f"{i}.ome.zarr"))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("source_chunks", [(45, 77, 61), (1, 77, 61), (7, 9, 11)])
def test_gaussian_does_not_depend_on_chunks(
    source_chunks: tuple[int, ...], tmp_path: Path, read_level: ReadLevel, gaussian_by_scipy: Any
) -> None:
    data = values((45, 77, 61), "float32")
    source = zarr.create_array(tmp_path / "s.zarr", data=data, chunks=source_chunks)
    build_pyramid(
        source,
        tmp_path / "x.ome.zarr",
        method="gaussian",
        factors=[(2, 3, 2), (1, 2, 2)],
        chunks=(8, 10, 9),
    )
    for k, factors in [(1, (2, 3, 2)), (2, (1, 2, 2))]:
        found = read_level(tmp_path / f"x.ome.zarr/{k}")
        np.testing.assert_allclose(found, gaussian_by_scipy(data, factors), rtol=1e-6)
        data = downsample(data, factors, "gaussian")
        np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize(
    "executor", [ThreadPoolExecutor, pytest.param(ProcessPoolExecutor, marks=pytest.mark.slow)]
)
def test_the_same_bytes_from_an_executor(executor: Any, tmp_path: Path) -> None:
    from multiprocessing import get_context

    zarr.create_group(tmp_path / "s.zarr").create_array(
        "0", data=values((33, 40, 51)), chunks=(8, 8, 8)
    )
    build_pyramid(tmp_path / "s.zarr", tmp_path / "own.ome.zarr", n_levels=3, name="x")
    options = {"mp_context": get_context("spawn")} if executor is ProcessPoolExecutor else {}
    with executor(2, **options) as pool:
        build_pyramid(
            tmp_path / "s.zarr", tmp_path / "pool.ome.zarr", n_levels=3, name="x", executor=pool
        )
    assert digest(tmp_path / "own.ome.zarr") == digest(tmp_path / "pool.ome.zarr")


def test_an_existing_pyramid_is_kept_as_it_is(tmp_path: Path, read_level: ReadLevel) -> None:
    levels = [values((9, 31), seed=0), values((9, 16), seed=1), values((5, 8), seed=2)]
    build_pyramid(levels, tmp_path / "x.ome.zarr", axes="yx", chunks=(4, 4))
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(read_level(tmp_path / f"x.ome.zarr/{k}"), level)


def test_a_callable_builds_every_level(
    tmp_path: Path, read_level: ReadLevel, downsampled: Any
) -> None:
    def brightest(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
        return np.asarray(downsampled(block, factors, "max"))

    data = values((31, 45))
    build_pyramid(
        data, tmp_path / "x.ome.zarr", method=brightest, factors=2, n_levels=3, chunks=(8, 8)
    )
    np.testing.assert_array_equal(
        read_level(tmp_path / "x.ome.zarr/2"),
        downsampled(downsampled(data, (2, 2), "max"), (2, 2), "max"),
    )


def test_rgb_is_written_with_channels_first(
    tmp_path: Path, read_level: ReadLevel, downsampled: Any
) -> None:
    data = values((20, 31, 3), "uint8")
    build_pyramid(data, tmp_path / "x.ome.zarr", axes="yxc", scale=(2, 3, 1), factors=2, n_levels=2)
    level_0 = data.transpose(2, 0, 1)
    np.testing.assert_array_equal(read_level(tmp_path / "x.ome.zarr/0"), level_0)
    np.testing.assert_array_equal(
        read_level(tmp_path / "x.ome.zarr/1"), downsampled(level_0, (1, 2, 2), "mean")
    )


# ---- sparse data ---------------------------------------------------------------------------------


class CountingStore(zarr.storage.MemoryStore):
    """Remembers the keys that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        self.keys.append(key)
        return await super().get(key, *args, **options)


@pytest.mark.parametrize(
    ("fill_value", "dtype"),
    [
        (0, "uint8"),
        (7, "uint16"),
        (float("nan"), "float32"),
        (0.1, "float32"),
        (-0.5, "float64"),
        (True, "bool"),
    ],
)
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("method", ["mean", "mode", "gaussian"])
def test_missing_chunks_are_fill_value_in_every_level(
    fill_value: Any,
    dtype: str,
    in_place: bool,
    method: str,
    tmp_path: Path,
    read_level: ReadLevel,
    downsampled: Any,
) -> None:
    path = tmp_path / "s.zarr"
    level_0 = zarr.create_group(path).create_array(
        "0", shape=(70, 83), chunks=(8, 8), dtype=dtype, fill_value=fill_value
    )
    level_0[16:24, 20:50] = values((8, 30), dtype, seed=1)
    data = np.asarray(level_0[:])
    built = path if in_place else tmp_path / "x.ome.zarr"
    build_pyramid(
        path,
        None if in_place else built,
        in_place=in_place,
        method=method,
        factors=2,
        n_levels=4,
        chunks=(8, 8),
    )
    for k in range(4):
        found = read_level(built / str(k))
        check_equal(found, data, method)
        # our own where TensorStore has no such method, or lets NaN be a mode of its own kind;
        # tested in test_downsample
        ours = method == "gaussian" or (method == "mode" and fill_value != fill_value)
        data = downsample(found, (2, 2), method) if ours else downsampled(found, (2, 2), method)


def test_chunks_that_are_all_fill_value_are_not_written(tmp_path: Path) -> None:
    data = np.zeros((64, 64), np.uint16)
    data[:8, :8] = 5
    data[60:, 60:] = 9
    build_pyramid(data, tmp_path / "x.ome.zarr", chunks=(8, 8), factors=2, n_levels=3)
    files = sorted(
        str(p.relative_to(tmp_path / "x.ome.zarr"))
        for p in (tmp_path / "x.ome.zarr").rglob("c/*/*")
    )
    assert files == ["0/c/0/0", "0/c/7/7", "1/c/0/0", "1/c/3/3", "2/c/0/0", "2/c/1/1"]


def test_missing_chunks_of_the_source_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pyramid.build.reader import Reader

    path = tmp_path / "s.zarr"
    array = zarr.create_group(path).create_array(
        "0", shape=(256, 256), chunks=(8, 8), dtype="uint8"
    )
    array[8:16, 8:16] = 3
    read: list[int] = []
    plain = Reader.read
    monkeypatch.setattr(
        Reader,
        "read",
        lambda self, region, out: (read.append(out.size), plain(self, region, out))[1],
    )
    build_pyramid(path, in_place=True, n_levels=2, factors=2, memory_limit=40 * 2**20)
    assert sum(read) < 256 * 256, "tiles without a chunk are not looked at"


@pytest.mark.parametrize("source_chunks", [(8, 16, 16), (1, 60, 70), (30, 7, 70)])
def test_every_chunk_of_the_source_is_read_once(
    source_chunks: tuple[int, ...], tmp_path: Path
) -> None:
    store = CountingStore()
    source = zarr.create_array(store, data=values((30, 60, 70)) + 1, chunks=source_chunks)
    store.keys.clear()
    build_pyramid(source, tmp_path / "x.ome.zarr", chunks=(8, 16, 16), n_levels=3)
    chunks = [k for k in store.keys if k.startswith("c/")]
    assert (
        len(chunks)
        == len(set(chunks))
        == int(np.prod([-(-n // c) for n, c in zip((30, 60, 70), source_chunks, strict=True)]))
    )


def test_a_source_without_chunks_is_read_region_by_region_and_once(tmp_path: Path) -> None:
    class Source:
        shape, dtype = (300, 500), np.dtype("uint16")

        def __init__(self) -> None:
            self.count = np.zeros(self.shape, int)

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            self.count[key] += 1
            return np.ones(tuple(s.stop - s.start for s in key), self.dtype)

    source = Source()
    build_pyramid(source, tmp_path / "x.ome.zarr", chunks=(32, 32), n_levels=3)
    assert (source.count == 1).all()


# ---- progress and stopping -----------------------------------------------------------------------


def test_progress_counts_regions_and_bytes(tmp_path: Path) -> None:
    data = values((120, 130)) + 1
    steps = list(iter_build(data, tmp_path / "x.ome.zarr", chunks=(16, 16), n_levels=3))
    assert all(a.done <= b.done and a.elapsed <= b.elapsed for a, b in itertools.pairwise(steps))
    last = steps[-1]
    assert last.done == last.total > 0
    assert last.remaining == pytest.approx(0, abs=1e-6)
    spec = PyramidSpec.from_array(data, chunks=(16, 16), n_levels=3)
    assert last.bytes_read >= data.nbytes
    assert last.bytes_written == spec.nbytes


@pytest.mark.parametrize("resume", [True, False])
def test_closing_reads_little_more_and_no_reader_sees_anything(
    resume: bool, tmp_path: Path
) -> None:
    class Slow:
        """Reads only while the build is asked for a step or closed."""

        shape, dtype = (4000, 4000), np.dtype("uint8")
        reads = 0

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            while not steps.gi_running:
                time.sleep(0.001)
            time.sleep(0.02)
            self.reads += 1
            return np.ones(tuple(s.stop - s.start for s in key), self.dtype)

    source = Slow()
    steps = iter_build(
        source,
        tmp_path / "x.ome.zarr",
        chunks=(64, 64),
        n_levels=3,
        max_workers=2,
        resume=resume,
    )
    next(step for step in steps if step.done)
    reads = source.reads
    steps.close()
    assert source.reads - reads <= 10
    assert list(tmp_path.iterdir()) == [], "what nothing can continue is not kept"


def test_nothing_is_written_before_the_first_step(tmp_path: Path) -> None:
    steps = iter_build(values((40, 40)), tmp_path / "x.ome.zarr", n_levels=2)
    assert list(tmp_path.iterdir()) == []
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_one_of_the_threads_that_share_a_tile_ends_the_build(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "s.zarr")
    group.create_array("0", shape=(64, 512, 512), chunks=(1, 512, 512), dtype="uint16")[:] = 1
    for z in range(8, 64):
        (tmp_path / "s.zarr" / "0" / "c" / str(z) / "0" / "0").write_bytes(b"no codec wrote this")
    options: dict[str, Any] = {
        "chunks": (1, 512, 512),
        "shards": (64, 512, 512),
        "factors": (1, 2, 2),
        "n_levels": 2,
        "max_workers": 4,
    }
    (p,) = plan_build(tmp_path / "s.zarr", in_place=True, **options).passes
    assert (p.n_tiles, p.readers) == (1, 4)
    with pytest.raises(SourceError, match="of the source cannot be read"):
        build_pyramid(tmp_path / "s.zarr", in_place=True, **options)
    assert not (tmp_path / "s.zarr" / "1").exists()


def test_views_opened_before_see_what_was_built_in_place(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=values((64, 64)), chunks=(16, 16))
    build_pyramid(tmp_path / "s.zarr", in_place=True, factors=2, n_levels=2, method="max")
    view = open_pyramid(tmp_path / "s.zarr")[1]
    before = view[:]
    build_pyramid(
        tmp_path / "s.zarr", in_place=True, factors=2, n_levels=2, method="min", overwrite=True
    )
    assert (view[:] < before).any()
    np.testing.assert_array_equal(view[:], values((64, 64)).reshape(32, 2, 32, 2).min((1, 3)))


def test_colours_without_axes_are_channels(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "s.zarr")
    for name, n in (("0", 512), ("1", 256)):
        group.create_array(name, data=values((n, n, 3), "uint8"), chunks=(64, 64, 3))
    built = build_pyramid(tmp_path / "s.zarr", tmp_path / "x.ome.zarr", n_levels=2, factors=None)
    assert [level.shape for level in built] == [(3, 512, 512), (3, 256, 256)]
