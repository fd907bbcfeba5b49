"""ITK's "_MULTISCALE_LEVELS" of zarr-specs issue 50."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

SPACING, ORIGIN = {"z": 3.0, "y": 2.0, "x": 1.0}, {"z": 30.0, "y": 20.0, "x": 10.0}


def write(path: Path, levels: list[Any], **attributes: Any) -> Path:
    root = zarr.create_group(
        path / "scan.zarr", attributes={"_MULTISCALE_LEVELS": levels, "_SPATIAL_IMAGE": "scan"}
    )
    for k, name in enumerate(("", "level_1.zarr")):
        group = root.create_group(name) if name else root
        shape = dict(zip("zyx", (4 // 2**k, 6 // 2**k, 8 // 2**k), strict=True))
        group.create_array(
            "scan",
            data=np.ones(tuple(shape.values()), "uint8"),
            dimension_names=list("zyx"),
            attributes=attributes,
        )
        for dim, n in shape.items():
            group.create_array(
                dim, data=ORIGIN[dim] + SPACING[dim] * 2**k * np.arange(n), dimension_names=[dim]
            )
    return path / "scan.zarr"


def test_levels_are_groups_and_the_empty_path_is_the_root(tmp_path: Path) -> None:
    (image,) = open_images(
        write(tmp_path, ["", "level_1.zarr"], units="μm", direction=np.eye(3).tolist())
    )
    assert image.name == "scan"
    assert [level.path for level in image.levels] == ["scan", "level_1.zarr/scan"]
    assert [level.scale for level in image.levels] == [(3, 2, 1), (6, 4, 2)]
    assert image.levels[0].translation == (30, 20, 10)
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "micrometer") for name in "zyx"
    ]
    assert image.affine is None


def test_direction_turns_around_the_origin(tmp_path: Path) -> None:
    """ITK: physical = origin + direction @ (spacing * index), all in x, y, z."""
    direction = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    (image,) = open_images(write(tmp_path, ["", "level_1.zarr"], direction=direction.tolist()))
    assert image.affine is not None
    index = np.array([5, 3, 2])  # x, y, z
    physical = np.array([10.0, 20.0, 30.0]) + direction @ (np.array([1.0, 2.0, 3.0]) * index)
    local = np.array(image.levels[0].scale) * index[::-1] + np.array(image.levels[0].translation)
    np.testing.assert_allclose((image.affine @ [*local, 1])[:3][::-1], physical)


@pytest.mark.parametrize(
    "direction", [[[1, 0], [0, 1]], "identity", [[0] * 3] * 3, [[float("nan")] * 3] * 3]
)
def test_a_direction_without_sense_is_reported(tmp_path: Path, direction: Any) -> None:
    path = write(tmp_path, ["", "level_1.zarr"], direction=direction)
    with pytest.warns(LayoutWarning, match="direction"):
        (image,) = open_images(path)
    assert image.affine is None


@pytest.mark.parametrize("path", ["level_2.zarr", "../elsewhere", 3, None])
def test_levels_that_are_not_there_are_reported(tmp_path: Path, path: Any) -> None:
    with pytest.warns(LayoutWarning, match="_MULTISCALE_LEVELS"):
        (image,) = open_images(write(tmp_path, ["", "level_1.zarr", path]))
    assert len(image.levels) == 2
