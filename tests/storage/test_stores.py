"""Directories, zip files, URLs: what opens, in place, and what is refused with which words."""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from servers import web_server

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.stores import open_root


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "x.zarr"
    group = zarr.create_group(path, zarr_format=3, attributes={"a": 1})
    group.create_array("deep/s0", data=np.arange(35).reshape(5, 7), chunks=(2, 3))
    return path


def _zipped(directory: Path, name: str, prefix: str = "", *, junk: str | None = None) -> Path:
    path = directory.parent / name
    with zipfile.ZipFile(path, "w") as file:
        for found in sorted(directory.rglob("*")):
            if found.is_file():
                file.write(found, prefix + found.relative_to(directory).as_posix())
        if junk:
            file.writestr(junk, "x")
        file.comment = b'{"ome": {"version": "0.5"}}'
    return path


@pytest.mark.parametrize(
    ("name", "prefix", "junk"),
    [
        ("x.ozx", "", None),
        ("x.zarr.zip", "", None),
        ("any-name", "", None),
        ("x.zip", "x.zarr/", None),
        ("mac.zip", "x.zarr/", "__MACOSX/._x"),
    ],
)
def test_zip_is_read_in_place(directory: Path, name: str, prefix: str, junk: str | None) -> None:
    """By its content, not by its name; a single wrapping folder is looked through."""
    path = _zipped(directory, name, prefix, junk=junk)
    before = sorted(os.listdir(path.parent))
    root = open_root(path)
    assert root.attributes == {"a": 1}
    assert root.child_names() == ("deep",)
    np.testing.assert_array_equal(
        root.child("deep/s0").array()[1:4, 2:], np.arange(35).reshape(5, 7)[1:4, 2:]
    )
    assert sorted(os.listdir(path.parent)) == before


def test_zip_with_entries_outside_writes_nothing(directory: Path, tmp_path: Path) -> None:
    path = _zipped(directory, "x.zip", junk="../../outside")
    assert open_root(path).child("deep/s0").shape == (5, 7)
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 and no more"])
def test_file_that_is_no_zip_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.ozx"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=r"image\.ozx"):
        open_root(path)


def test_damaged_member_of_a_zip_is_reported(directory: Path) -> None:
    path = directory.parent / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", '{"zarr_format": 3, "node_type": "group"}')
        file.writestr(
            "a/zarr.json",
            '{"zarr_format": 3, "node_type": "group", "attributes": {"a": "aaaaaaaaaaaaaaaa"}}',
        )
    content = bytearray(path.read_bytes())
    at = content.index(b"a/zarr.json") + len(b"a/zarr.json")
    content[at : at + 20] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.warns(LayoutWarning, match=r"x\.zip/a/zarr\.json cannot be read"):
        assert open_root(path).child("a") is None


def test_missing_path_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"gone\.zarr cannot be opened: No such file"):
        open_root(tmp_path / "gone.zarr")


def test_path_with_a_null_byte_is_refused() -> None:
    with pytest.raises(LayoutError, match="cannot be opened"):
        open_root("a\0b")


def test_plain_directory_is_an_implicit_group(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    assert (root.kind, root.is_implicit, root.attributes, root.children()) == (
        "group",
        True,
        {},
        (),
    )


def test_dot_is_called_by_its_name(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    assert open_root(".").title == "x"


def test_file_url_is_a_path(directory: Path) -> None:
    assert open_root(directory.as_uri()).attributes == {"a": 1}


def test_store_is_opened_read_only(directory: Path) -> None:
    array = open_root(directory).child("deep/s0").array()
    with pytest.raises(ValueError, match="read"):
        array[0, 0] = 1


@pytest.fixture
def url(directory: Path) -> Iterator[str]:
    with web_server(directory.parent) as web:
        yield web.url


def test_http(directory: Path, url: str) -> None:
    with pytest.warns(UserWarning, match="not part in the Zarr format 3"):
        zarr.consolidate_metadata(directory)
    root = open_root(f"{url}/x.zarr")
    assert root.attributes == {"a": 1}
    np.testing.assert_array_equal(root.child("deep/s0").array()[...], np.arange(35).reshape(5, 7))
    assert root.child_names() == ("deep",)  # by the consolidated metadata alone


@pytest.mark.parametrize(
    ("scheme", "missing"),
    [
        ("s3", "obstore"),
        ("https", "obstore"),
        ("gs", "obstore"),
        ("az", "obstore"),
        ("ftp", "fsspec"),
    ],
)
def test_missing_package_is_named(
    scheme: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(module: str) -> None:
        if module == missing:
            raise ImportError(module)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(LayoutError, match=rf'{missing}: pip install "napari-pyramid\[remote\]"$'):
        open_root(f"{scheme}://bucket/x.zarr")


def test_http_folder_in_n5(tmp_path: Path, url: str) -> None:
    """N5 is recognised by ".n5" anywhere in the path.

    The groups below the container look like any directory.
    """
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": str(tmp_path / "a.n5" / "vol")},
        "metadata": {"compression": {"type": "raw"}},
    }
    tensorstore.open(spec, create=True, dtype="uint8", shape=(4, 3)).result()[...] = np.arange(
        12, dtype="uint8"
    ).reshape(4, 3)
    np.testing.assert_array_equal(
        np.asarray(open_root(f"{url}/a.n5/vol").array()[...]), np.arange(12).reshape(4, 3).T
    )


def test_a_zipped_n5_container_needs_no_attributes_at_its_root(tmp_path: Path) -> None:
    for name in ("a", "b"):
        spec = {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": str(tmp_path / "x.n5" / name)},
        }
        tensorstore.open(spec, create=True, dtype="uint8", shape=(9, 8)).result()[...] = 3
    (image, *_) = open_images(_zipped(tmp_path / "x.n5", "x.n5.zip"))
    np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), np.full((8, 9), 3))
