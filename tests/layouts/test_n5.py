"""s0, s1, ... of n5-viewer and neuroglancer.

Vectors are x first, the axes of our arrays are z first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

SHAPES = {"s0": (5, 12, 20), "s1": (5, 6, 10), "s2": (5, 3, 5)}


def write(
    path: Path, attributes: dict[str, Any], arrays: dict[str, dict[str, Any]] | None = None
) -> Path:
    """A zarr v2 group "c0" with three arrays; n5-zarr writes the same attributes as N5."""
    group = zarr.create_group(path / "x.zarr", zarr_format=2).create_group(
        "c0", attributes=attributes
    )
    for name, shape in SHAPES.items():
        group.create_array(
            name, data=np.ones(shape, "uint8"), attributes=(arrays or {}).get(name, {})
        )
    return path / "x.zarr"


def test_modern(tmp_path: Path) -> None:
    """The centre of a sample of factor f is shifted by (f - 1) / 2 pixels of level 0.

    Source: n5-universe, buildTransform.
    """
    arrays = {"s1": {"downsamplingFactors": [2, 2, 1]}, "s2": {"downsamplingFactors": [4, 4, 1]}}
    (image,) = open_images(
        write(tmp_path, {"pixelResolution": {"dimensions": [0.1, 0.2, 3.0], "unit": "um"}}, arrays)
    )
    assert image.name == "c0"
    assert [level.path for level in image.levels] == ["c0/s0", "c0/s1", "c0/s2"]
    assert [level.scale for level in image.levels] == [
        (3.0, 0.2, 0.1),
        (3.0, 0.4, 0.2),
        (3.0, 0.8, 0.4),
    ]
    assert image.levels[2].translation == pytest.approx((0.0, 0.3, 0.15))
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "micrometer") for name in "zyx"
    ]


def test_deprecated_scales(tmp_path: Path) -> None:
    attributes = {"scales": [[1, 1, 1], [2, 2, 1], [4, 4, 1]], "resolution": [0.1, 0.2, 3.0]}
    (image,) = open_images(write(tmp_path, attributes))
    assert [level.scale for level in image.levels] == [
        (3.0, 0.2, 0.1),
        (3.0, 0.4, 0.2),
        (3.0, 0.8, 0.4),
    ]
    assert [axis.unit for axis in image.axes or ()] == [None] * 3


def test_neuroglancer_axes_and_units(tmp_path: Path) -> None:
    attributes = {
        "axes": ["x", "y", "t"],
        "units": ["nm", "nm", "s"],
        "resolution": [4, 5, 2],
        "downsamplingFactors": [[1, 1, 1], [2, 2, 1], [4, 4, 1]],
    }
    (image,) = open_images(write(tmp_path, attributes))
    assert [(axis.name, axis.type, axis.unit) for axis in image.axes or ()] == [
        ("t", "time", "second"),
        ("y", "space", "nanometer"),
        ("x", "space", "nanometer"),
    ]
    assert image.levels[1].scale == (2, 10, 8)


def test_missing_factors_are_the_ratio_of_the_resolutions_where_each_level_says_its_own(
    tmp_path: Path,
) -> None:
    """As TensorStore writes N5: the ratio of shapes that were rounded up would be a little off."""
    arrays: dict[str, dict[str, Any]] = {
        name: {"resolution": [x, x, 3.0], "units": ["nm"] * 3}
        for name, x in (("s0", 2.0), ("s1", 4.0), ("s2", 10.0))
    }
    (image,) = open_images(write(tmp_path, {}, arrays))
    assert [level.scale for level in image.levels] == [(3, 2, 2), (3, 4, 4), (3, 10, 10)]
    assert image.levels[2].translation == (0, 4, 4)


def test_levels_that_all_repeat_the_resolution_of_the_first_are_placed_by_their_shapes(
    tmp_path: Path,
) -> None:
    (image,) = open_images(
        write(tmp_path, {}, {name: {"resolution": [2.0, 2.0, 3.0]} for name in SHAPES})
    )
    assert [level.scale for level in image.levels] == [(3, 2, 2), (3, 4, 4), (3, 8, 8)]


def test_missing_factors_are_the_ratio_of_the_shapes(tmp_path: Path) -> None:
    """Not powers of two along every axis, which would be wrong for z here."""
    (image,) = open_images(write(tmp_path, {"resolution": [1, 1, 1]}))
    assert [level.scale for level in image.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


def test_numbers_that_are_none_become_one(tmp_path: Path) -> None:
    with pytest.warns(LayoutWarning, match="c0: resolution"):
        (image,) = open_images(write(tmp_path, {"resolution": [0, "x", 3]}))
    assert image.levels[0].scale == (3, 1, 1)


def test_one_array(tmp_path: Path) -> None:
    """A level stored alone has the resolution of the full image.

    Source: n5-universe, N5SingleScaleMetadata.
    """
    attributes = {
        "pixelResolution": {"dimensions": [0.5, 0.5, 2.0], "unit": "mm"},
        "downsamplingFactors": [2, 2, 1],
    }
    zarr.create_group(tmp_path, zarr_format=2).create_array(
        "a", data=np.ones((3, 4, 5), "uint8"), attributes=attributes
    )
    (image,) = open_images(tmp_path / "a")
    assert image.levels[0].scale == (2.0, 1.0, 1.0)
    assert image.levels[0].translation == (0.0, 0.25, 0.25)


def test_levels_without_any_geometry_are_another_layout(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, {}))
    assert image.levels[0].scale is None
    assert len(image.levels) == 3


def test_channels_below_the_group_with_the_attributes(tmp_path: Path) -> None:
    """n5-viewer lets one set of attributes stand for all of its channels c0, c1, ..."""
    path = write(tmp_path, {})
    group = zarr.open_group(path, mode="a")
    group.attrs.update(
        {
            "scales": [[1, 1, 1], [2, 2, 1], [4, 4, 1]],
            "pixelResolution": {"dimensions": [0.1, 0.2, 3.0], "unit": "um"},
        }
    )
    for name, shape in SHAPES.items():
        group.create_array(f"c1/{name}", data=np.ones(shape, "uint8"))
    images = open_images(path)
    assert [image.name for image in images] == ["c0", "c1"]
    for image in images:
        assert [level.scale for level in image.levels] == [
            (3.0, 0.2, 0.1),
            (3.0, 0.4, 0.2),
            (3.0, 0.8, 0.4),
        ]
        assert [axis.unit for axis in image.axes or ()] == ["micrometer"] * 3


def test_neuroglancer_names_of_channels(tmp_path: Path) -> None:
    attributes = {
        "axes": ["x", "y", "c"],
        "resolution": [4, 5, 1],
        "coordinateArrays": {"c": ["a", "b", "c", "d", "e"]},
    }
    (image,) = open_images(write(tmp_path, attributes))
    assert image.channel_axis == 0
    assert [channel.name for channel in image.channels] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("owner", ["root", "levels"])
def test_affine_transform_comes_after_the_size_of_pixels(tmp_path: Path, owner: str) -> None:
    """World x, y, z = affineTransform (pixel size (factor i + (factor - 1) / 2)).

    n5-universe, buildTransform.
    """
    rows = [[0.0, -1.0, 0.0, 100.0], [1.0, 0.0, 0.0, 50.0], [0.0, 0.0, 1.0, 7.0]]
    flat = [value for row in rows for value in row]
    path = write(
        tmp_path,
        {},
        {name: {"resolution": [0.1, 0.2, 3.0], "affineTransform": flat} for name in SHAPES}
        if owner == "levels"
        else {},
    )
    if owner == "root":
        attributes = {
            "scales": [[1, 1, 1], [2, 2, 1], [4, 4, 1]],
            "resolution": [0.1, 0.2, 3.0],
            "affineTransform": rows,
        }
        zarr.open_group(path, mode="a").attrs.update(attributes)
    (image,) = open_images(path)
    level = image.levels[1]
    assert level.scale is not None
    assert level.translation is not None
    assert image.affine is not None
    pixel = np.array([3, 4, 5])  # x, y, z
    world = np.array(rows) @ [*((pixel * [2, 2, 1] + [0.5, 0.5, 0]) * [0.1, 0.2, 3.0]), 1]
    local = pixel[::-1] * level.scale + level.translation
    np.testing.assert_allclose(image.affine @ [*local, 1], [*world[::-1], 1])


@pytest.mark.parametrize("given", [[1, 2, 3], "x", [0] * 12, [[1, 0, 0, 0]] * 3])
def test_affine_transform_that_is_none_is_reported(tmp_path: Path, given: Any) -> None:
    with pytest.warns(LayoutWarning, match="c0: affineTransform"):
        (image,) = open_images(write(tmp_path, {"resolution": [1, 1, 1], "affineTransform": given}))
    assert image.affine is None
