"""Paintera's raw data and labels, written by TensorStore with attributes from its README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_n5

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images

VALUES = np.random.default_rng(0).integers(0, 9, (8, 6, 4), dtype="uint64")


def write(
    path: Path, group: dict[str, Any], data: dict[str, Any], array: dict[str, Any] | None = None
) -> Path:
    folder = path / "sample.n5" / "cells"
    for name, values in (("s0", VALUES), ("s1", VALUES[::2, ::2, ::2])):
        write_n5(folder / "data" / name, values, {"type": "gzip"}, block=(4, 4, 4))
        file = folder / "data" / name / "attributes.json"
        extra = {"downsamplingFactors": [2, 2, 2]} if name == "s1" else {}
        file.write_text(json.dumps({**json.loads(file.read_text()), **extra, **(array or {})}))
    (folder / "attributes.json").write_text(json.dumps(group))
    (folder / "data" / "attributes.json").write_text(json.dumps({"multiScale": True, **data}))
    return path / "sample.n5"


def test_labels(tmp_path: Path) -> None:
    data = {"resolution": [4.0, 5.0, 40.0], "offset": [100.0, 200.0, 300.0], "maxId": 8}
    (image,) = open_images(write(tmp_path, {"painteraData": {"type": "label"}, "maxId": 8}, data))
    assert (image.name, image.kind) == ("cells", "labels")
    assert [level.scale for level in image.levels] == [(40, 5, 4), (80, 10, 8)]
    assert [level.translation for level in image.levels] == [(300, 200, 100), (320, 202.5, 102)]
    np.testing.assert_array_equal(image.levels[0].array[...], VALUES.T)


def test_raw(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, {"painteraData": {"type": "raw"}}, {}))
    assert image.kind == "image"
    assert image.levels[0].scale == (1, 1, 1)


@pytest.mark.filterwarnings(
    "ignore:.*attributes.json. isLabelMultiset:napari_pyramid.errors.LayoutWarning"
)  # of each level
def test_label_multisets_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"painteraData": {"type": "label"}},
        {"isLabelMultiset": True},
        {"isLabelMultiset": True},
    )
    with (
        pytest.warns(LayoutWarning, match="cells/data: isLabelMultiset"),
        pytest.raises(LayoutError),
    ):
        open_images(path)


def test_a_description_that_is_none(tmp_path: Path) -> None:
    with pytest.warns(LayoutWarning, match="painteraData is not an object"):
        images = open_images(write(tmp_path, {"painteraData": "raw"}, {}))
    assert len(images[0].levels) == 2
