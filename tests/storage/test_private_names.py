"""Without the private names of zarr and zarrs.

The same stores, byte for byte, and the same readers.
"""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from napari_pyramid import build_pyramid, open_pyramid
from napari_pyramid.build import iter_build
from napari_pyramid.storage import private_names

IMAGE = (np.indices((33, 61, 70)).sum(axis=0) * 37 % 4099).astype("uint16")
IMAGE[:, :20] = 0
GRID: dict[str, Any] = {"axes": "zyx", "chunks": (16, 32, 32), "n_levels": 3, "max_workers": 2}
SHARDED = {**GRID, "shards": (32, 64, 64)}


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def hide() -> None:
        for name in ("sync", "ChunkItem", "CodecPipelineImpl"):
            assert getattr(private_names, name) is not None, "nothing is compared"
            monkeypatch.setattr(private_names, name, None)

    return hide


def files(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


@pytest.mark.parametrize(
    "options", [GRID, SHARDED, {**GRID, "format": "0.4"}], ids=["chunks", "shards", "0.4"]
)
@pytest.mark.parametrize("codec", ["blosc-zstd-5", "blosc-lz4-5", "zstd-3", "none"])
def test_build_writes_the_same_files(
    options: dict[str, Any], codec: str, tmp_path: Path, hide: Callable[[], None]
) -> None:
    build_pyramid(IMAGE, tmp_path / "fast" / "x.zarr", codec=codec, **options)
    hide()
    build_pyramid(IMAGE, tmp_path / "slow" / "x.zarr", codec=codec, **options)
    assert files(tmp_path / "fast") == files(tmp_path / "slow")


@pytest.mark.parametrize("options", [GRID, SHARDED], ids=["chunks", "shards"])
def test_build_writes_the_same_pixels_with_gzip(
    options: dict[str, Any], tmp_path: Path, hide: Callable[[], None], read_level: Any
) -> None:
    """A gzip stream depends on the library that compressed it."""
    build_pyramid(IMAGE, tmp_path / "fast.zarr", codec="gzip-5", **options)
    hide()
    build_pyramid(IMAGE, tmp_path / "slow.zarr", codec="gzip-5", **options)
    for k in "012":
        np.testing.assert_array_equal(
            read_level(tmp_path / "slow.zarr" / k), read_level(tmp_path / "fast.zarr" / k)
        )


@pytest.mark.parametrize("options", [GRID, SHARDED], ids=["chunks", "shards"])
def test_build_of_a_stored_array_writes_the_same_files(
    options: dict[str, Any], tmp_path: Path, hide: Callable[[], None]
) -> None:
    build_pyramid(IMAGE, tmp_path / "source.zarr", **{**options, "n_levels": 1, "codec": "zstd-1"})
    build_pyramid(tmp_path / "source.zarr", tmp_path / "fast" / "x.zarr", **options)
    hide()
    build_pyramid(tmp_path / "source.zarr", tmp_path / "slow" / "x.zarr", **options)
    assert files(tmp_path / "fast") == files(tmp_path / "slow")


def test_stopped_build_goes_on_to_the_same_files(tmp_path: Path, hide: Callable[[], None]) -> None:
    build_pyramid(IMAGE, tmp_path / "fast" / "x.zarr", **SHARDED)
    hide()
    steps = iter_build(IMAGE, tmp_path / "slow" / "x.zarr", **SHARDED)
    next(step for step in steps if step.done)
    steps.close()
    build_pyramid(IMAGE, tmp_path / "slow" / "x.zarr", **SHARDED)
    assert files(tmp_path / "fast") == files(tmp_path / "slow")


@pytest.mark.parametrize("folder", ["", "x.zarr/"])
def test_zip_is_read(folder: str, tmp_path: Path, hide: Callable[[], None]) -> None:
    build_pyramid(IMAGE, tmp_path / "x.zarr", **GRID)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in files(tmp_path / "x.zarr").items():
            archive.writestr(folder + name.replace(os.sep, "/"), content)
    hide()
    np.testing.assert_array_equal(
        np.asarray(open_pyramid(tmp_path / "x.zip").lazy_levels[0]), IMAGE
    )


def test_coroutines_run_on_the_event_loop_of_zarr(hide: Callable[[], None]) -> None:
    """The loop on which zarr itself awaits a store, from whichever thread the question comes."""
    loops: list[Any] = []

    class Watched(MemoryStore):
        async def list_dir(self, prefix: str) -> Any:
            loops.append(asyncio.get_running_loop())
            async for name in super().list_dir(prefix):
                yield name

    async def names(store: Watched) -> list[str]:
        return [name async for name in store.list_dir("")]

    store = Watched()
    group = zarr.open_group(store, mode="w")
    list(group.members())
    hide()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(private_names.run, names(store)).result() == ["zarr.json"]
    assert loops[0] is loops[1]


def test_errors_of_coroutines_are_raised(hide: Callable[[], None]) -> None:
    async def fail() -> None:
        raise OSError("the server does not answer")

    hide()
    with pytest.raises(OSError, match="the server does not answer"):
        private_names.run(fail())
    assert private_names.run(MemoryStore().get("x", default_buffer_prototype())) is None


def of_other_arguments(key: str, subset: list[slice]) -> None: ...


@pytest.mark.parametrize(
    ("name", "changed"),
    [("ChunkItem", of_other_arguments), ("CodecPipelineImpl", type("Renamed", (), {}))],
)
def test_zarrs_with_other_names_is_not_used(
    name: str, changed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(4,), chunks=(2,), dtype="uint8")
    assert private_names.open_pipeline(array, 1) is not None
    monkeypatch.setattr(private_names, name, changed)
    assert private_names.open_pipeline(array, 1) is None
