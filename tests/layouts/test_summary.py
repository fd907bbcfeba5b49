"""Arrays that link each other (zarr-specs issue 23)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

SHAPES = {"full": (24, 16), "half": (12, 8), "quarter": (6, 4)}


def paths(images: tuple) -> list[list[str]]:
    return [[level.path for level in image.levels] for image in images]


def test_summary_of(new_store: Callable) -> None:
    store = new_store(2).group()
    for name, parent in (("full", None), ("half", "full"), ("quarter", "half")):
        link = (
            {"summary_of": {"key": parent, "method": "mean", "dimensions": [0, 1]}}
            if parent
            else {}
        )
        store.array(name, SHAPES[name], attributes=link)
    assert paths(open_images(store.root)) == [["full", "half", "quarter"]]


def test_summarized_by(new_store: Callable) -> None:
    store = new_store(2).group()
    for name in SHAPES:
        store.array(
            name,
            SHAPES[name],
            attributes={"summarized_by": [{"key": "half"}, {"key": "quarter"}]}
            if name == "full"
            else {},
        )
    store.array("other", (5, 5))
    assert paths(open_images(store.root)) == [["full", "half", "quarter"]]


def test_two_families_are_two_images(new_store: Callable) -> None:
    store = new_store(2).group()
    for prefix in "ab":
        store.array(f"{prefix}0", (8, 8))
        store.array(f"{prefix}x", (4, 4), attributes={"summary_of": {"key": f"{prefix}0"}})
    images = open_images(store.root)
    assert paths(images) == [["a0", "ax"], ["b0", "bx"]]
    assert [i.name for i in images] == ["a0", "b0"]


def test_circle_is_ordered_by_size(new_store: Callable) -> None:
    store = new_store(2).group()
    store.array("full", SHAPES["full"], attributes={"summary_of": {"key": "half"}})
    store.array("half", SHAPES["half"], attributes={"summary_of": {"key": "full"}})
    store.array("quarter", SHAPES["quarter"])
    with pytest.warns(LayoutWarning, match="summary_of goes round in a circle"):
        images = open_images(store.root)
    assert paths(images) == [["full", "half", "quarter"]]


@pytest.mark.parametrize("link", ["gone", {"key": "../x"}, {}, 3])
def test_links_to_nothing_are_reported(new_store: Callable, link: object) -> None:
    store = new_store(2).group()
    store.array("full", SHAPES["full"])
    store.array("half", SHAPES["half"], attributes={"summary_of": link})
    with pytest.warns(LayoutWarning, match="half: summary_of names"):
        images = open_images(store.root)
    assert paths(images) == [["full"], ["half"]]
