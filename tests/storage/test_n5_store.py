"""N5 as a zarr store, against TensorStore's own N5 driver."""

from __future__ import annotations

import asyncio
import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import write_n5
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.n5_codec import decode_block
from napari_pyramid.storage.n5_store import N5Store

SHAPE, BLOCK = (11, 7, 5), (4, 3, 2)  # x, y, z: blocks at every edge are truncated

COMPRESSIONS: dict[str, dict[str, Any]] = {
    "raw": {"type": "raw"},
    "gzip": {"type": "gzip", "level": 1},
    "zlib": {"type": "gzip", "useZlib": True},
    "bzip2": {"type": "bzip2"},
    "xz": {"type": "xz"},
    "blosc": {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    "zstd": {"type": "zstd"},
}


write = partial(write_n5, block=BLOCK)


def open_n5(path: Path) -> Any:
    return zarr.open(N5Store(LocalStore(path, read_only=True)), mode="r")


def samples(dtype: str = "uint16") -> np.ndarray:
    return (np.random.default_rng(0).random(SHAPE) * 200).astype(dtype)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_pixels_are_tensorstores_with_axes_reversed(tmp_path: Path, compression: str) -> None:
    values = samples()
    write(tmp_path / "a", values, COMPRESSIONS[compression])
    array = open_n5(tmp_path)["a"]
    assert array.shape == SHAPE[::-1]
    assert array.chunks == BLOCK[::-1]
    np.testing.assert_array_equal(array[...], values.T)
    np.testing.assert_array_equal(array[1:4, 2:, 3:9], values.T[1:4, 2:, 3:9])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_data_types(tmp_path: Path, dtype: str) -> None:
    values = samples(dtype)
    write(tmp_path, values, COMPRESSIONS["gzip"])
    array = open_n5(tmp_path)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[...], values.T)


def test_missing_blocks_are_zero(tmp_path: Path) -> None:
    write(tmp_path, samples())
    (tmp_path / "0" / "0" / "0").unlink()
    array = open_n5(tmp_path)
    assert not array[:2, :3, :4].any()
    np.testing.assert_array_equal(array[2:], samples().T[2:])


@pytest.mark.parametrize("ndim", [1, 2, 4])
def test_any_number_of_axes(tmp_path: Path, ndim: int) -> None:
    values = np.arange(np.prod(range(3, 3 + ndim)), dtype="uint16").reshape(
        tuple(range(3, 3 + ndim))
    )
    write(tmp_path, values, block=(2,) * ndim)
    np.testing.assert_array_equal(open_n5(tmp_path)[...], values.T)


def test_an_array_with_a_number_for_a_name(tmp_path: Path) -> None:
    """The last parts of a key are not enough to tell a block: "c/7" may be a group's array."""
    write(tmp_path / "c" / "7", samples())
    np.testing.assert_array_equal(open_n5(tmp_path)["c/7"][...], samples().T)


def test_directories_without_attributes_are_groups(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", samples())
    root = open_n5(tmp_path)
    assert sorted(root) == ["a"]
    assert sorted(root["a"]) == ["b"]
    assert "nothing" not in root


def test_listing_gives_keys_that_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a", samples())
    store = N5Store(LocalStore(tmp_path, read_only=True))

    async def listed(prefix: str) -> list[str]:
        return [key async for key in store.list_prefix(prefix)]

    keys = asyncio.run(listed(""))
    assert len(keys) == 1 + 3 * 3 * 3
    assert all(asyncio.run(store.exists(key)) for key in keys)
    assert sorted(asyncio.run(listed("a/c/2/"))) == sorted(
        k for k in keys if k.startswith("a/c/2/")
    )


def test_attributes_stay_as_written(tmp_path: Path) -> None:
    write(tmp_path, samples())
    file = tmp_path / "attributes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "resolution": [1, 2, 3]}))
    assert open_n5(tmp_path).attrs["resolution"] == [1, 2, 3]


def test_the_store_is_read_only(tmp_path: Path) -> None:
    write(tmp_path, samples())
    with pytest.raises(ValueError, match="read-only"):
        open_n5(tmp_path)[...] = 0
    buffer = default_buffer_prototype().buffer.from_bytes(b"1")
    with pytest.raises(ValueError, match="read-only"):
        asyncio.run(N5Store(LocalStore(tmp_path)).set("a", buffer))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"compression": {"type": "lz4"}}, "lz4"),
        ({"compression": 3}, "compression"),
        ({"dataType": "string"}, "dataType"),
        ({"isLabelMultiset": True}, "label multiset"),
        ({"dimensions": [11, -7, 5]}, "dimensions"),
        ({"dimensions": [11, 7, 2**70]}, "dimensions"),
        ({"blockSize": [0, 3, 2]}, "blockSize"),
        ({"blockSize": [4, 3]}, "differ in length"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    write(tmp_path / "a", samples())
    file = tmp_path / "a" / "attributes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(LayoutError, match=rf"a/attributes.json: .*{named}"):
        open_n5(tmp_path)["a"]


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000], ids=["truncated", "list", "deep"])
def test_attributes_that_are_no_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "attributes.json").write_text(text)
    with pytest.raises(LayoutError, match=r"a/attributes\.json"):
        open_n5(tmp_path)["a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no header"),
        (struct.pack(">HHI", 0, 3, 4), "within its header"),
        (struct.pack(">HHIII", 1, 2, 4, 4, 16), "mode 1"),
        (struct.pack(">HHII", 0, 2, 4, 4) + b"\0" * 5, "decompress|reshape"),
        (struct.pack(">HHII", 0, 2, 4, 4) + b"nonsense", "decompress"),
    ],
    ids=["empty", "header", "varlength", "short", "nonsense"],
)
@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "blosc", "zstd"])
def test_damaged_blocks_raise_value_errors(data: bytes, message: str, compression: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_block(data, compression, np.dtype("uint8"))
