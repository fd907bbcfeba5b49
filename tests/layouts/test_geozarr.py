"""GeoZarr's tile matrix sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


def write(path: Path, tiles: Any, *, coordinates: bool = False) -> Path:
    root = zarr.create_group(
        path, attributes={"multiscales": {"tile_matrix_set": tiles, "resampling_method": "average"}}
    )
    for k in range(3):
        group, n = root.create_group(str(k)), 16 // 2**k
        group.create_array("band", data=np.ones((n, n), "uint16"), dimension_names=["y", "x"])
        if coordinates:
            for dim in "yx":
                group.create_array(dim, data=7.0 * 2**k * np.arange(n), dimension_names=[dim])
    return path


def matrix(k: int) -> dict[str, Any]:
    return {"id": str(k), "cellSize": 10.0 * 2**k, "pointOfOrigin": [500.0, 900.0]}


def test_cells_give_scale_and_centres(tmp_path: Path) -> None:
    (image,) = open_images(
        write(tmp_path, {"crs": "EPSG:32632", "tileMatrices": [matrix(k) for k in range(3)]})
    )
    assert image.name == "band"
    assert [level.path for level in image.levels] == ["0/band", "1/band", "2/band"]
    assert [level.scale for level in image.levels] == [(-10, 10), (-20, 20), (-40, 40)]
    assert image.levels[0].translation == (895, 505)
    assert image.metadata["crs"] == "EPSG:32632"


def test_coordinates_of_the_levels_win(tmp_path: Path) -> None:
    (image,) = open_images(
        write(tmp_path, {"tileMatrices": [matrix(0), matrix(1)]}, coordinates=True)
    )
    assert [level.scale for level in image.levels] == [(7, 7), (14, 14)]


def test_a_well_known_set_names_no_groups(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, "WebMercatorQuad"))
    assert len(image.levels) == 3
    assert image.levels[0].scale is None


def test_a_set_that_names_nothing_falls_through(tmp_path: Path) -> None:
    with (
        pytest.warns(LayoutWarning, match="tile_matrix_set names no group"),
        pytest.warns(LayoutWarning, match="gone"),
    ):
        images = open_images(write(tmp_path, {"tileMatrices": [{"id": "gone"}]}))
    assert [[level.path for level in image.levels] for image in images] == [
        ["0/band"],
        ["1/band"],
        ["2/band"],
    ]


def test_ids_may_be_numbers(tmp_path: Path) -> None:
    (image,) = open_images(
        write(tmp_path, {"tileMatrices": [{**matrix(k), "id": k} for k in range(3)]})
    )
    assert [level.scale for level in image.levels] == [(-10, 10), (-20, 20), (-40, 40)]
