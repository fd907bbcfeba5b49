"""The description of a store, against plain zarr-python and sizes of the file system."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from helpers import write_n5
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec

from napari_pyramid import LayoutError, PyramidSpec
from napari_pyramid.info import describe, describe_spec, text_table
from napari_pyramid.metadata.codecs import codec_name
from napari_pyramid.storage.stored_bytes import stored_bytes


def file_bytes(directory: Path) -> int:
    return sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())


# ---- codecs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codecs", "expected"),
    [
        pytest.param(
            {"compressors": BloscCodec(cname="zstd", clevel=5)}, "blosc-zstd-5", id="blosc"
        ),
        pytest.param({"compressors": ZstdCodec(level=3)}, "zstd-3", id="zstd"),
        pytest.param({"compressors": GzipCodec(level=6)}, "gzip-6", id="gzip"),
        pytest.param({"compressors": None}, "none", id="none"),
        pytest.param(
            {"compressors": ZstdCodec(level=3), "shards": (8, 8)}, "zstd-3", id="inside a shard"
        ),
        pytest.param(
            {
                "compressors": GzipCodec(level=1),
                "filters": TransposeCodec(order=(1, 0)),
                "serializer": BytesCodec(endian="big"),
            },
            "transpose + gzip-1",
            id="transposed",
        ),
    ],
)
def test_codec_of_zarr_v3(codecs: dict[str, object], expected: str) -> None:
    assert (
        codec_name(zarr.create_array({}, shape=(8, 8), chunks=(4, 4), dtype="uint16", **codecs))
        == expected
    )


@pytest.mark.parametrize(
    ("codecs", "expected"),
    [
        ({"compressors": numcodecs.Blosc(cname="lz4", clevel=1)}, "blosc-lz4-1"),
        ({"compressors": numcodecs.Zlib(level=2)}, "zlib-2"),
        (
            {"compressors": numcodecs.BZ2(level=9), "filters": [numcodecs.Delta("uint16")]},
            "delta + bz2-9",
        ),
        ({"compressors": None}, "none"),
    ],
)
def test_codec_of_zarr_v2(codecs: dict[str, object], expected: str) -> None:
    assert (
        codec_name(
            zarr.create_array(
                {}, shape=(8, 8), chunks=(4, 4), dtype="uint16", zarr_format=2, **codecs
            )
        )
        == expected
    )


# ---- sizes ---------------------------------------------------------------------------------------


def test_stored_bytes_are_those_of_the_files(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", data=np.arange(100, dtype=np.uint16), chunks=(7,)
    )
    assert stored_bytes(array) == file_bytes(tmp_path / "a.zarr")


@pytest.mark.posix("symbolic links need rights that few users have")
def test_links_are_not_followed(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", data=np.arange(100, dtype=np.uint16), chunks=(7,)
    )
    before = stored_bytes(array)
    (tmp_path / "elsewhere").write_bytes(bytes(10_000))
    link = tmp_path / "a.zarr" / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert stored_bytes(array) == before + link.lstat().st_size


def test_stored_bytes_in_a_zip_are_the_compressed_ones(
    tmp_path: Path, ome_zarr: Callable[..., Path]
) -> None:
    path = ome_zarr(np.zeros((9, 30), np.uint8), "yx")
    with zipfile.ZipFile(tmp_path / "x.zarr.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(path))
        expected = [
            sum(f.compress_size for f in archive.infolist() if f.filename.startswith(f"{k}/"))
            for k in "01"
        ]
    assert [
        level.stored_bytes for level in describe(tmp_path / "x.zarr.zip").images[0].levels
    ] == expected


def test_stored_bytes_in_memory_are_not_counted() -> None:
    assert stored_bytes(zarr.create_array({}, shape=(3,), dtype="uint8")) is None


# ---- stores --------------------------------------------------------------------------------------


def test_describes_levels_axes_and_channels(ome_zarr: Callable[..., Path]) -> None:
    channels = [
        {
            "label": "DAPI",
            "color": "0000FF",
            "window": {"start": 5, "end": 200, "min": 0, "max": 255},
            "active": False,
        },
        {"color": "00FF00"},
    ]
    path = ome_zarr(np.zeros((2, 5, 30, 41), np.uint8), "czyx", omero={"channels": channels})
    [image] = describe(path).images
    assert (image.kind, image.layout) == ("image", "OME-Zarr 0.5")
    assert [level.shape for level in image.levels] == [(2, 5, 30, 41), (2, 3, 15, 21)]
    assert [level.chunks for level in image.levels] == [(1, 5, 8, 8), (1, 3, 8, 8)]
    assert [level.scale for level in image.levels] == [(1, 0.5, 0.5, 0.5), (1, 1, 1, 1)]
    assert [level.nbytes for level in image.levels] == [2 * 5 * 30 * 41, 2 * 3 * 15 * 21]
    assert [level.stored_bytes for level in image.levels] == [
        file_bytes(path / "0"),
        file_bytes(path / "1"),
    ]
    text = str(image)
    for expected in (
        "z (micrometer)",
        "DAPI, #0000FF, 5 to 200, hidden",
        "2 x 3 x 15 x 21",
        "1 x 0.5 x 0.5 x 0.5",
    ):
        assert expected in text


def test_labels_are_distinguished_from_images(ome_zarr: Callable[..., Path]) -> None:
    path = ome_zarr(np.zeros((16, 16), np.uint8), "yx")
    ome_zarr(
        np.zeros((16, 16), np.uint16),
        "yx",
        name="image.ome.zarr/labels/nuclei",
        **{"image-label": {}},
    )
    zarr.open_group(path / "labels").attrs["ome"] = {"version": "0.5", "labels": ["nuclei"]}
    found = describe(path)
    assert [(image.kind, image.path) for image in found.images] == [
        ("image", ""),
        ("labels", "labels/nuclei"),
    ]
    assert "1 image, 1 label image" in str(found)


def test_json_is_json(ome_zarr: Callable[..., Path]) -> None:
    path = ome_zarr(np.zeros((16, 16), np.uint8), "yx")
    described = json.loads(json.dumps(describe(path).to_json()))
    assert described["path"] == str(path)
    assert described["images"][0]["levels"][1]["shape"] == [8, 8]
    assert described["images"][0]["axes"][0] == {"name": "y", "type": "space", "unit": "micrometer"}


def test_a_spec_is_described_in_the_same_words(ome_zarr: Callable[..., Path]) -> None:
    pixels = np.zeros((40, 50), np.uint8)
    spec = PyramidSpec.from_array(
        pixels,
        axes="yx",
        scale=(0.5, 0.5),
        unit="um",
        method="stride",
        factors=2,
        n_levels=2,
        chunks=(8, 8),
    )
    planned = json.loads(json.dumps(describe_spec(spec)))
    [built] = json.loads(json.dumps(describe(ome_zarr(pixels, "yx")).to_json()))["images"]
    same = {"dtype": "uint8", "chunks": [8, 8], "shards": None, "translation": [0, 0]}
    expected = [
        {"path": "0", "shape": [40, 50], "scale": [0.5, 0.5], "nbytes": 2000, **same},
        {"path": "1", "shape": [20, 25], "scale": [1, 1], "nbytes": 500, **same},
    ]
    for described in (planned, built):
        assert [
            {key: level[key] for key in expected[0]} for level in described["levels"]
        ] == expected
    assert planned["axes"] == built["axes"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nothing"):
        describe(tmp_path / "nothing.zarr")


def test_table_leaves_out_columns_without_content() -> None:
    assert text_table([("a", "b", "c"), ("1", "-", "x y"), ("22", "", "z")]) == [
        "  a   c",
        "  1   x y",
        "  22  z",
    ]


@pytest.mark.parametrize("wrapped", [False, True])
def test_stored_bytes_of_an_array_at_the_root_of_a_zip(tmp_path: Path, wrapped: bool) -> None:
    zarr.create_array(tmp_path / "x.zarr", data=np.arange(100, dtype=np.uint16), chunks=(7,))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in (tmp_path / "x.zarr").rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path if wrapped else tmp_path / "x.zarr"))
        expected = sum(f.compress_size for f in archive.infolist())
    assert describe(tmp_path / "x.zip").stored_bytes == expected


@pytest.mark.parametrize("zipped", [False, True])
def test_stored_bytes_of_n5(tmp_path: Path, zipped: bool) -> None:
    write_n5(tmp_path / "x.n5" / "a", np.ones((9, 8), np.uint16), block=(4, 4))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in (tmp_path / "x.n5" / "a").rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path))
    assert describe(tmp_path / ("x.zip" if zipped else "x.n5")).stored_bytes == file_bytes(
        tmp_path / "x.n5" / "a"
    )
