"""Groups as xarray writes them: places come from coordinate arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


def dataset(
    group: zarr.Group,
    step: int = 1,
    *,
    coordinates: dict[str, Any] | None = None,
    name: str = "img",
) -> None:
    """A variable (z, y, x) with coordinates; level `step` is the mean of blocks along y and x, so its centres are shifted."""
    shape = (3, 8 // step, 12 // step)
    group.create_array(name, data=np.full(shape, step, "uint16"), dimension_names=["z", "y", "x"])
    shift = (step - 1) / 2
    given = coordinates or {
        "z": 10 + 2.0 * np.arange(3),
        "y": 20 - 0.5 * (np.arange(shape[1]) * step + shift),
        "x": 0.25 * (np.arange(shape[2]) * step + shift),
    }
    for dim, values in given.items():
        group.create_array(dim, data=values, dimension_names=[dim], attributes={"units": "um"})


def test_scale_groups(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "image.zarr")
    for k in range(3):
        dataset(root.create_group(f"scale{k}"), 2**k)
    (image,) = open_images(tmp_path / "image.zarr")
    assert image.name == "img"
    assert [level.path for level in image.levels] == ["scale0/img", "scale1/img", "scale2/img"]
    assert [level.scale for level in image.levels] == [
        (2, -0.5, 0.25),
        (2, -1.0, 0.5),
        (2, -2.0, 1.0),
    ]
    assert image.levels[1].translation == pytest.approx((10, 19.75, 0.125))
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "micrometer") for name in "zyx"
    ]


def test_zarr_v2_names_axes_in_attributes(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path, zarr_format=2)
    root.create_array(
        "img", data=np.ones((4, 5), "uint8"), attributes={"_ARRAY_DIMENSIONS": ["y", "x"]}
    )
    for dim, n in (("y", 4), ("x", 5)):
        root.create_array(dim, data=np.arange(n) * 0.5, attributes={"_ARRAY_DIMENSIONS": [dim]})
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (0.5, 0.5)
    assert [axis.name for axis in image.axes or ()] == ["y", "x"]


def test_one_dataset_shows_each_variable_and_no_coordinate(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    dataset(root)
    root.create_array("mask", data=np.ones((8, 12), "uint8"), dimension_names=["y", "x"])
    root.create_array("x_bnds", data=np.ones((12, 2)), dimension_names=["x", "bnds"])
    root.create_array("area", data=np.ones((8, 12)), dimension_names=["y", "x"])
    root["mask"].attrs["coordinates"] = "area"
    assert {image.name: image.levels[0].scale for image in open_images(tmp_path)} == {
        "img": (2, -0.5, 0.25),
        "mask": (-0.5, 0.25),
    }


def test_a_time_counted_from_an_epoch_has_no_scale(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((2, 4, 5), "f4"), dimension_names=["time", "lat", "lon"])
    root.create_array(
        "time",
        data=np.array([18000, 18030]),
        dimension_names=["time"],
        attributes={"units": "days since 1970-01-01"},
    )
    root.create_array(
        "lat",
        data=np.linspace(60, 30, 4),
        dimension_names=["lat"],
        attributes={"units": "degrees_north"},
    )
    root.create_array(
        "lon",
        data=np.linspace(0, 8, 5),
        dimension_names=["lon"],
        attributes={"units": "degrees_east"},
    )
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, -10, 2)
    assert image.levels[0].translation == (0, 60, 0)
    assert [(axis.type, axis.unit) for axis in image.axes or ()] == [
        ("time", None),
        ("space", "degree"),
        ("space", "degree"),
    ]


def test_packed_coordinates(tmp_path: Path) -> None:
    """CF 8.1: value = packed * scale_factor + add_offset."""
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((4, 5), "f4"), dimension_names=["y", "x"])
    for dim, n in (("y", 4), ("x", 5)):
        packed = {"scale_factor": 0.1, "add_offset": 7}
        root.create_array(
            dim, data=np.arange(n, dtype="int16") * 10, dimension_names=[dim], attributes=packed
        )
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == pytest.approx((1, 1))
    assert image.levels[0].translation == (7, 7)


@pytest.mark.parametrize(
    "values",
    [np.array([np.nan] * 12), np.full(12, 3.0), np.arange(7.0), np.arange(12, dtype="complex64")],
)
def test_coordinates_without_sense_count_for_nothing(tmp_path: Path, values: np.ndarray) -> None:
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((8, 12)), dimension_names=["y", "x"])
    root.create_array("y", data=np.arange(8.0), dimension_names=["y"])
    root.create_array("x", data=values, dimension_names=["x"])
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, 1)


def test_a_damaged_coordinate_is_told(tmp_path: Path) -> None:
    dataset(zarr.create_group(tmp_path))
    next((tmp_path / "z" / "c").iterdir()).write_bytes(b"no chunk")
    with pytest.warns(LayoutWarning, match="/z: coordinates cannot be read"):
        (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, -0.5, 0.25)


def test_a_level_without_the_variable_is_told(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for k in range(3):
        dataset(root.create_group(f"scale{k}"), 2**k, name="img" if k != 1 else "other")
    with pytest.warns(LayoutWarning, match="has no variable"):
        images = open_images(tmp_path)
    assert {image.name: len(image.levels) for image in images} == {"img": 2, "other": 1}
