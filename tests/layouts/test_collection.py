"""Hierarchies that hold images somewhere below, and the order in which layouts are asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import LAYOUTS, open_images


def test_images_at_different_depths(new_store: Callable) -> None:
    store = new_store(2).group().image("a", (6, 8)).group("nested").image("nested/b", (6, 8), name="named")
    assert [(i.path, i.name) for i in open_images(store.root)] == [("a", "a"), ("nested/b", "named")]


def test_directory_that_is_no_zarr(new_store: Callable) -> None:
    store = new_store(2).image("a.zarr", (6, 8)).image("b.zarr", (6, 8))
    assert [i.path for i in open_images(store.root)] == ["a.zarr", "b.zarr"]


def test_same_names_are_told_apart_by_their_paths(new_store: Callable) -> None:
    store = new_store(2).group().image("a", (6, 8), name="n").image("b", (6, 8), name="n").image("c", (6, 8), name="m")
    assert [i.name for i in open_images(store.root)] == ["a", "b", "m"]


def test_an_image_that_cannot_be_read_does_not_lose_the_others(new_store: Callable) -> None:
    store = new_store(2).group().image("a", (6, 8))
    store.array("b", (6, 8))
    (store.root / "b" / ".zarray").write_text('{"zarr_format": 2, "shape": [6, 8], "dtype": "nonsense"}')
    with pytest.warns(LayoutWarning, match="/b is left out"):
        assert [i.path for i in open_images(store.root)] == ["a"]


def test_depth_and_number_are_bounded(new_store: Callable) -> None:
    store = new_store(2).group()
    for k in range(260):
        (store.root / f"i{k:03}").mkdir()
        (store.root / f"i{k:03}" / ".zarray").write_text(
            '{"zarr_format": 2, "shape": [6, 8], "chunks": [6, 8], "dtype": "<u2", "compressor": null, "fill_value": 0, "order": "C", "filters": null}'
        )
    with pytest.warns(LayoutWarning, match="only the first 256 images"):
        assert len(open_images(store.root)) == 256


def test_empty_directory_is_an_error_that_names_it(new_store: Callable) -> None:
    with pytest.raises(LayoutError, match=r"x\.zarr: there is no image"):
        open_images(new_store(2).group().root)


def test_every_layout_says_no_to_an_empty_group_and_to_a_plain_array_without_a_word(new_store: Callable) -> None:
    from napari_pyramid.stores import open_root

    store = new_store(2).group()
    store.array("a", (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layout in LAYOUTS:
            assert layout.read(open_root(new_store(2, "empty.zarr").group().root)) is None
            assert layout.NAME
            if layout is not LAYOUTS[-1]:
                assert layout.read(open_root(store.root / "a")) is None


def test_ome_goes_before_the_older_conventions_beside_it(new_store: Callable) -> None:
    """CellMap's stores carry OME-Zarr and COSEM's metadata side by side."""
    store = new_store(3)
    store.array("s0", (6, 8))
    transform = {"axes": ["y", "x"], "scale": [4, 4], "translate": [0, 0], "units": ["nm", "nm"]}
    ome = {"version": "0.5", "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "s0"}]}]}
    store.group(raw={"ome": ome, "multiscales": [{"datasets": [{"path": "s0", "transform": transform}]}]})
    assert [i.layout for i in open_images(store.root)] == ["OME-Zarr 0.5"]
