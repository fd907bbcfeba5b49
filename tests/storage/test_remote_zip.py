"""Zip files behind a URL, read in place by ranges."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from servers import Rules, web_server

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import LayoutError, LayoutNotice, SourceError
from napari_pyramid.layouts import open_images

PIXELS = np.random.default_rng(1).integers(0, 2**16, (61, 73), "u2")


def _zip(
    directory: Path, path: Path, *, method: int = zipfile.ZIP_STORED, prefix: str = ""
) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for found in sorted(directory.rglob("*")):
            if found.is_file():
                file.write(found, prefix + found.relative_to(directory).as_posix())
        file.comment = b'{"ome": {"version": "0.5"}}'
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "x.zarr"
    zarr.create_array(path, data=PIXELS, chunks=(8, 8), shards=(32, 32))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("name", "prefix"), [("cells.ozx", ""), ("cells.zip", "cells.zarr/"), ("cells", "")]
)
@pytest.mark.parametrize("missing", [404, 403, "html"])
def test_a_zip_is_read_in_place(
    directory: Path, tmp_path: Path, name: str, prefix: str, method: int, missing: int | str
) -> None:
    _zip(directory, tmp_path / name, method=method, prefix=prefix)
    with web_server(tmp_path, Rules(missing=missing, query="sig=1")) as web:
        (image,) = open_images(f"{web.url}/{name}?sig=1")
        np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), PIXELS)
        np.testing.assert_array_equal(np.asarray(image.levels[0].array[30:, 7]), PIXELS[30:, 7])


def test_only_parts_of_a_zip_are_read(directory: Path, tmp_path: Path) -> None:
    zarr.create_array(directory.parent / "big.zarr", data=np.tile(PIXELS, (9, 9)), chunks=(61, 73))
    archive = _zip(directory.parent / "big.zarr", tmp_path / "big.ozx")
    with web_server(tmp_path) as web:
        (image,) = open_images(f"{web.url}/big.ozx")
        np.testing.assert_array_equal(np.asarray(image.levels[0].array[61:122, :73]), PIXELS)
        read = [r.range or "all" for r in web.requests if r.status in (200, 206)]
    assert "all" not in read
    assert len(read) <= 4
    assert archive.stat().st_size > 500_000


def test_a_zip_of_n5_is_read_in_place(tmp_path: Path) -> None:
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(tmp_path / "x.n5" / "a")}}
    opened = tensorstore.open(spec, create=True, dtype="uint8", shape=(9, 8)).result()
    opened[...] = np.arange(72, dtype="u1").reshape(9, 8)
    _zip(tmp_path / "x.n5", tmp_path / "x.n5.zip")
    with web_server(tmp_path) as web:
        (image,) = open_images(f"{web.url}/x.n5.zip")
        np.testing.assert_array_equal(
            np.asarray(image.levels[0].array[...]), np.arange(72).reshape(9, 8).T
        )


def test_a_server_without_ranges_sends_the_zip_once(directory: Path, tmp_path: Path) -> None:
    _zip(directory, tmp_path / "x.ozx")
    with web_server(tmp_path, Rules(ranges=False)) as web:
        with pytest.warns(LayoutNotice, match=r"x\.ozx: the server does not send parts"):
            (image,) = open_images(f"{web.url}/x.ozx")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), PIXELS)
        assert sum(r.range is None and r.status == 200 for r in web.requests) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and no more", "is not a readable zip file"),
        (b"not a zip", "neither a zip nor a TIFF"),
    ],
)
def test_what_is_no_zip_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.ozx").write_bytes(content)
    with (
        web_server(tmp_path) as web,
        pytest.raises(LayoutError, match=rf"x\.ozx {message}|x\.ozx is a file, but {message}"),
    ):
        open_images(f"{web.url}/x.ozx?sig=1")


def test_a_damaged_member_is_reported(tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", '{"zarr_format": 3, "node_type": "group"}')
        file.writestr("a/zarr.json", '{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    content = bytearray(written.getvalue())
    at = content.index(b"a/zarr.json") + len(b"a/zarr.json")
    content[at : at + 20] = b"\xff" * 20
    (tmp_path / "x.zip").write_bytes(content)
    with (
        web_server(tmp_path) as web,
        pytest.warns(UserWarning, match=r"a/zarr\.json.*damaged"),
        pytest.raises(LayoutError, match="there is no image"),
    ):
        open_images(f"{web.url}/x.zip")


def _write_zip(directory: Path, path: Path, kind: str) -> None:
    """Write a zip whose members have headers of another length than its directory suggests."""
    with zipfile.ZipFile(path, "w") as file:
        for found in sorted(directory.rglob("*.json")) + sorted(directory.rglob("c/*/*")):
            info = zipfile.ZipInfo(found.relative_to(directory).as_posix())
            if kind.startswith("extra"):
                n = int(kind.partition(" ")[2])
                info.extra = struct.pack("<HH", 0x9999, n) + bytes(n)
            with file.open(info, "w", force_zip64=kind == "zip64") as member:
                member.write(found.read_bytes())
        for info in file.infolist():
            info.extra = b""  # in the directory, which is written last
    if kind == "streamed":  # with the sizes behind each member, as in a zip written to a pipe
        written = _Pipe()
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(written, "w") as file:
            for info in source.infolist():
                file.writestr(info.filename, source.read(info))
        path.write_bytes(written.getvalue())


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise OSError("a pipe")

    tell = seek


@pytest.mark.parametrize("shards", [None, (32, 32)], ids=["chunks", "shards"])
@pytest.mark.parametrize("kind", ["usual", "zip64", "streamed", "extra 100", "extra 3000"])
def test_headers_of_any_length_are_read(
    tmp_path: Path, kind: str, shards: tuple[int, int] | None
) -> None:
    made = tmp_path / "made"
    zarr.create_array(made, data=PIXELS, chunks=(8, 8), shards=shards, compressors=None)
    _write_zip(made, tmp_path / "x.zip", kind)
    with web_server(tmp_path) as web:
        for region in (np.s_[...], np.s_[30:, 7], np.s_[60, 72]):
            (image,) = open_images(f"{web.url}/x.zip")
            array = image.levels[0].array
            np.testing.assert_array_equal(np.asarray(LazyArray(array)[region]), PIXELS[region])
            (image,) = open_images(f"{web.url}/x.zip")
            array = image.levels[0].array  # zarr reads it
            np.testing.assert_array_equal(np.asarray(array[region]), PIXELS[region])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("prefix", ["", "cells.zarr/"])
def test_shards_in_a_zip_take_few_requests(tmp_path: Path, prefix: str, method: int) -> None:
    values = np.random.default_rng(2).integers(0, 2**16, (64, 256, 256), "u2")
    zarr.create_array(
        tmp_path / "made", data=values, chunks=(8, 32, 64), shards=(64, 128, 256), compressors=None
    )
    _zip(tmp_path / "made", tmp_path / "x.zip", method=method, prefix=prefix)
    with web_server(tmp_path) as web:
        (image,) = open_images(f"{web.url}/x.zip")
        n_opened = len(web.requests)
        np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)[9]), values[9])
        n_read = len(web.requests) - n_opened
    # of each of 2 shards, the index and the neighbouring chunks; or all, if it is compressed
    assert n_read <= (2 if method == zipfile.ZIP_DEFLATED else 5)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_chunk_is_named(tmp_path: Path, method: int) -> None:
    values = np.arange(64, dtype="u1").reshape(8, 8)
    zarr.create_array(tmp_path / "made", data=values, chunks=(4, 4), compressors=None)
    _zip(tmp_path / "made", tmp_path / "x.zip", method=method)
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        at = file.getinfo("c/1/0").header_offset + 30 + len("c/1/0")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[at + 3] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(content)
    with web_server(tmp_path) as web:
        (image,) = open_images(f"{web.url}/x.zip")
        for array in (LazyArray(image.levels[0].array), image.levels[0].array):
            np.testing.assert_array_equal(np.asarray(array[:4]), values[:4])
            with pytest.raises((OSError, SourceError), match=r"x\.zip/c/1/0: damaged"):
                np.asarray(array[4:])
