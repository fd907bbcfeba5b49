"""COSEM's transforms are in array order, its older grid spacings x first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

SHAPES = [(6, 8, 10), (3, 4, 5)]


def transform(factor: int, **more: Any) -> dict[str, Any]:
    return {
        "axes": ["z", "y", "x"],
        "scale": [5.0 * factor, 4.0 * factor, 3.0 * factor],
        "translate": [1, 2, 3],
        "units": ["nm"] * 3,
        **more,
    }


def write(
    path: Path,
    attributes: dict[str, Any],
    names: list[str],
    arrays: list[dict[str, Any]] | None = None,
) -> Path:
    group = zarr.create_group(path / "em", zarr_format=2, attributes=attributes)
    for name, shape, attrs in zip(names, SHAPES, arrays or [{}, {}], strict=True):
        group.create_array(name, data=np.ones(shape, "uint8"), attributes=attrs)
    return path / "em"


def test_listed_transforms(tmp_path: Path) -> None:
    datasets = [{"path": f"s{i}", "transform": transform(2**i)} for i in (0, 1)]
    (image,) = open_images(
        write(tmp_path, {"multiscales": [{"datasets": datasets, "name": "fib"}]}, ["s0", "s1"])
    )
    assert image.name == "fib"
    assert [level.scale for level in image.levels] == [(5, 4, 3), (10, 8, 6)]
    assert image.levels[0].translation == (1, 2, 3)
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "nanometer") for name in "zyx"
    ]


def test_fortran_order_is_reversed(tmp_path: Path) -> None:
    first = {
        "axes": ["x", "y", "z"],
        "scale": [3, 4, 5],
        "translate": [7, 8, 9],
        "units": ["nm", "um", "mm"],
        "order": "F",
    }
    datasets = [{"path": "s0", "transform": first}, {"path": "s1"}]
    (image,) = open_images(write(tmp_path, {"multiscales": [{"datasets": datasets}]}, ["s0", "s1"]))
    assert image.levels[0].scale == (5, 4, 3)
    assert image.levels[0].translation == (9, 8, 7)
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        ("z", "millimeter"),
        ("y", "micrometer"),
        ("x", "nanometer"),
    ]


def test_transforms_of_arrays_alone(tmp_path: Path) -> None:
    (image,) = open_images(
        write(
            tmp_path, {}, ["s0", "s1"], [{"transform": transform(1)}, {"transform": transform(2)}]
        )
    )
    assert [level.scale for level in image.levels] == [(5, 4, 3), (10, 8, 6)]


def test_one_array(tmp_path: Path) -> None:
    path = write(tmp_path, {}, ["s0", "s1"], [{"transform": transform(1)}, {}])
    (image,) = open_images(path / "s0")
    assert image.levels[0].scale == (5, 4, 3)


def test_grid_spacing(tmp_path: Path) -> None:
    """The group's spacing and origin apply after the level's spacing and origin."""
    listed = [
        {"name": n, "gridSpacing": [3 * f, 4 * f, 5 * f], "origin": [1, 2, 3]}
        for n, f in (("fine", 1), ("coarse", 2))
    ]
    attributes = {"multiscale": listed, "gridSpacing": [2, 2, 2], "origin": [10, 20, 30]}
    (image,) = open_images(write(tmp_path, attributes, ["fine", "coarse"]))
    assert [level.scale for level in image.levels] == [(10, 8, 6), (20, 16, 12)]
    assert image.levels[0].translation == (36, 24, 12)


def test_ome_zarr_with_transforms_beside_it_is_ome_zarr(tmp_path: Path) -> None:
    axes = [{"name": n, "type": "space"} for n in "zyx"]
    datasets = [
        {
            "path": f"s{i}",
            "transform": transform(1),
            "coordinateTransformations": [{"type": "scale", "scale": [7, 7, 7]}],
        }
        for i in (0, 1)
    ]
    (image,) = open_images(
        write(
            tmp_path,
            {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]},
            ["s0", "s1"],
        )
    )
    assert image.levels[0].scale == (7, 7, 7)


def test_a_level_that_is_missing_is_named(tmp_path: Path) -> None:
    datasets = [{"path": path, "transform": transform(1)} for path in ("s0", "gone")]
    with pytest.warns(LayoutWarning, match="gone"):
        (image,) = open_images(
            write(tmp_path, {"multiscales": [{"datasets": datasets}]}, ["s0", "s1"])
        )
    assert [level.path for level in image.levels] == ["s0"]


@pytest.mark.parametrize(
    ("scale", "taken"),
    [
        pytest.param([1, 2], None, id="too few"),
        pytest.param(["a", 7, 8], (1, 7, 8), id="a word"),
        pytest.param([0, float("inf"), 8], (1, 1, 8), id="zero and infinity"),
    ],
)
def test_scales_without_sense_are_reported(
    tmp_path: Path, scale: list[Any], taken: tuple[int, ...] | None
) -> None:
    datasets = [{"path": "s0", "transform": transform(1, scale=scale)}]
    with pytest.warns(LayoutWarning, match="scale"):
        (image,) = open_images(
            write(tmp_path, {"multiscales": [{"datasets": datasets}]}, ["s0", "s1"])
        )
    assert image.levels[0].scale == taken
