"""Stores without metadata: what names and shapes tell, and what they do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images
from napari_pyramid.storage import _files


@pytest.mark.parametrize("prefix", ["", "s", "Resolution_", "level_", "scale", "L", "mag"])
def test_numbered_arrays_in_natural_order(new_store: Callable, prefix: str) -> None:
    store = new_store(2).group()
    for k in range(11):
        store.array(f"{prefix}{k}", (3, 2048 >> k))
    (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == [f"{prefix}{k}" for k in range(11)]
    assert (image.name, image.levels[0].scale) == ("x", None)


def test_numbers_that_grow_with_the_size_are_turned_round(new_store: Callable) -> None:
    store = new_store(2).group()
    for k in range(3):
        store.array(f"{k}", (4 << k, 4 << k))
    with pytest.warns(LayoutWarning, match="smallest first"):
        (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == ["2", "1", "0"]


@pytest.mark.parametrize(
    "shapes",
    [[(8, 8), (8, 8)], [(8, 4), (4, 8)], [(8, 8), (4, 4, 4)], [(8, 8), (4, 4), (6, 6)]],
    ids=str,
)
def test_arrays_of_the_same_or_of_unrelated_shapes_are_images_of_their_own(
    new_store: Callable, shapes: list[tuple[int, ...]]
) -> None:
    store = new_store(2).group()
    for k, shape in enumerate(shapes):
        store.array(str(k), shape)
    assert [[level.path for level in i.levels] for i in open_images(store.root)] == [
        [str(k)] for k in range(len(shapes))
    ]


def test_two_series_are_two_images(new_store: Callable) -> None:
    store = new_store(2).group()
    for name, n in (("a0", 8), ("a1", 4), ("b0", 8), ("b1", 4)):
        store.array(name, (n, n))
    assert [[level.path for level in i.levels] for i in open_images(store.root)] == [
        ["a0", "a1"],
        ["b0", "b1"],
    ]


def test_base_and_sub_resolutions(new_store: Callable) -> None:
    store = new_store(2).group().group("sub-resolutions")
    store.array("base", (16, 24))
    store.array("sub-resolutions/02", (4, 6))
    store.array("sub-resolutions/01", (8, 12))
    (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == [
        "base",
        "sub-resolutions/01",
        "sub-resolutions/02",
    ]


def test_array_with_arrays_in_its_directory(new_store: Callable) -> None:
    """mmorehea's zarrPyramid: "0" is the smallest."""
    store = new_store(2)
    store.array("whole", (8, 8))
    for name, n in (("0", 2), ("1", 4)):
        store.array(f"other/{name}", (n, n))
        shutil.move(store.root / "other" / name, store.root / "whole" / name)
    (image,) = open_images(store.root / "whole")
    assert [level.array.shape for level in image.levels] == [(8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_single_array(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format).group()
    values = store.array("a", (3, 5))
    (image,) = open_images(store.root / "a")
    assert (image.name, image.axes, len(image.levels)) == ("a", None, 1)
    np.testing.assert_array_equal(image.levels[0].array[...], values)


def test_names_of_dimensions_are_axes(new_store: Callable) -> None:
    store = new_store(3).group()
    store.array("a", (3, 5), dimension_names=("y", "x"))
    (image,) = open_images(store.root / "a")
    assert [a.name for a in image.axes] == ["y", "x"]


def test_damaged_level_is_left_out(new_store: Callable) -> None:
    store = new_store(2).group()
    for k in range(3):
        store.array(f"s{k}", (16 >> k, 16 >> k))
    (store.root / "s1" / ".zarray").write_text("{")
    with pytest.warns(LayoutWarning, match=r"s1/\.zarray"):
        (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == ["s0", "s2"]


@pytest.mark.parametrize(("zarr_format", "separator"), [(2, "."), (2, "/"), (3, "/")])
def test_an_array_of_many_chunks_is_opened_with_few_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zarr_format: int, separator: str
) -> None:
    encoding = {"name": "v2" if zarr_format == 2 else "default", "separator": separator}
    zarr.create_array(
        tmp_path / "a",
        data=np.ones((200, 6)),
        chunks=(1, 6),
        zarr_format=zarr_format,
        chunk_key_encoding=encoding,
    )
    asked: list[str] = []
    monkeypatch.setattr(_files, "LocalStore", type(None))  # read as the store of a server
    read = _files._StoreFiles.read
    monkeypatch.setattr(
        _files._StoreFiles, "read", lambda self, key: asked.append(key) or read(self, key)
    )
    [image] = open_images(tmp_path / "a")
    assert (image.layout, image.ome_version, image.is_writable) == ("array", None, True)
    assert len(asked) < 20
