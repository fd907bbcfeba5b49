"""Label images: found, aligned with their image, with colours and properties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_come_after_their_image(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format).image("", (2, 6, 8), (2, 3, 4), axes="cyx")
    store.group("labels", labels=["nuclei", "cells"])
    store.image("labels/cells", (6, 8), (3, 4), **{"image-label": {}})
    store.image("labels/nuclei", (6, 8), (3, 4), **{"image-label": {}})
    images = open_images(store.root)
    assert [(i.kind, i.name, i.path) for i in images] == [
        ("image", "x", ""),
        ("labels", "nuclei", "labels/nuclei"),
        ("labels", "cells", "labels/cells"),
    ]


def test_colors_and_properties(new_store: Callable) -> None:
    """0.4, "labels metadata"; yaozarrs writes label-value as a float."""
    description = {
        "colors": [
            {"label-value": 1.0, "rgba": [255, 0, 0, 128]},
            {"label-value": 2, "rgba": [0, 255, 0]},
            {"label-value": 3},
        ],
        "properties": [{"label-value": 1, "class": "a"}, {"label-value": 2, "area": 5}],
    }
    (labels,) = open_images(new_store(2).image("", (6, 8), **{"image-label": description}).root)
    assert labels.kind == "labels"
    assert labels.label_colors == {1: (255, 0, 0, 128), 2: (0, 255, 0, 255)}
    assert labels.label_properties == (
        {"label-value": 1, "class": "a"},
        {"label-value": 2, "area": 5},
    )


@pytest.mark.parametrize(
    "description",
    [
        "x",
        {"colors": "x"},
        {"colors": [1]},
        {"colors": [{"label-value": 1.5, "rgba": [1, 2, 3, 4]}]},
        {"colors": [{"label-value": float("nan"), "rgba": [1, 2, 3, 4]}]},
        {"colors": [{"label-value": 1, "rgba": [1, 2, 300, 4]}]},
        {"properties": [{"class": "a"}]},
    ],
)
def test_descriptions_that_cannot_be_used_are_reported(
    new_store: Callable, description: Any
) -> None:
    path = new_store(2).image("", (6, 8), **{"image-label": description}).root
    with pytest.warns(LayoutWarning, match="image-label"):
        (labels,) = open_images(path)
    assert (labels.kind, labels.label_colors, labels.label_properties) == ("labels", {}, ())


def test_channel_axis_of_length_one_is_squeezed(new_store: Callable) -> None:
    """0.1 and 0.2: labels are 5-D as the image is."""
    store = new_store(2)
    for path in ("", "labels/a"):
        store.array(f"{path}/0".lstrip("/"), (1, 2 if not path else 1, 3, 6, 8))
        store.group(path, multiscales=[{"version": "0.1", "datasets": [{"path": "0"}]}])
    store.group("labels", labels=["a"])
    _, labels = open_images(store.root)
    assert [a.name for a in labels.axes] == list("tzyx")
    assert labels.levels[0].array.shape == (1, 3, 6, 8)
    np.testing.assert_array_equal(labels.levels[0].array[0], np.arange(3 * 6 * 8).reshape(3, 6, 8))


def test_labels_without_units_take_those_of_the_image(new_store: Callable) -> None:
    store = new_store(2).image("", (6, 8)).group("labels", labels=["a"])
    store.array("labels/a/0", (6, 8))
    store.group(
        "labels/a",
        multiscales=[
            {
                "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
                "datasets": [{"path": "0"}],
            }
        ],
    )
    _, labels = open_images(store.root)
    assert [a.unit for a in labels.axes] == ["micrometer", "micrometer"]


@pytest.mark.parametrize("listed", ["gone", "../", "", 7])
def test_labels_that_are_not_there_are_reported(new_store: Callable, listed: object) -> None:
    store = new_store(2).image("", (6, 8)).group("labels", labels=[listed])
    with pytest.warns(LayoutWarning, match="labels lists"):
        (image,) = open_images(store.root)
    assert image.kind == "image"


def test_unlisted_labels_that_say_what_they_are(new_store: Callable) -> None:
    """0.1: "unlisted groups MAY be labels"."""
    store = new_store(2).image("", (6, 8)).group("labels", labels=[])
    store.image("labels/a", (6, 8), **{"image-label": {}}).image("labels/b", (6, 8))
    assert [i.path for i in open_images(store.root)] == ["", "labels/a"]


def test_labels_of_floats_are_shown_as_an_image(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", np.zeros((6, 8), np.float32))
    store.group(
        multiscales=[{"axes": ["y", "x"], "datasets": [{"path": "0"}]}], **{"image-label": {}}
    )
    with pytest.warns(LayoutWarning, match="must be integers"):
        (image,) = open_images(store.root)
    assert image.kind == "image"


@pytest.mark.parametrize("opened", ["labels", "labels/a"])
def test_labels_opened_alone(new_store: Callable, opened: str) -> None:
    store = new_store(3).image("", (6, 8)).group("labels", labels=["a"]).image("labels/a", (6, 8))
    (labels,) = open_images(store.root / opened)
    assert (labels.kind, labels.name) == ("labels", "a")


@pytest.mark.parametrize(
    "opened", ["/labels/a.zarr", "labels/a.zarr", "a.zarr in labels", "labels"]
)
def test_image_in_a_folder_named_labels_is_an_image_however_it_is_opened(
    new_store: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    new_store(2, "labels/a.zarr").image("", (6, 8))
    monkeypatch.chdir(tmp_path / "labels" if " in " in opened else tmp_path)
    path = {"/labels/a.zarr": str(tmp_path / "labels/a.zarr"), "a.zarr in labels": "a.zarr"}.get(
        opened, opened
    )
    assert [image.kind for image in open_images(path)] == ["image"]


@pytest.mark.posix("symbolic links need rights that few users have")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "opened", ["/x.zarr/labels/a", "x.zarr/labels/a", "a", "x.zarr/labels", "x.zarr", "link"]
)
def test_label_element_without_description_is_labels_however_it_is_opened(
    new_store: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    zarr_format: int,
    opened: str,
) -> None:
    """As spatialdata writes them."""
    new_store(zarr_format).group().group("labels").image("labels/a", (6, 8))
    (tmp_path / "link").symlink_to(tmp_path / "x.zarr/labels/a")
    monkeypatch.chdir(tmp_path / "x.zarr/labels" if opened == "a" else tmp_path)
    path = str(tmp_path / "x.zarr/labels/a") if opened.startswith("/") else opened
    assert [image.kind for image in open_images(path)] == ["labels"]
