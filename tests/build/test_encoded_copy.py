"""Blocks are copied as they are stored where source and store agree, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec

from napari_pyramid import build_pyramid
from napari_pyramid.storage.chunk_io import StoredBlocks

SHAPE, CHUNKS = (37, 50, 41), (16, 16, 16)


def source(path: Path, codec: Any, **options: Any) -> tuple[Path, np.ndarray]:
    data = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.uint16)
    data[:16, :16, :16] = 0
    array = zarr.create_array(
        path,
        shape=SHAPE,
        chunks=CHUNKS,
        dtype=data.dtype,
        compressors=codec,
        fill_value=0,
        **options,
    )
    array[...] = data
    return path, data


def count_copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    copied: list[int] = []
    original = StoredBlocks.copy_encoded

    def counted(self: StoredBlocks, region: Any, data: np.ndarray, other: StoredBlocks) -> None:
        copied.append(data.nbytes)
        original(self, region, data, other)

    monkeypatch.setattr(StoredBlocks, "copy_encoded", counted)
    return copied


def test_equal_grids_and_codecs_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = source(
        tmp_path / "a.zarr", BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2)
    )
    copied = count_copies(monkeypatch)
    build_pyramid(path, tmp_path / "b.ome.zarr", n_levels=2, factors=2, chunks=CHUNKS)
    assert copied
    before = {p.relative_to(path): p.read_bytes() for p in (path / "c").rglob("*") if p.is_file()}
    level_0 = tmp_path / "b.ome.zarr" / "0"
    assert {
        p.relative_to(level_0): p.read_bytes() for p in (level_0 / "c").rglob("*") if p.is_file()
    } == before


@pytest.mark.parametrize(
    "options",
    [{"chunks": (16, 16, 32)}, {"codec": "gzip-5"}, {"shards": (32, 32, 32)}, {"format": "0.4"}],
)
def test_all_else_is_encoded_again(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_level: Any
) -> None:
    path, data = source(tmp_path / "a.zarr", GzipCodec(level=1))
    copied = count_copies(monkeypatch)
    build_pyramid(
        path, tmp_path / "b.ome.zarr", **{"n_levels": 2, "factors": 2, "chunks": CHUNKS, **options}
    )
    assert not copied
    np.testing.assert_array_equal(read_level(tmp_path / "b.ome.zarr" / "0"), data)


def test_a_stored_block_of_fill_value_is_left_out(tmp_path: Path, read_level: Any) -> None:
    path, data = source(
        tmp_path / "a.zarr",
        BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2),
        config={"write_empty_chunks": True},
    )
    assert (path / "c" / "0" / "0" / "0").exists()
    build_pyramid(path, tmp_path / "b.ome.zarr", n_levels=2, factors=2, chunks=CHUNKS)
    assert not (tmp_path / "b.ome.zarr" / "0" / "c" / "0" / "0" / "0").exists()
    np.testing.assert_array_equal(read_level(tmp_path / "b.ome.zarr" / "0"), data)
