"""The JSON of arrays: zarr-python and TensorStore open what it says, and see what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from helpers import Array

from napari_pyramid import PyramidSpec, SpecError
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.storage.json_files import write_json

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def created(
    path: Path, dtype: Any, zarr_format: int, codec: str | None = None, shards: Any = None
) -> zarr.Array[Any]:
    spec = PyramidSpec.from_array(Array((10, 14), dtype), chunks=(4, 5), shards=shards, n_levels=1)
    ArrayTemplate.new(spec.dtype, zarr_format=zarr_format, codec=codec).create(
        path, spec.levels[0], ("y", "x")
    )
    return zarr.open_array(path, mode="r+")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">f8"])
def test_new_arrays_are_read_by_tensorstore(dtype: str, zarr_format: int, tmp_path: Path) -> None:
    array = created(tmp_path / "a", dtype, zarr_format)
    assert (array.shape, array.chunks, array.dtype.newbyteorder("=")) == (
        (10, 14),
        (4, 5),
        np.dtype(dtype).newbyteorder("="),
    )
    values = np.random.default_rng(0).integers(0, 2, (10, 14)).astype(dtype)
    array[:] = values
    opened = tensorstore.open(
        {
            "driver": "zarr3" if zarr_format == 3 else "zarr",
            "kvstore": {"driver": "file", "path": str(tmp_path / "a")},
        }
    ).result()
    np.testing.assert_array_equal(opened.read().result(), values)


def stored_codecs(array: Path) -> list[dict[str, Any]]:
    """Return the compressor in the JSON of either format, in the words of zarr v2."""
    if (array / ".zarray").exists():
        compressor = json.loads((array / ".zarray").read_text())["compressor"]
        return [] if compressor is None else [compressor]
    codecs = json.loads((array / "zarr.json").read_text())["codecs"]
    assert codecs[0]["name"] == "bytes"
    return [{"id": codec["name"], **codec["configuration"]} for codec in codecs[1:]]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("codec", "stored"),
    [
        ("none", []),
        ("zstd-1", [{"id": "zstd", "level": 1}]),
        ("zstd-22", [{"id": "zstd", "level": 22}]),
        ("gzip-5", [{"id": "gzip", "level": 5}]),
        ("blosc-zstd-5", [{"id": "blosc", "cname": "zstd", "clevel": 5}]),
        ("blosc-lz4-1", [{"id": "blosc", "cname": "lz4", "clevel": 1}]),
        ("blosc-lz4hc-9", [{"id": "blosc", "cname": "lz4hc", "clevel": 9}]),
        ("blosc-zlib-1", [{"id": "blosc", "cname": "zlib", "clevel": 1}]),
        ("blosc-blosclz-3", [{"id": "blosc", "cname": "blosclz", "clevel": 3}]),
        (None, [{"id": "blosc", "cname": "zstd", "clevel": 1}]),
    ],
)
def test_codecs(
    codec: str | None, stored: list[dict[str, Any]], zarr_format: int, tmp_path: Path
) -> None:
    array = created(tmp_path / "a", "uint16", zarr_format, codec)
    array[:] = np.arange(140).reshape(10, 14)
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "a", mode="r")[:], np.arange(140).reshape(10, 14)
    )
    found = stored_codecs(tmp_path / "a")
    assert [
        {key: codec[key] for key in ("id", "cname", "clevel", "level") if key in codec}
        for codec in found
    ] == stored


def test_shards_hold_the_chunks(tmp_path: Path) -> None:
    array = created(tmp_path / "a", "uint16", 3, shards=(8, 10))
    assert (array.chunks, array.shards) == ((4, 5), (8, 10))


@pytest.mark.parametrize(
    "codec", ["", "blosc", "zstd", "zstd-a", "blosc-snappy-1", "blosc-zstd-10", "jpeg-1"]
)
def test_unknown_codecs(codec: str) -> None:
    with pytest.raises(SpecError, match=f"codec '{codec}' is not known: use blosc-zstd-1"):
        ArrayTemplate.new(np.dtype("u2"), zarr_format=3, codec=codec)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill_value", [0, 9, 1.5, float("nan"), float("inf"), float("-inf")])
def test_like_a_given_array(fill_value: float, zarr_format: Any, tmp_path: Path) -> None:
    compressor = zarr.codecs.GzipCodec(level=3) if zarr_format == 3 else None
    zarr.create_array(
        tmp_path / "0",
        shape=(10, 14),
        chunks=(4, 5),
        dtype=">f4",
        zarr_format=zarr_format,
        fill_value=fill_value,
        compressors=compressor,
        attributes={"a": 1},
    )
    first = zarr.open_array(tmp_path / "0", mode="r")
    spec = PyramidSpec.from_array(first, chunks=(4, 5), factors=2, n_levels=2)
    ArrayTemplate.like(tmp_path / "0").create(tmp_path / "1", spec.levels[1], ("y", "x"))
    second = zarr.open_array(tmp_path / "1", mode="r")
    np.testing.assert_array_equal(second.fill_value, first.fill_value)
    assert (second.shape, second.dtype, second.compressors, dict(second.attrs)) == (
        (5, 7),
        first.dtype,
        first.compressors,
        {},
    )


def test_a_codec_of_ones_own_replaces_that_of_the_array(tmp_path: Path) -> None:
    first = zarr.create_array(
        tmp_path / "0", shape=(10, 14), chunks=(5, 7), shards=(10, 14), dtype="u2"
    )
    spec = PyramidSpec.from_array(first, chunks=(5, 7), shards=None, factors=2, n_levels=2)
    ArrayTemplate.like(tmp_path / "0", codec="gzip-2").create(
        tmp_path / "1", spec.levels[1], ("y", "x")
    )
    second = zarr.open_array(tmp_path / "1", mode="r")
    assert second.shards is None
    assert type(second.compressors[0]).__name__ == "GzipCodec"


@pytest.mark.parametrize(
    ("zarr_format", "options", "lossless"),
    [
        (3, {}, True),
        (3, {"compressors": None}, True),
        (2, {}, True),
        (2, {"compressors": None}, True),
        (3, {"shards": (10, 14), "chunks": (5, 7)}, True),
    ],
)
def test_codecs_that_are_lossless(
    zarr_format: Any, options: dict[str, Any], lossless: bool, tmp_path: Path
) -> None:
    zarr.create_array(
        tmp_path / "0", shape=(10, 14), dtype="u2", zarr_format=zarr_format, **options
    )
    assert ArrayTemplate.like(tmp_path / "0").is_lossless is lossless


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_quantizing_codecs_are_not_lossless(tmp_path: Path) -> None:
    from numcodecs import FixedScaleOffset

    filters = [FixedScaleOffset(offset=0, scale=10, dtype="<f4", astype="|u1")]
    zarr.create_array(tmp_path / "0", shape=(10, 14), dtype="f4", zarr_format=2, filters=filters)
    assert not ArrayTemplate.like(tmp_path / "0").is_lossless


def test_documents_are_replaced_at_once(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", {"n": np.int64(3), "x": np.float32(0.5)})
    write_json(tmp_path / "deep" / "a.json", {"n": 4})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"n": 4}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]
