"""bioformats2raw collections: all series, in the stated order, with their names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

XML = b"""<?xml version="1.0"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
  <Image ID="Image:0" Name="first"/><Image ID="Image:1" Name="second"/>
</OME>"""


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_series_give_the_order(new_store: Callable, zarr_format: int) -> None:
    store = (
        new_store(zarr_format)
        .group(**{"bioformats2raw.layout": 3})
        .group("OME", series=["10", "2"])
    )
    store.image("2", (6, 8), name="b").image("10", (6, 8), name="a")
    assert [(i.path, i.name) for i in open_images(store.root)] == [("10", "a"), ("2", "b")]


def test_without_series_images_are_in_order_of_their_numbers(new_store: Callable) -> None:
    store = new_store(2).group(**{"bioformats2raw.layout": 3})
    for number in (10, 2, 0):
        store.image(str(number), (6, 8))
    assert [i.path for i in open_images(store.root)] == ["0", "2", "10"]


def test_names_in_the_xml_are_for_images_without_one(new_store: Callable) -> None:
    store = new_store(2).group(**{"bioformats2raw.layout": 3}).group("OME")
    store.image("0", (6, 8)).image("1", (6, 8), name="own")
    (store.root / "OME" / "METADATA.ome.xml").write_bytes(XML)
    assert [i.name for i in open_images(store.root)] == ["first", "own"]


def test_labels_of_an_image_follow_it(new_store: Callable) -> None:
    store = (
        new_store(2)
        .group(**{"bioformats2raw.layout": 3})
        .image("0", (6, 8))
        .group("0/labels", labels=["a"])
        .image("0/labels/a", (6, 8))
    )
    assert [(i.kind, i.path) for i in open_images(store.root)] == [
        ("image", "0"),
        ("labels", "0/labels/a"),
    ]


def test_damaged_xml_is_reported(new_store: Callable) -> None:
    store = new_store(2).group(**{"bioformats2raw.layout": 3}).group("OME").image("0", (6, 8))
    (store.root / "OME" / "METADATA.ome.xml").write_bytes(XML[:-9])
    with pytest.warns(LayoutWarning, match=r"METADATA\.ome\.xml"):
        (image,) = open_images(store.root)
    assert image.name == "0"


@pytest.mark.parametrize(
    ("series", "message"),
    [(["0", "5"], "'5'"), (["0", "../x"], "not a path inside"), (["0", None], "not a path inside")],
)
def test_series_that_are_not_there_are_reported(
    new_store: Callable, series: list[object], message: str
) -> None:
    store = (
        new_store(2)
        .group(**{"bioformats2raw.layout": 3})
        .group("OME", series=series)
        .image("0", (6, 8))
    )
    with pytest.warns(LayoutWarning, match=message):
        assert len(open_images(store.root)) == 1


def test_the_xml_needs_no_group_around_it(new_store: Callable) -> None:
    """Before 0.4, "OME" was a directory without metadata of its own."""
    store = new_store(2).group(**{"bioformats2raw.layout": 3}).image("0", (6, 8)).image("1", (6, 8))
    (store.root / "OME").mkdir()
    (store.root / "OME" / "METADATA.ome.xml").write_bytes(XML)
    assert [i.name for i in open_images(store.root)] == ["first", "second"]


def test_a_server_that_lists_nothing_is_asked_for_one_number_after_the_other(
    new_store: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(3).group(**{"bioformats2raw.layout": 3}).image("0", (6, 8)).image("1", (6, 8))
    monkeypatch.setattr(
        "napari_pyramid.storage._files._LocalFiles.names", lambda self, directory: []
    )
    assert [i.path for i in open_images(store.root)] == ["0", "1"]


NAMED = b"<OME><Image Name='A'/><Image Name='B'/><Image Name='C'/></OME>"


@pytest.mark.parametrize("series", [["0", "1", "2"], None], ids=["listed", "by number"])
def test_names_go_by_number_when_a_series_is_missing(
    new_store: Callable, series: list[str] | None
) -> None:
    store = (
        new_store(2)
        .group(**{"bioformats2raw.layout": 3})
        .group("OME", **({"series": series} if series else {}))
    )
    store.image("0", (6, 8)).image("2", (6, 8))
    (store.root / "OME" / "METADATA.ome.xml").write_bytes(NAMED)
    with pytest.warns(LayoutWarning, match="series lists '1'") if series else nullcontext():
        images = open_images(store.root)
    assert [(i.path, i.name) for i in images] == [("0", "A"), ("2", "C")]


def test_names_go_by_place_in_the_list_where_it_repeats(new_store: Callable) -> None:
    store = new_store(2).group(**{"bioformats2raw.layout": 3}).group("OME", series=["a", "a", "b"])
    store.image("a", (6, 8)).image("b", (6, 8))
    (store.root / "OME" / "METADATA.ome.xml").write_bytes(NAMED)
    assert [(i.path, i.name) for i in open_images(store.root)] == [("a", "A"), ("b", "C")]
