"""Whole chunks through zarrs.

The same pixels as zarr-python, for every way that an array can be stored.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from napari_pyramid.storage import present_chunks
from napari_pyramid.storage.chunk_io import StoredBlocks
from napari_pyramid.storage.present_chunks import PresentBlocks, present_blocks
from napari_pyramid.storage.shards import has_plain_index

SHAPE, CHUNKS = (11, 7, 13), (4, 3, 5)
WHOLE = tuple(slice(0, n) for n in SHAPE)
STORED: list[dict[str, Any]] = [
    {"zarr_format": 3},
    {"zarr_format": 3, "compressors": None},
    {"zarr_format": 3, "shards": (8, 6, 5)},
    {"zarr_format": 3, "shards": (12, 9, 15)},
    {"zarr_format": 3, "compressors": zarr.codecs.GzipCodec()},
    {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec(cname="lz4")},
    {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
    {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"zarr_format": 3, "filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))]},
    {"zarr_format": 2},
    {"zarr_format": 2, "compressors": None},
    {"zarr_format": 2, "order": "F"},
    {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
]
DTYPES = [
    "bool",
    "int8",
    "uint16",
    "int32",
    "uint64",
    "float16",
    "float32",
    "float64",
    ">u2",
    ">f8",
]


def described(stored: dict[str, Any]) -> str:
    """The id of a test; it must not differ between processes, as the text of a codec does."""
    return re.sub(r"(\w+Codec)\(.*\)", r"\1", str(stored))


def values(dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 2 if dtype == "bool" else 99, SHAPE).astype(dtype)


def make(path: Path, dtype: str = "uint16", **stored: Any) -> zarr.Array[Any]:
    return zarr.create_array(path, shape=SHAPE, chunks=CHUNKS, dtype=dtype, **stored)


@pytest.mark.parametrize("stored", STORED, ids=described)
@pytest.mark.parametrize("dtype", ["uint16", ">f8", "bool"])
def test_read_and_write_as_zarr_python_does(
    stored: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    array, data = make(tmp_path / "a", dtype, **stored), values(dtype)
    blocks = StoredBlocks(array)
    blocks.write(WHOLE, data)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], data)
    for region in [
        WHOLE,
        (slice(3, 10), slice(0, 1), slice(4, 13)),
        (slice(10, 11), slice(6, 7), slice(12, 13)),
    ]:
        out = np.empty(tuple(s.stop - s.start for s in region), np.dtype(dtype).newbyteorder("="))
        blocks.read(region, out)
        np.testing.assert_array_equal(out, data[region])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_dtype(dtype: str, zarr_format: int, tmp_path: Path) -> None:
    data = values(dtype)
    StoredBlocks(make(tmp_path / "a", dtype, zarr_format=zarr_format)).write(WHOLE, data)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], data)


@pytest.mark.parametrize("stored", STORED, ids=described)
def test_blocks_that_exist_are_those_that_hold_something(
    stored: dict[str, Any], tmp_path: Path
) -> None:
    array = make(tmp_path / "a", fill_value=6, **stored)
    data = np.full(SHAPE, 6, "uint16")
    data[0, 0, 0] = data[10, 6, 12] = 1
    StoredBlocks(array).write(WHOLE, data)
    present = present_blocks(array)
    assert present is not None
    block = array.shards or array.chunks
    for index in itertools.product(*(range(n) for n in present.shape)):
        part = data[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, block, strict=True))]
        assert present[index] == (part != 6).any()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], data)


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("stored", STORED, ids=described)
def test_a_region_has_a_block_whether_the_directory_is_listed_or_not(
    stored: dict[str, Any], is_listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing the blocks of a petabyte takes hours, so that single ones are looked up there."""
    array = make(tmp_path / "a", **stored)
    data = np.zeros(SHAPE, "uint16")
    data[10, 6, 12] = 1
    StoredBlocks(array).write(WHOLE, data)
    if not is_listed:
        monkeypatch.setattr(present_chunks, "LARGEST_MAP", 0)
    present = PresentBlocks.of(array)
    assert present is not None
    at = [i // b for i, b in zip((10, 6, 12), array.shards or array.chunks, strict=True)]
    assert present.any_in(tuple(slice(0, i + 1) for i in at))
    for axis, i in enumerate(at):
        beside = [slice(0, n + 1) for n in at]
        beside[axis] = slice(0, i)
        assert not present.any_in(tuple(beside))


@pytest.mark.parametrize("stored", STORED, ids=described)
def test_blocks_that_become_empty_are_removed(stored: dict[str, Any], tmp_path: Path) -> None:
    array = make(tmp_path / "a", **stored)
    blocks = StoredBlocks(array)
    blocks.write(WHOLE, values("uint16"))
    blocks.write(WHOLE, np.zeros(SHAPE, "uint16"))
    present = present_blocks(array)
    assert present is not None
    assert not present.any()


@pytest.mark.parametrize("fill_value", [float("nan"), 0.1, float("inf")])
def test_float_fill_values(fill_value: float, tmp_path: Path) -> None:
    array = make(tmp_path / "a", "float32", fill_value=fill_value)
    data = np.full(SHAPE, fill_value, "float32")
    data[5, 5, 5] = 2
    StoredBlocks(array).write(WHOLE, data)
    present = present_blocks(array)
    assert present is not None
    assert present.sum() == 1
    out = np.empty(SHAPE, "float32")
    StoredBlocks(array).read(WHOLE, out)
    np.testing.assert_array_equal(out, data)


def test_a_store_that_is_no_directory_is_read_and_written_in_the_ordinary_way() -> None:
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=SHAPE, chunks=CHUNKS, dtype="uint16"
    )
    data, out = values("uint16"), np.empty(SHAPE, "uint16")
    StoredBlocks(array).write(WHOLE, data)
    StoredBlocks(array).read(WHOLE, out)
    np.testing.assert_array_equal(out, data)
    assert present_blocks(array) is None


