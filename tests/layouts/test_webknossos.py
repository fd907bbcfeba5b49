"""WEBKNOSSOS datasets: padded arrays, magnifications, bounding boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.image import Image
from napari_pyramid.layouts import open_images

FULL = np.random.default_rng(0).integers(1, 255, (1, 32, 32, 16), dtype="uint8")
MAGS: dict[str, tuple[int, int, int]] = {"1": (1, 1, 1), "2-2-1": (2, 2, 1), "4-4-2": (4, 4, 2)}
ORDER = {"c": 0, "x": 1, "y": 2, "z": 3}

UNDESCRIBED = [["color/1"], ["color/2-2-1"], ["color/4-4-2"]]
"""Without the bounding box, arrays padded to the same shape are not levels of each other."""


def level_paths(images: Sequence[Image]) -> list[list[str]]:
    return [[level.path for level in image.levels] for image in images]


def write(path: Path, *, box: Any = None, scale: Any = None, **layer: Any) -> Path:
    """Coarser levels are padded with zeros to 64 x 64 x 32, larger than the finest."""
    zarr.create_group(path).create_group("color")
    for name, (x, y, z) in MAGS.items():
        values = FULL[:, ::x, ::y, ::z]
        array = zarr.create_array(
            path / "color" / name,
            shape=(1, 64, 64, 32) if name != "1" else FULL.shape,
            dtype="uint8",
            chunks=(1, 16, 16, 16),
        )
        array[tuple(slice(0, n) for n in values.shape)] = values
    described = {
        "name": "color",
        "category": "color",
        "boundingBox": box or {"topLeft": [0, 0, 0], "width": 30, "height": 20, "depth": 10},
        "mags": [
            {"mag": list(mag), "path": f"./color/{name}", "axisOrder": ORDER}
            for name, mag in MAGS.items()
        ],
        **layer,
    }
    properties = {
        "scale": scale or {"factor": [11.0, 12.0, 25.0], "unit": "nanometer"},
        "dataLayers": [described],
    }
    (path / "datasource-properties.json").write_text(json.dumps(properties))
    return path


def test_levels_are_cut_to_the_bounding_box(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path))
    assert [level.array.shape for level in image.levels] == [
        (1, 30, 20, 10),
        (1, 15, 10, 10),
        (1, 8, 5, 5),
    ]
    assert [level.scale for level in image.levels] == [
        (1, 11, 12, 25),
        (1, 22, 24, 25),
        (1, 44, 48, 50),
    ]
    assert [(axis.name, axis.type, axis.unit) for axis in image.axes or ()] == [
        ("c", "channel", None),
        *((n, "space", "nanometer") for n in "xyz"),
    ]
    np.testing.assert_array_equal(
        np.asarray(image.levels[2].array[...]), FULL[:, ::4, ::4, ::2][:, :8, :5, :5]
    )


def test_a_box_that_begins_elsewhere(tmp_path: Path) -> None:
    (image,) = open_images(
        write(tmp_path, box={"topLeft": [8, 4, 2], "width": 20, "height": 20, "depth": 10})
    )
    first, second, _ = image.levels
    assert first.translation == (0, 88, 48, 50)
    np.testing.assert_array_equal(np.asarray(first.array[...]), FULL[:, 8:28, 4:24, 2:12])
    np.testing.assert_array_equal(np.asarray(second.array[...]), FULL[:, 8:28:2, 4:24:2, 2:12])


def test_old_versions(tmp_path: Path) -> None:
    """A plain list for the scale, "resolutions" for "mags", default paths and axes."""
    (image,) = open_images(
        write(
            tmp_path,
            scale=[11.0, 12.0, 25.0],
            mags=None,
            wkwResolutions=None,
            resolutions=[1, {"resolution": [2, 2, 1]}, [4, 4, 2]],
        )
    )
    assert image.levels[1].scale == (1, 22, 24, 25)


@pytest.mark.parametrize("name", [None, ""])
def test_a_layer_without_a_name_is_called_after_the_dataset(tmp_path: Path, name: Any) -> None:
    (image,) = open_images(write(tmp_path / "cortex.zarr", name=name))
    assert image.name == "cortex"


def test_segmentations_are_labels(tmp_path: Path) -> None:
    assert open_images(write(tmp_path, category="segmentation"))[0].kind == "labels"


@pytest.mark.parametrize(
    "box", [{"topLeft": "x"}, {"topLeft": [500, 0, 0], "width": 1, "height": 1, "depth": 1}, 3]
)
def test_a_box_without_sense_cuts_nothing(tmp_path: Path, box: Any) -> None:
    (image,) = open_images(write(tmp_path, box=box, mags=[{"mag": 1, "path": "color/1"}]))
    assert image.levels[0].array.shape == FULL.shape


def test_a_magnification_that_is_missing_is_reported(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        mags=[
            {"mag": 1, "path": "color/1"},
            {"mag": 2, "path": "../elsewhere"},
            {"mag": 4, "path": "color/gone"},
        ],
    )
    with pytest.warns(LayoutWarning, match="elsewhere"), pytest.warns(LayoutWarning, match="gone"):
        (image,) = open_images(path)
    assert [level.path for level in image.levels] == ["color/1"]


def test_layers_of_other_formats_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, dataFormat="wkw", mags=[{"mag": 1, "path": "color/nothing"}])
    with (
        pytest.warns(LayoutWarning, match="dataFormat 'wkw'"),
        pytest.warns(LayoutWarning, match="nothing"),
    ):
        images = open_images(path)
    assert level_paths(images) == UNDESCRIBED


@pytest.mark.parametrize("text", ["{", "[]", '{"dataLayers": 3}', "[" * 100_000])
def test_properties_without_sense_fall_through(tmp_path: Path, text: str) -> None:
    path = write(tmp_path)
    (path / "datasource-properties.json").write_text(text)
    with pytest.warns(LayoutWarning, match="datasource-properties.json"):
        images = open_images(path)
    assert level_paths(images) == UNDESCRIBED


def test_magnifications_as_text(tmp_path: Path) -> None:
    """Early versions wrote "2-2-1", and no path since it is the same."""
    (image,) = open_images(
        write(tmp_path, mags=[{"mag": name, "axisOrder": ORDER} for name in MAGS])
    )
    assert [level.scale for level in image.levels] == [
        (1, 11, 12, 25),
        (1, 22, 24, 25),
        (1, 44, 48, 50),
    ]


def test_a_layer_opened_by_itself(tmp_path: Path) -> None:
    """Without the dataset's metadata, the names 1, 2-2-1, 4-4-2 still mark levels."""
    root = zarr.create_group(tmp_path / "color")
    for name, (x, y, z) in MAGS.items():
        root.create_array(name, data=np.ascontiguousarray(FULL[0, ::x, ::y, ::z]))
    (image,) = open_images(tmp_path / "color")
    assert [level.path for level in image.levels] == ["1", "2-2-1", "4-4-2"]
