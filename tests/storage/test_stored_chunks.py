"""StoredChunks decodes stored chunks of zarr-python and TensorStore, and reads no more."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from numcodecs import blosc
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from napari_pyramid.arrays.chunk_reader import chunk_reader
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import SourceError
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.stored_bytes import stored_bytes
from napari_pyramid.storage.stored_chunks import StoredChunks

SHAPE, CHUNKS, SHARDS = (5, 13, 22), (2, 3, 5), (4, 6, 10)
VALUES = np.random.default_rng(1).integers(0, 900, SHAPE)
V3 = {
    "none": None,
    "zstd": ZstdCodec(level=1),
    "zstd with checksum": ZstdCodec(level=1, checksum=True),
    "blosc": BloscCodec(cname="lz4"),
    "gzip": GzipCodec(level=1),
}
V2 = {
    "none": None,
    "zstd": numcodecs.Zstd(1),
    "blosc": numcodecs.Blosc("zstd", 1),
    "gzip": numcodecs.GZip(1),
    "zlib": numcodecs.Zlib(1),
}


def stored(path: Path, **options: Any) -> zarr.Array[Any]:
    options = {"dtype": "u2", "fill_value": 7, **options}
    array = zarr.create_array(path, shape=SHAPE, chunks=CHUNKS, **options)
    array[...] = VALUES
    return zarr.open_array(path, mode="r")


def by_tensorstore(array: zarr.Array[Any]) -> np.ndarray:
    driver = "zarr3" if array.metadata.zarr_format == 3 else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(array.store.root)}}  # type: ignore[attr-defined]  # a LocalStore
    return np.asarray(tensorstore.open(spec).result().read().result())


def expect_same(array: zarr.Array[Any]) -> None:
    expected = by_tensorstore(array)
    np.testing.assert_array_equal(expected, VALUES.astype(array.dtype))
    np.testing.assert_array_equal(np.asarray(LazyArray(array)), expected)
    np.testing.assert_array_equal(
        np.asarray(LazyArray(array)[3, 1:9, ::-2]), expected[3, 1:9, ::-2]
    )


@pytest.mark.parametrize("shards", [None, SHARDS], ids=["chunks", "shards"])
@pytest.mark.parametrize("codec", V3)
def test_v3_equals_tensorstore(tmp_path: Path, codec: str, shards: tuple[int, ...] | None) -> None:
    array = stored(tmp_path / "a.zarr", compressors=V3[codec], shards=shards)
    assert StoredChunks.of(array) is not None
    expect_same(array)


@pytest.mark.parametrize("codec", V2)
def test_v2_equals_tensorstore(tmp_path: Path, codec: str) -> None:
    array = stored(tmp_path / "a.zarr", zarr_format=2, compressors=V2[codec])
    assert StoredChunks.of(array) is not None
    expect_same(array)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "c8", ">u2", ">f8"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_data_types_and_byte_orders(tmp_path: Path, dtype: str, zarr_format: Any) -> None:
    options: dict[str, Any] = {"zarr_format": zarr_format, "dtype": dtype}
    if zarr_format == 3 and dtype[0] == ">":
        options |= {"serializer": BytesCodec(endian="big"), "dtype": dtype[1:]}
    expect_same(stored(tmp_path / "a.zarr", **options))


UNUSUAL: dict[str, dict[str, Any]] = {
    "transposed": {"filters": TransposeCodec(order=(2, 1, 0))},
    "checksum after the codec": {"compressors": [ZstdCodec(level=1), Crc32cCodec()]},
    "two codecs": {"compressors": [GzipCodec(level=1), ZstdCodec(level=1)]},
    "Fortran order": {"zarr_format": 2, "order": "F"},
    "filter": {"zarr_format": 2, "filters": numcodecs.Shuffle(2)},
    "index at the start": {"shards": {"shape": SHARDS, "index_location": "start"}},
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_encodings_are_left_to_others(tmp_path: Path, case: str) -> None:
    array = stored(tmp_path / "a.zarr", **UNUSUAL[case])
    assert StoredChunks.of(array) is None
    np.testing.assert_array_equal(np.asarray(LazyArray(array)), VALUES)


@pytest.mark.parametrize(
    "options", [{}, {"shards": SHARDS}, {"filters": TransposeCodec(order=(2, 1, 0))}]
)
def test_absent_chunks_are_fill_value_and_take_no_memory(tmp_path: Path, options: Any) -> None:
    zarr.create_array(
        tmp_path / "a.zarr", shape=SHAPE, chunks=CHUNKS, dtype="f4", fill_value=np.nan, **options
    )
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    chunk = chunk_reader(array, CHUNKS).read([(0, 1, 2)])[0, 1, 2]
    assert np.isnan(chunk).all()
    assert set(chunk.strides) == {0}


def test_absent_chunk_of_a_shard_is_fill_value(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=SHAPE, chunks=CHUNKS, shards=SHARDS, dtype="u2", fill_value=7
    )
    array[0, 0, 0] = 3
    got = np.asarray(LazyArray(zarr.open_array(tmp_path / "a.zarr", mode="r")))
    assert got[0, 0, 0] == 3
    assert np.count_nonzero(got != 7) == 1


def test_index_of_a_shard_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = StoredChunks.of(stored(tmp_path / "a.zarr", shards=SHARDS))
    assert reader is not None
    reader.read([(0, 0, 0)])
    monkeypatch.setattr("google_crc32c.value", None)  # an index that is read is checked
    np.testing.assert_array_equal(reader.read([(1, 1, 1)])[1, 1, 1], VALUES[2:4, 3:6, 5:10])


def test_shard_that_was_rewritten_is_read_again(tmp_path: Path) -> None:
    array = stored(tmp_path / "a.zarr", shards=SHARDS)
    reader = StoredChunks.of(array)
    assert reader is not None
    reader.read([(0, 0, 0)])
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[...] = VALUES * 2
    np.testing.assert_array_equal(reader.read([(1, 1, 1)])[1, 1, 1], 2 * VALUES[2:4, 3:6, 5:10])


@pytest.mark.parametrize("data", [b"", b"rubbish", blosc.compress(bytes(10), b"lz4", 1)])
@pytest.mark.parametrize("shards", [None, SHARDS], ids=["chunks", "shards"])
def test_damaged_chunk_is_an_error(tmp_path: Path, data: bytes, shards: Any) -> None:
    array = stored(tmp_path / "a.zarr", compressors=BloscCodec(), shards=shards)
    (tmp_path / "a.zarr" / "c" / "0" / "0" / "0").write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.zarr: cannot read chunk 0, 0, 0"):
        np.asarray(LazyArray(array)[0])
    np.testing.assert_array_equal(np.asarray(LazyArray(array)[4]), VALUES[4])


def test_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    """The checksum at the end of the stream is compared."""
    array = stored(tmp_path / "a.zarr", compressors=GzipCodec(level=0))
    path = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="chunk 0, 0, 0"):
        np.asarray(LazyArray(array)[0])


def test_chunks_written_later_are_seen(tmp_path: Path) -> None:
    array = stored(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "c" / "1")
    assert (np.asarray(LazyArray(array)[2]) == 7).all()
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[...] = VALUES
    np.testing.assert_array_equal(np.asarray(LazyArray(array)[2]), VALUES[2])


# ---- N5 and zip ----------------------------------------------------------------------------------

N5 = {
    "raw": {"type": "raw"},
    "gzip": {"type": "gzip", "level": 1},
    "zlib": {"type": "gzip", "level": 1, "useZlib": True},
    "bzip2": {"type": "bzip2"},
    "xz": {"type": "xz"},
    "blosc": {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    "zstd": {"type": "zstd", "level": 1},
}


def n5(path: Path, compression: dict[str, Any], values: np.ndarray = VALUES) -> Path:
    """A container that TensorStore writes, with blocks that are cut off at the edges."""
    metadata = {
        "compression": compression,
        "dataType": "uint16",
        "dimensions": SHAPE[::-1],
        "blockSize": CHUNKS[::-1],
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path / "s0")}}
    written = tensorstore.open({**spec, "metadata": metadata}, create=True).result()
    written[...] = values.astype("u2").transpose()
    return path


def zipped(folder: Path, compression: int) -> Path:
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def expect_values(path: Path, values: np.ndarray = VALUES) -> None:
    (image,) = open_images(path)
    array = image.levels[0].array
    assert StoredChunks.of(array) is not None
    np.testing.assert_array_equal(np.asarray(LazyArray(array)), values)
    np.testing.assert_array_equal(np.asarray(LazyArray(array)[3, 1:9, ::-2]), values[3, 1:9, ::-2])


@pytest.mark.parametrize("compression", N5)
def test_n5_of_tensorstore(tmp_path: Path, compression: str) -> None:
    expect_values(n5(tmp_path / "a.n5", N5[compression]))


def test_absent_blocks_of_n5_are_zero(tmp_path: Path) -> None:
    path = n5(tmp_path / "a.n5", N5["gzip"])
    shutil.rmtree(path / "s0" / "0")
    expect_values(path, VALUES * (np.arange(SHAPE[2]) >= CHUNKS[2]))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", ["chunks", "shards", "v2", "raw", "n5"])
def test_zip(tmp_path: Path, kind: str, method: int) -> None:
    options: dict[str, dict[str, Any]] = {
        "chunks": {},
        "shards": {"shards": SHARDS},
        "v2": {"zarr_format": 2},
        "raw": {"compressors": None, "shards": SHARDS},
    }
    folder = tmp_path / "a"
    if kind == "n5":
        n5(folder, N5["zstd"])
    else:
        stored(folder, **options[kind])
    expect_values(zipped(folder, method))


def test_other_members_of_a_zip_are_left_to_zarr(tmp_path: Path) -> None:
    stored(tmp_path / "a")
    (image,) = open_images(zipped(tmp_path / "a", zipfile.ZIP_LZMA))
    np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)), VALUES)


def test_a_zip_without_a_path_is_left_to_zarr(tmp_path: Path) -> None:
    """As zarr 3.4 opens a zip in a file object."""
    stored(tmp_path / "a")
    (image,) = open_images(zipped(tmp_path / "a", zipfile.ZIP_STORED))
    array = image.levels[0].array
    array.store.path = None
    assert stored_bytes(array) is None
    np.testing.assert_array_equal(np.asarray(LazyArray(array)), VALUES)


@pytest.mark.parametrize("kind", ["n5", "zip"])
def test_a_damaged_block_or_member_is_an_error(tmp_path: Path, kind: str) -> None:
    if kind == "n5":
        path = n5(tmp_path / "a.n5", N5["gzip"])
        block = path / "s0" / "0" / "0" / "0"
        block.write_bytes(block.read_bytes()[:-9])
    else:
        stored(tmp_path / "a")
        (tmp_path / "a" / "c" / "0" / "0" / "0").write_bytes(b"rubbish")
        path = zipped(tmp_path / "a", zipfile.ZIP_DEFLATED)
    (image,) = open_images(path)
    with pytest.raises(SourceError, match="cannot read chunk 0, 0, 0"):
        np.asarray(LazyArray(image.levels[0].array)[0])
    np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)[4]), VALUES[4])