def test_the_configuration_of_the_process_is_not_touched(tmp_path: Path) -> None:
    before = zarr.config.get("codec_pipeline")
    StoredBlocks(make(tmp_path / "a")).write(WHOLE, values("uint16"))
    assert zarr.config.get("codec_pipeline") == before


def test_other_files_in_the_directory_are_no_chunks(tmp_path: Path) -> None:
    array = make(tmp_path / "a")
    for name in (".DS_Store", "c/.nfs01", "c/0/0/x", "c/9/9/9", "c/0/0"):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / "a" / name).exists():
            (tmp_path / "a" / name).write_bytes(b"?")
    present = present_blocks(array)
    assert present is not None
    assert not present.any()


@pytest.mark.parametrize("shards", [None, (8, 6, 10)])
def test_threads_give_the_same_pixels(shards: Any, tmp_path: Path) -> None:
    data = values("uint16")
    for threads in (1, 3):
        array = make(tmp_path / f"a{threads}", zarr_format=3, shards=shards)
        StoredBlocks(array, codec_threads=threads).write(WHOLE, data)
        out = np.empty(SHAPE, "uint16")
        StoredBlocks(array, codec_threads=threads).read(WHOLE, out)
        np.testing.assert_array_equal(out, data)


def test_a_check_between_batches_stops(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    blocks = StoredBlocks(make(tmp_path / "a"), check=stop)
    with pytest.raises(StoppedError):
        blocks.write(WHOLE, values("uint16"))
    with pytest.raises(StoppedError):
        blocks.read(WHOLE, np.empty(SHAPE, "uint16"))


@pytest.mark.parametrize("present", ["all", "some", "one", "none"])
def test_shards_have_the_same_bytes_for_any_number_of_threads(present: str, tmp_path: Path) -> None:
    """The same calls as with one thread, with chunks of all sizes.

    So several threads finish them in another order.
    """
    rng = np.random.default_rng(0)
    data = np.zeros((64, 64, 64), "uint16")
    for i, index in enumerate(itertools.product(range(0, 64, 8), repeat=3)):
        if present == "all" or (present == "some" and i % 3) or (present == "one" and i == 100):
            data[tuple(slice(n, n + 8) for n in index)] = rng.integers(
                1, 2 ** rng.integers(2, 16), (8, 8, 8)
            )
    stored: list[dict[str, bytes]] = []
    for threads in (1, 2, 8, 8, 8):
        root = tmp_path / str(len(stored))
        array = zarr.create_array(
            root, shape=data.shape, chunks=(8, 8, 8), shards=(32, 64, 64), dtype="uint16"
        )
        StoredBlocks(array, codec_threads=threads).write(
            tuple(slice(0, n) for n in data.shape), data
        )
        stored.append(
            {
                str(f.relative_to(root)): f.read_bytes()
                for f in sorted(root.rglob("*"))
                if f.is_file()
            }
        )
    assert all(files == stored[0] for files in stored[1:])
    read = (
        tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "4")}}
        )
        .result()
        .read()
        .result()
    )
    np.testing.assert_array_equal(np.asarray(read), data)


@pytest.mark.parametrize(
    ("changed", "plain"),
    [
        ({}, True),
        ({"index_location": "start"}, False),
        ({"index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}, False),
    ],
)
def test_only_plain_shards_are_put_in_order(
    changed: dict[str, Any], plain: bool, tmp_path: Path
) -> None:
    """Others are written by one thread."""
    zarr.create_array(
        tmp_path / "a", shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="uint16"
    )
    document = json.loads((tmp_path / "a" / "zarr.json").read_text())
    document["codecs"][0]["configuration"].update(changed)
    (tmp_path / "a" / "zarr.json").write_text(json.dumps(document))
    array = zarr.open_array(tmp_path / "a")
    assert has_plain_index(array) is plain
    data = np.random.default_rng(0).integers(1, 999, (64, 64)).astype("uint16")
    StoredBlocks(array, codec_threads=4).write((slice(0, 64), slice(0, 64)), data)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], data)
